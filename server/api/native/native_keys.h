/* native_keys.h: API keys: docs/api.md. All want the right to administer. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_KEYS_H
#define PICTOR_SERVER_NATIVE_KEYS_H

struct cJSON;
struct http_request;
struct settings;

void native_keys_list(struct http_request *req);   /* GET /api/keys */
void native_keys_add(struct http_request *req);    /* POST /api/keys */
void native_keys_set(struct http_request *req);    /* PUT /api/keys/{id} */
void native_keys_revoke(struct http_request *req); /* POST /api/keys/{id}/revoke */

/* Of the bodies of a new key and of a change; owned. */
struct cJSON *native_keys_schema(const struct settings *settings);
struct cJSON *native_keys_share_schema(const struct settings *settings);

#endif
