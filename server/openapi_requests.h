/* openapi_requests.h: what requests look like beyond the tables that parse them: the types of query
 * parameters, bodies that are forms, and null, which is as good as absent. */
#ifndef PICTOR_SERVER_OPENAPI_REQUESTS_H
#define PICTOR_SERVER_OPENAPI_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;
struct route;
struct settings;

/* The schema of a query parameter whose name has `size` bytes; owned. */
struct cJSON *openapi_requests_query(const struct route *route, const char *name, size_t size,
                                     bool *required);

/* Adds the "requestBody" of a route that takes one. `path` without the roots under which OpenAI's
 * API has its routes. */
void openapi_requests_add_body(struct cJSON *operation, const struct route *route,
                               const char *path, const struct settings *settings);

#endif
