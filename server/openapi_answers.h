/* openapi_answers.h: what answers look like, of those routes whose answers programs read: JSON
 * Schemas for the OpenAPI document. tests/api/test_openapi.py holds them against real answers. */
#ifndef PICTOR_SERVER_OPENAPI_ANSWERS_H
#define PICTOR_SERVER_OPENAPI_ANSWERS_H

struct cJSON;

/* Of a good answer, owned; NULL: nothing is said of it. *status is the one that it has. `path`
 * without the roots under which OpenAI's API has its routes. */
struct cJSON *openapi_answers_good(const char *method, const char *path, const char **status);

/* Of errors in a dialect of server/routes.h; owned, NULL: nothing is said. */
struct cJSON *openapi_answers_error(int dialect);

#endif
