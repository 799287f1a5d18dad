/* http_head.c: the first gate: the head of a request as head.h and the route's row want it. */
#include "server/http/http_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "server/base/words.h"
#include "server/http/head.h"

#define NAMES_SIZE 200 /* of parameters that nobody knows; more are left out */

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size)
{
    head_add(ctx, name, name_size, value ? value : "", value_size);
    return MHD_YES;
}

/* The path as the routes have it; an absolute target's authority is the Host (RFC 9112, 3.2.2). */
static int set_target(struct http_request *req, struct err *err)
{
    size_t size = strlen(req->path) + 2;
    char *path = http_keep_string(req, size), *authority = http_keep_string(req, size);
    if (!path || !authority) {
        err_set(err, ERR_INTERNAL, "out of memory");
        return 500;
    }
    if (!head_target(req->path, path, authority)) {
        err_set(err, ERR_INVALID, "the request's target must begin with a slash, got \"%.80s\"",
                req->path);
        return 400;
    }
    req->path = path;
    if (*authority)
        req->access.host = authority;
    return 0;
}

int http_head_check(struct http_request *req, const char *version, struct err *err)
{
    struct head head = {0};
    MHD_get_connection_values_n(req->conn, MHD_HEADER_KIND, on_header, &head);
    int status = head_check(&head, version, err);
    if (status == 415)
        http_reply_header(req, "Accept-Encoding", "identity");
    return status ? status : set_target(req, err);
}

/* ---- the query ---- */

struct unknown {
    const char *known; /* words between blanks */
    const char *first;
    const char *twice; /* one that is known, and was given more than once */
    const char *empty; /* one that is known, and has no value that can be read */
    bool raw;          /* there was one, with a NUL */
    const char *free;  /* words between blanks */
    char names[NAMES_SIZE];
    struct http_request *req;
};

struct same {
    const char *name;
    int count;
};

static enum MHD_Result count_same(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct same *s = ctx;
    s->count += strcmp(name, s->name) == 0;
    return MHD_YES;
}

static enum MHD_Result on_argument(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct unknown *u = ctx;
    size_t used = strlen(u->names);
    if (words_have(u->known, name)) {
        struct same s = {.name = name};
        MHD_get_connection_values(u->req->conn, MHD_GET_ARGUMENT_KIND, count_same, &s);
        if (s.count > 1)
            u->twice = name;
        bool raw = value && *value;
        if (!u->empty && (raw || !words_have(u->free, name)) && !*http_query(u->req, name)) {
            u->empty = name;
            u->raw = raw;
        }
        return MHD_YES;
    }
    u->first = u->first ? u->first : name;
    if (*name && used + strlen(name) + sizeof ", " < sizeof u->names)
        snprintf(u->names + used, sizeof u->names - used, "%s%s", used ? ", " : "", name);
    return MHD_YES;
}

bool http_head_query(struct http_request *req, const char **param, struct err *err)
{
    const struct route_dialect *dialect = &req->http->options.routes->dialects[req->dialect];
    struct unknown u = {.known = req->route->query ? req->route->query : "",
                        .free = dialect->free_query ? dialect->free_query : "",
                        .req = req};
    bool strict = dialect->strict_query;
    MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, on_argument, &u);
    if (u.twice && strict) {
        *param = u.twice;
        return err_set(err, ERR_INVALID, "the query has \"%.60s\" more than once", u.twice);
    }
    if (u.empty) {
        *param = u.empty;
        return err_set(err, ERR_INVALID,
                       u.raw ? "%.60s has the character 0 in the query"
                             : "%.60s is empty in the query: give it a value, or leave it out",
                       u.empty);
    }
    if (!u.first || req->route->probe) /* what watches over servers adds words of its own */
        return true;
    *param = u.first;
    if (strict)
        return err_set(err, ERR_INVALID, "the query has no parameter \"%.60s\"; it can have: %s",
                       u.first, *u.known ? u.known : "none");
    for (char *at = u.names; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    if (*u.names)
        http_reply_header(req, "x-ignored-parameters", u.names);
    return true;
}

bool http_query_number(struct http_request *req, const char *name, int64_t least, int64_t most,
                       int64_t fallback, int64_t *out, struct err *err)
{
    const char *text = http_query(req, name);
    char *end = NULL;
    *out = fallback;
    if (!text)
        return true;
    errno = 0;
    long long value = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : 0;
    if (!end || *end || errno || value < least || value > most)
        return err_set(err, ERR_INVALID, "%s must be %lld..%lld, got \"%.20s\"", name,
                       (long long)least, (long long)most, text);
    *out = value;
    return true;
}

bool http_query_flag(struct http_request *req, const char *name, bool *out, struct err *err)
{
    const char *text = http_query(req, name);
    *out = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
    return *out || !text || strcmp(text, "false") == 0 || strcmp(text, "0") == 0 ||
           err_set(err, ERR_INVALID, "%s must be true or false, got \"%.20s\"", name, text);
}

struct single {
    const char *name, *value;
    int count;
};

static enum MHD_Result note_single(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct single *s = ctx;
    if (strcasecmp(name, s->name) == 0) {
        s->value = value ? value : "";
        s->count++;
    }
    return MHD_YES;
}

const char *http_head_single(const struct http_request *req, const char *name)
{
    struct single s = {.name = name};
    MHD_get_connection_values(req->conn, MHD_HEADER_KIND, note_single, &s);
    return s.count > 1 ? "" : s.value;
}

/* A client's or a proxy's own name of its request goes to the log, if it is a plain word. */
static bool take_id(struct http_request *req)
{
    const char *id = http_header(req, "X-Request-Id");
    size_t n = id ? strlen(id) : 0;
    if (n == 0 || n >= sizeof req->id ||
        strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                   "0123456789._-") != n)
        return false;
    memcpy(req->id, id, n + 1);
    return true;
}

void http_head_name(struct http_request *req)
{
    unsigned char random[16];
    if (take_id(req))
        return;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        memset(random, 0, sizeof random); /* an id for the log; nothing is secret about it */
    memcpy(req->id, "req_", 4);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(req->id + 4 + 2 * i, 3, "%02x", random[i]);
}
