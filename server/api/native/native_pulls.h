/* native_pulls.h: model files that the server fetches: docs/api.md. All want the right to
 * administer. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_PULLS_H
#define PICTOR_SERVER_NATIVE_PULLS_H

struct cJSON;
struct http_request;
struct settings;

void native_pulls_add(struct http_request *req);    /* POST /api/pulls */
void native_pulls_list(struct http_request *req);   /* GET /api/pulls */
void native_pulls_get(struct http_request *req);    /* GET /api/pulls/{id} */
void native_pulls_cancel(struct http_request *req); /* POST /api/pulls/{id}/cancel */
void native_pulls_resume(struct http_request *req); /* POST /api/pulls/{id}/resume */
void native_pulls_delete(struct http_request *req); /* DELETE /api/pulls/{id} */

/* Of the body; owned. */
struct cJSON *native_pulls_schema(const struct settings *settings);

#endif
