/* route.h: a table of the paths that a server answers, and the row for a path.
 *
 * A pattern is literal segments, `{name}` for one segment, and `{name...}` last for the rest of the
 * path (one segment at least). Segments are percent-decoded after splitting. One trailing slash is
 * accepted everywhere. HEAD is GET without a body; OPTIONS is answered by http.c.
 *
 * A dialect is a family of routes that shares the shape of its errors; dialects are counted from 0.
 */
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

/* Body limits; ROUTE_BODY_IMAGES is settings' max_body_bytes, and the zero value takes none but
 * ignores up to 64 KiB. */
enum route_body { ROUTE_BODY_NONE, ROUTE_BODY_SMALL /* 1 MiB */, ROUTE_BODY_IMAGES };

typedef void route_fn(struct http_request *req);

struct cJSON;
struct settings;

struct route {
    const char *method; /* "GET" "POST" "PUT" "DELETE" */
    const char *pattern;
    int dialect;
    route_fn *handler;
    enum route_body body;
    enum route_access access;
    bool admin;  /* the key must have the right to administer */
    bool worker; /* the key must be a worker's */
    bool paints; /* counts against max_requests_per_minute; may wait for a bucket */
    bool stores; /* may wait for a bucket, too */
    const char *query; /* its parameters, between blanks; NULL: none */
    /* Of a JSON body, owned; NULL: there is none, or it is any object. */
    struct cJSON *(*schema)(const struct settings *settings);
    bool probe;  /* asked again and again by machines: logged at debug level */
};

/* Writes an error in a dialect's shape. */
typedef void route_error_fn(struct http_request *req, const struct http_problem *problem);

struct route_dialect {
    const char *name; /* in the metrics */
    route_error_fn *error;
    bool basic; /* 401 offers HTTP Basic, for browsers, instead of Bearer */
    bool strict_query; /* a parameter that a route does not know is an error; else it is named in
                        * x-ignored-parameters */
    const char *free_query; /* parameters, between blanks, whose value may be empty: free text and
                             * flags; NULL: none */
};

#define ROUTE_DIALECTS_MAX 8

struct settings;
struct route_table {
    const struct route *routes;
    size_t count;
    const struct route_dialect *dialects; /* at most ROUTE_DIALECTS_MAX */
    int dialect_count;
    int (*dialect_of)(const char *path); /* of a path that no row has */
    bool (*is_on)(const struct settings *s, int dialect);
};

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
enum route_result route_find(const struct route_table *table, const char *method, const char *path,
                             const struct route **route, struct route_params *params, char *allow,
                             size_t allow_size);

#endif
