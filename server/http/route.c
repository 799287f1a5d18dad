/* route.c: matches a path against the patterns of a table, from the top: the table is short, and a
 * request paints for seconds. Thread-safe; no state. */
#include "server/http/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/url.h"

/* The next segment of a path or pattern: sets *size, returns its start; NULL past the last one. */
static const char *segment(const char **at, size_t *size)
{
    if (**at != '/')
        return NULL;
    const char *start = *at + 1;
    *size = strcspn(start, "/");
    *at = start + *size;
    return start;
}

/* The pattern's literals are plain, so decoded segments are compared byte by byte. */
static bool same(const char *literal, size_t literal_size, const char *raw, size_t raw_size)
{
    char decoded[64];
    return raw_size < sizeof decoded && url_decode(decoded, raw, raw_size, false) &&
           strlen(decoded) == literal_size && memcmp(decoded, literal, literal_size) == 0;
}

struct match {
    size_t count;
    struct {
        const char *name, *raw;
        size_t name_size, raw_size;
    } at[ROUTE_PARAMS_MAX];
};

static bool matches(const char *pattern, const char *path, struct match *m)
{
    m->count = 0;
    if (strcmp(pattern, "/") == 0)
        return strcmp(path, "/") == 0;
    for (;;) {
        size_t want_size = 0, got_size = 0;
        const char *want = segment(&pattern, &want_size);
        const char *got = segment(&path, &got_size);
        if (got && got_size == 0 && *path == '\0')
            got = NULL; /* one trailing slash */
        if (!want || !got)
            return !want && !got;
        if (want[0] != '{') {
            if (!same(want, want_size, got, got_size))
                return false;
            continue;
        }
        if (got_size == 0)
            return false;
        bool rest = want_size > 5 && memcmp(want + want_size - 4, "...}", 4) == 0;
        if (rest) {
            got_size += strlen(path);
            if (got[got_size - 1] == '/')
                got_size--;
        }
        m->at[m->count].name = want + 1;
        m->at[m->count].name_size = want_size - (rest ? 5 : 2);
        m->at[m->count].raw = got;
        m->at[m->count].raw_size = got_size;
        m->count++;
        if (rest)
            return true;
    }
}

/* False when a value holds a NUL (then the path is nobody's) or memory is short. */
static enum route_result keep_params(const struct match *m, struct route_params *params)
{
    size_t size = 1;
    for (size_t i = 0; i < m->count; i++)
        size += m->at[i].raw_size + 1;
    char *out = malloc(size);
    if (!out)
        return ROUTE_NO_MEMORY;
    *params = (struct route_params){.count = m->count, .storage = out};
    for (size_t i = 0; i < m->count; i++) {
        params->at[i].name = m->at[i].name;
        params->at[i].name_size = m->at[i].name_size;
        params->at[i].value = out;
        if (!url_decode(out, m->at[i].raw, m->at[i].raw_size, false)) {
            route_params_free(params);
            return ROUTE_NO_PATH;
        }
        out += strlen(out) + 1;
    }
    return ROUTE_FOUND;
}

void route_params_free(struct route_params *params)
{
    free(params->storage);
    *params = (struct route_params){0};
}

static void add_method(char *allow, size_t size, const char *method)
{
    size_t n = strlen(allow);
    snprintf(allow + n, size - n, "%s%s", n ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        add_method(allow, size, "HEAD");
}

enum route_result route_find(const struct route_table *table, const char *method, const char *path,
                             const struct route **route, struct route_params *params, char *allow,
                             size_t allow_size)
{
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    *params = (struct route_params){0};
    *route = NULL;
    allow[0] = '\0';
    for (size_t i = 0; i < table->count; i++) {
        struct match m;
        if (!matches(table->routes[i].pattern, path, &m))
            continue;
        *route = &table->routes[i];
        if (strcmp(table->routes[i].method, method) == 0)
            return keep_params(&m, params);
        add_method(allow, allow_size, table->routes[i].method);
    }
    return *route ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}
