/* native_webhook.h: who is told of jobs: docs/api.md. */
#ifndef PICTOR_SERVER_NATIVE_WEBHOOK_H
#define PICTOR_SERVER_NATIVE_WEBHOOK_H

struct cJSON;
struct http_request;
struct settings;

void native_webhook_add(struct http_request *req);    /* POST /api/webhooks */
void native_webhook_list(struct http_request *req);   /* GET /api/webhooks */
void native_webhook_delete(struct http_request *req); /* DELETE /api/webhooks/{id} */

struct cJSON *native_webhook_schema(const struct settings *settings); /* owned */

#endif
