/* native_upscale.h: POST /api/upscale: docs/api.md. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_UPSCALE_H
#define PICTOR_SERVER_NATIVE_UPSCALE_H

struct http_request;

void native_upscale(struct http_request *req);

#endif
