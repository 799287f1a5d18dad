/* native_compose.h: POST /api/compose: an idea as the description of a painting (docs/api.md). */
#ifndef PICTOR_SERVER_NATIVE_COMPOSE_H
#define PICTOR_SERVER_NATIVE_COMPOSE_H

struct cJSON;
struct http_request;
struct settings;

void native_compose(struct http_request *req);
struct cJSON *native_compose_schema(const struct settings *settings);

#endif
