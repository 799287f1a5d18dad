/* sdapi_embeddings.h: the textual inversions there are, as the SD WebUI lists them. */
#ifndef PICTOR_SERVER_SDAPI_EMBEDDINGS_H
#define PICTOR_SERVER_SDAPI_EMBEDDINGS_H

struct http_request;

/* GET /sdapi/v1/embeddings: those that fit the checkpoint of the client's options as "loaded", the
 * others as "skipped". */
void sdapi_embeddings_list(struct http_request *req);
void sdapi_embeddings_refresh(struct http_request *req); /* POST /sdapi/v1/refresh-embeddings */

#endif
