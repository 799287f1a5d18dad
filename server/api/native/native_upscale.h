/* native_upscale.h: POST /api/upscale: docs/api.md. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_UPSCALE_H
#define PICTOR_SERVER_NATIVE_UPSCALE_H

struct http_request;

void native_upscale(struct http_request *req);

/* Of its body; owned. */
struct cJSON;
struct settings;
struct cJSON *native_upscale_schema(const struct settings *settings);

#endif
