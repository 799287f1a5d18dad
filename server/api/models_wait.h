/* models_wait.h: lists of models wait until the headers of all files were read, for ten seconds at
 * the most: from then on what is not known is left out of them. */
#ifndef PICTOR_SERVER_MODELS_WAIT_H
#define PICTOR_SERVER_MODELS_WAIT_H

struct http_request;

/* Calls `reply` now or later; it replies. Call it last in the handler. */
void models_wait(struct http_request *req, void (*reply)(struct http_request *req));

#endif
