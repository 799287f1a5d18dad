/* assets.h: the web page, inside the binary. Thread-safe; the bytes are constant. */
#ifndef PICTOR_SERVER_ASSETS_H
#define PICTOR_SERVER_ASSETS_H

struct http_request;
struct http_problem;

/* GET /, /web/{name...}, /favicon.ico: with an ETag, the type of the name and the page's
 * Content-Security-Policy. */
void assets_serve(struct http_request *req);

/* Errors as plain text. */
void assets_error(struct http_request *req, const struct http_problem *problem);

#endif
