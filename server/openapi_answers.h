/* openapi_answers.h: what the answers of the routes look like: media types, and JSON Schemas for
 * the OpenAPI document. tests/api/test_openapi.py holds them against real answers. */
#ifndef PICTOR_SERVER_OPENAPI_ANSWERS_H
#define PICTOR_SERVER_OPENAPI_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

struct openapi_answer {
    const char *status;
    const char *type;     /* NULL: it has no body */
    struct cJSON *schema; /* owned; NULL: nothing is said of it */
};

/* The next good answer from *at on, which is 0 at first; false: there is no more. `path` without
 * the roots under which OpenAI's API has its routes. */
bool openapi_answers_good(const char *method, const char *path, size_t *at,
                          struct openapi_answer *out);

/* Of errors in a dialect of server/routes.h; owned, NULL: nothing is said. */
struct cJSON *openapi_answers_error(int dialect);

#endif
