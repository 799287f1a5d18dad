/* native_model.h: what is done with models by hand, docs/api.md. Thread-safe; no state. */
#ifndef PICTOR_SERVER_NATIVE_MODEL_H
#define PICTOR_SERVER_NATIVE_MODEL_H

struct cJSON;
struct http_request;
struct settings;

void native_model_load(struct http_request *req);    /* POST /api/models/load */
void native_model_default(struct http_request *req); /* POST /api/models/default */

struct cJSON *native_model_load_schema(const struct settings *settings);
struct cJSON *native_model_default_schema(const struct settings *settings);

#endif
