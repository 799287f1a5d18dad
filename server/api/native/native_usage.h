/* native_usage.h: what keys have used, by day and model: docs/api.md. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_USAGE_H
#define PICTOR_SERVER_NATIVE_USAGE_H

struct http_request;

void native_usage(struct http_request *req); /* GET /api/usage */

#endif
