/* route.h: every path the server answers, in one table.
 *
 * A pattern is literal segments, `{name}` for one segment, and `{name...}` last for the rest of the
 * path (one segment at least). Segments are percent-decoded after splitting. One trailing slash is
 * accepted everywhere. HEAD is GET without a body; OPTIONS is answered by http.c. */
#ifndef PICTOR_SERVER_ROUTE_H
#define PICTOR_SERVER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct http_request;
struct http_problem;

/* The zero value is the safe one: a row that forgets its access needs a key. */
enum route_access {
    ROUTE_KEY, /* a valid key, when the server has any */
    ROUTE_OPEN /* anybody */
};

/* Decides the shape of errors and whether HTTP Basic is offered. */
enum route_dialect { ROUTE_PAGE, ROUTE_NATIVE, ROUTE_OPENAI, ROUTE_SDAPI, ROUTE_DIALECTS };

/* Body limits; ROUTE_BODY_IMAGES is settings' max_body_bytes, and the zero value takes none but
 * ignores up to 64 KiB. */
enum route_body { ROUTE_BODY_NONE, ROUTE_BODY_SMALL /* 1 MiB */, ROUTE_BODY_IMAGES };

typedef void route_fn(struct http_request *req);

struct route {
    const char *method; /* "GET" "POST" "PUT" "DELETE" */
    const char *pattern;
    enum route_dialect dialect;
    route_fn *handler;
    enum route_body body;
    enum route_access access;
    bool paints; /* counts against max_requests_per_minute */
};

/* The table, for the tests that walk it. */
const struct route *route_table(size_t *count);

#define ROUTE_PARAMS_MAX 4

struct route_params {
    size_t count;
    struct {
        const char *name; /* in the pattern, not terminated */
        size_t name_size;
        char *value; /* decoded, in `storage` */
    } at[ROUTE_PARAMS_MAX];
    char *storage; /* malloc'd */
};
void route_params_free(struct route_params *params);

enum route_result { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD, ROUTE_NO_MEMORY };

/* Finds the row for a raw path (no query). `params` is filled (route_params_free) only when found.
 * When only the method is wrong, `allow` gets "GET, HEAD, POST" and *route a row of that path. */
enum route_result route_find(const char *method, const char *path, const struct route **route,
                             struct route_params *params, char *allow, size_t allow_size);

/* The dialect of a path that no row has: what its errors look like. */
enum route_dialect route_dialect_of(const char *path);

/* Writes an error in a dialect's shape: native_error, openai_error, sdapi_error. */
typedef void route_error_fn(struct http_request *req, const struct http_problem *problem);
route_error_fn *route_error_of(enum route_dialect dialect);

#endif
