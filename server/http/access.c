/* access.c: the Host and Origin gates. */
#include "server/http/access.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "server/base/settings.h"
#include "server/base/url.h"

static bool list_has(const struct setting_list *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], "*") == 0 || strcasecmp(list->items[i], word) == 0)
            return true;
    return false;
}

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

/* Names that nobody can register, so no page on the web has one: what containers of a network
 * (`pictor`, `host.docker.internal`) and machines at home (`box.local`) are called. They are
 * reserved by RFC 6761, 6762, 8375 and, for .internal, ICANN's resolution of 2024-07-29. A
 * neighbour in the network can claim one, but reaches a server that listens beyond loopback without
 * it; one on loopback he does not reach, so there they stay refused. */
static bool is_private_name(const char *host)
{
    return (!strchr(host, '.') && !strchr(host, ':')) || ends_with(host, ".internal") ||
           ends_with(host, ".local") || ends_with(host, ".localhost") ||
           ends_with(host, ".home.arpa");
}

bool access_check_host(const struct settings *s, bool loopback, const struct access_request *r,
                       struct err *err)
{
    char host[256];
    if (!r->host || !url_host(host, sizeof host, r->host)) {
        /* HTTP/1.0 needs no Host, and a page in a browser always sends one. */
        return !r->host || err_set(err, ERR_INVALID, "the Host header is malformed");
    }
    /* With keys, a page that points its name here lacks one, and any name may be ours. */
    if (!loopback && s->allowed_hosts.count == 0 && !s->allow_unauthenticated)
        return true;
    if ((!loopback && (is_address(host) || is_private_name(host))) ||
        strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
        strcmp(host, "::1") == 0 || list_has(&s->allowed_hosts, host))
        return true;
    return err_set(err, ERR_DENIED,
                   "this server does not answer to the name \"%.60s\"; add it to allowed_hosts",
                   host);
}

bool access_is_cors(const struct settings *s, const struct access_request *r)
{
    return r->origin && list_has(&s->cors_origins, r->origin);
}

bool access_check_origin(const struct settings *s, const struct access_request *r, struct err *err)
{
    if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 ||
        strcmp(r->method, "OPTIONS") == 0 || access_is_cors(s, r))
        return true;
    if (r->origin) {
        const char *authority = url_authority_of_origin(r->origin);
        if (authority && r->host && strcasecmp(authority, r->host) == 0)
            return true;
    } else if (!r->fetch_site || strcmp(r->fetch_site, "same-origin") == 0 ||
               strcmp(r->fetch_site, "none") == 0) {
        return true;
    }
    return err_set(err, ERR_DENIED,
                   "a page of another origin (%.80s) may not do this; add it to cors_origins",
                   r->origin ? r->origin : r->fetch_site);
}

bool access_check_right(const struct access_grant *grant, bool admin, bool worker, struct err *err)
{
    bool keyless = !*grant->key_id; /* no key is asked for, or a password of api_auth was given */
    if (worker && !grant->worker)
        return err_set(err, ERR_DENIED, "this needs a worker's key: pictor keys add NAME --worker");
    if (!worker && grant->worker && !keyless)
        return err_set(err, ERR_DENIED, "a worker's key opens nothing but what workers need");
    if (admin && !grant->admin && !keyless)
        return err_set(err, ERR_DENIED, "this needs a key with the right to administer");
    return true;
}
