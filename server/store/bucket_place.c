/* bucket_place.c: s3://BUCKET/PREFIX?endpoint=...: where a bucket is. */
#include "server/store/bucket_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "s3://"

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for the address of a bucket");
}

/* What names of buckets, prefixes and regions are made of: nothing that would need an escape. */
static bool is_plain(const char *text, size_t n, bool slashes)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_' || (slashes && c == '/')))
            return false;
    }
    return n > 0;
}

/* "https://host[:port]", without what comes after it but slashes. */
static char *endpoint_of(const char *value, size_t n, const char *what, struct err *err)
{
    size_t scheme = strncmp(value, "https://", 8) == 0 ? 8 : strncmp(value, "http://", 7) == 0 ? 7
                                                                                               : 0;
    while (n > scheme && value[n - 1] == '/')
        n--;
    bool good = scheme && n > scheme && !memchr(value + scheme, '/', n - scheme) &&
                !memchr(value, '@', n) && !memchr(value, ' ', n);
    char *copy = good ? strndup(value, n) : NULL;
    if (!good)
        err_set(err, ERR_INVALID,
                "blobs: %s must be http://HOST[:PORT] or https://..., got \"%.60s\"", what, value);
    else if (!copy)
        no_memory(err);
    return copy;
}

struct options {
    char *endpoint, *outside, *region;
    bool host; /* style=host */
    bool styled;
};

static bool read_option(struct options *o, const char *text, size_t n, struct err *err)
{
    const char *equals = memchr(text, '=', n), *value = equals ? equals + 1 : text + n;
    size_t name = equals ? (size_t)(equals - text) : n, left = n - (size_t)(value - text);
    char **endpoint = name == 8 && strncmp(text, "endpoint", 8) == 0 ? &o->endpoint
                      : name == 6 && strncmp(text, "public", 6) == 0 ? &o->outside : NULL;
    if (endpoint) {
        free(*endpoint);
        const char *what = endpoint == &o->outside ? "public" : "endpoint";
        return (*endpoint = endpoint_of(value, left, what, err)) != NULL;
    }
    if (name == 6 && strncmp(text, "region", 6) == 0) {
        if (!is_plain(value, left, false))
            return err_set(err, ERR_INVALID, "blobs: \"%.40s\" is no region", value);
        free(o->region);
        return (o->region = strndup(value, left)) || no_memory(err);
    }
    if (name == 5 && strncmp(text, "style", 5) == 0) {
        o->styled = true;
        o->host = left == 4 && strncmp(value, "host", 4) == 0;
        return o->host || (left == 4 && strncmp(value, "path", 4) == 0) ||
               err_set(err, ERR_INVALID, "blobs: style is path or host, got \"%.20s\"", value);
    }
    return err_set(err, ERR_INVALID,
                   "blobs: a bucket has endpoint, region, style and public, not \"%.*s\"",
                   (int)(name < 40 ? name : 40), text);
}

static bool read_options(struct options *o, const char *text, struct err *err)
{
    while (*text) {
        size_t n = strcspn(text, "&");
        if (n > 0 && !read_option(o, text, n, err))
            return false;
        text += n + (text[n] == '&');
    }
    return true;
}

/* The host's style has the bucket's name before the host. */
static char *base_of(const char *endpoint, const char *bucket, bool host)
{
    char *base;
    int scheme = (int)(strstr(endpoint, "://") - endpoint) + 3;
    int n = host ? asprintf(&base, "%.*s%s.%s", scheme, endpoint, bucket, endpoint + scheme)
                 : asprintf(&base, "%s/%s", endpoint, bucket);
    return n < 0 ? NULL : base;
}

bool bucket_place_read(struct bucket_place *p, const char *url, struct err *err)
{
    struct options o = {0};
    bool done = false;
    *p = (struct bucket_place){0};
    if (strncmp(url, SCHEME, strlen(SCHEME)) != 0)
        return err_set(err, ERR_INVALID,
                       "blobs must be \"folder\" or s3://BUCKET?endpoint=URL, got \"%.60s\"", url);
    const char *bucket = url + strlen(SCHEME);
    size_t n = strcspn(bucket, "/?");
    const char *prefix = bucket + n + (bucket[n] == '/');
    size_t m = strcspn(prefix, "?");
    while (m > 0 && prefix[m - 1] == '/')
        m--;
    const char *query = strchr(bucket, '?');
    if (n < 3 || n > 63 || !is_plain(bucket, n, false))
        return err_set(err, ERR_INVALID, "blobs: s3:// wants the name of a bucket, got \"%.60s\"",
                       bucket);
    if (m > 0 && (m > 200 || !is_plain(prefix, m, true) || memmem(prefix, m, "..", 2)))
        return err_set(err, ERR_INVALID,
                       "blobs: a prefix is letters, digits and -._/, at most 200, got \"%.60s\"",
                       prefix);
    if (query && !read_options(&o, query + 1, err))
        goto done;
    if (!o.region && !(o.region = strdup("us-east-1")))
        goto no_memory;
    if (!o.endpoint) { /* Amazon's */
        if (!o.styled)
            o.host = true;
        if (asprintf(&o.endpoint, "https://s3.%s.amazonaws.com", o.region) < 0) {
            o.endpoint = NULL;
            goto no_memory;
        }
    }
    p->bucket = strndup(bucket, n);
    if (!p->bucket || asprintf(&p->prefix, "%.*s%s", (int)m, prefix, m ? "/" : "") < 0)
        goto no_memory;
    p->base = base_of(o.endpoint, p->bucket, o.host);
    p->outside = base_of(o.outside ? o.outside : o.endpoint, p->bucket, o.host);
    p->region = o.region;
    o.region = NULL;
    done = p->base && p->outside;
no_memory:
    if (!done)
        no_memory(err);
done:
    free(o.endpoint);
    free(o.outside);
    free(o.region);
    if (!done)
        bucket_place_free(p);
    return done;
}

void bucket_place_free(struct bucket_place *p)
{
    free(p->bucket);
    free(p->prefix);
    free(p->region);
    free(p->base);
    free(p->outside);
    *p = (struct bucket_place){0};
}
