/* native.h: pictor's own API, docs/api.md. Every path is in route.c. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_H
#define PICTOR_SERVER_NATIVE_H

#include <stddef.h>

struct cJSON;
struct http_request;
struct http_problem;
struct json_field;

/* {"error": {"code", "message", "param"}} */
void native_error(struct http_request *req, const struct http_problem *problem);

/* The body, read strictly by its fields into `out`, which borrows from it; owned. NULL: it has
 * replied. */
struct cJSON *native_body(struct http_request *req, const struct json_field *fields, size_t count,
                          void *out);

void native_get(struct http_request *req);       /* GET /api/jobs/{id} */
void native_cancel(struct http_request *req);    /* POST /api/jobs/{id}/cancel */
void native_interrupt(struct http_request *req); /* POST /api/jobs/{id}/interrupt */
void native_delete(struct http_request *req);    /* DELETE /api/jobs/{id} */
void native_delete_image(struct http_request *req); /* DELETE /api/jobs/{id}/images/{image} */
void native_restore(struct http_request *req);      /* POST /api/jobs/{id}/restore */
void native_restore_image(struct http_request *req); /* POST .../images/{image}/restore */
void native_image(struct http_request *req);     /* GET /api/images/{id} */
void native_models(struct http_request *req);    /* GET /api/models */
void native_models_unload(struct http_request *req); /* POST /api/models/unload */
void native_info(struct http_request *req);      /* GET /api/info */
void native_healthz(struct http_request *req);   /* GET /healthz */
void native_readyz(struct http_request *req);    /* GET /readyz */

#endif
