/* bucket_list.c: what lies in a bucket, a page of at most 1000 names at a time. */
#include "server/store/bucket_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES (4 << 20)

static size_t unescape(char *out, const char *text, size_t n)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        size_t e = 0, count = sizeof entities / sizeof *entities;
        while (e < count && strncmp(text + i, entities[e].name, strlen(entities[e].name)) != 0)
            e++;
        out[k++] = e < count ? entities[e].c : text[i];
        i += e < count ? strlen(entities[e].name) : 1;
    }
    return k;
}

bool bucket_xml(const char **at, const char *tag, char *out, size_t room)
{
    char open[40], close[40];
    snprintf(open, sizeof open, "<%s>", tag);
    snprintf(close, sizeof close, "</%s>", tag);
    const char *from = strstr(*at, open), *to = from ? strstr(from, close) : NULL;
    if (!to)
        return false;
    from += strlen(open);
    size_t n = (size_t)(to - from);
    if (n >= room)
        return false;
    out[unescape(out, from, n)] = '\0';
    *at = to + strlen(close);
    return true;
}

static time_t time_of(const char *text)
{
    struct tm t = {0};
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &t) ? timegm(&t) : 0;
}

/* The name without the prefix; NULL: it is none of ours. */
static const char *own_name(const struct bucket *b, const char *name)
{
    size_t n = strlen(b->place.prefix);
    return strncmp(name, b->place.prefix, n) == 0 ? name + n : NULL;
}

/* One <Contents> of a page. */
static bool show(struct bucket *b, const char *item, bucket_fn *fn, void *ctx)
{
    char name[1100], size[32], modified[40];
    const char *a = item, *m = item, *s = item;
    if (!bucket_xml(&a, "Key", name, sizeof name) || !bucket_xml(&s, "Size", size, sizeof size) ||
        !bucket_xml(&m, "LastModified", modified, sizeof modified) || !own_name(b, name))
        return true;
    return fn(ctx, own_name(b, name), (size_t)strtoull(size, NULL, 10), time_of(modified));
}

/* Calls `each` for what stands between <tag> and </tag>; false: it has stopped. The page is cut. */
static bool items(char *page, const char *tag, bool (*each)(void *ctx, const char *item), void *ctx)
{
    char open[40], close[40];
    snprintf(open, sizeof open, "<%s>", tag);
    snprintf(close, sizeof close, "</%s>", tag);
    for (char *at = page; (at = strstr(at, open));) {
        char *end = strstr(at, close);
        if (!end)
            break;
        *end = '\0';
        bool more = each(ctx, at);
        *end = '<';
        if (!more)
            return false;
        at = end;
    }
    return true;
}

/* A page of the list `root`. What else answers with 200, such as a console's page of HTML, would be
 * an empty bucket, whose rows fsck removes. */
static bool read_page(struct bucket *b, struct bucket_call *call, const char *root, struct err *err)
{
    return bucket_call(b, call, err) &&
           (strstr(call->body, root) ||
            err_set(err, ERR_UNAVAILABLE,
                    "the bucket's endpoint answers with no list of objects; is it the one of S3?"));
}

struct listing {
    struct bucket *b;
    bucket_fn *fn;
    void *ctx;
    time_t before;
    bool end;
    struct err *err;
    bool failed;
};

static bool show_object(void *ctx, const char *item)
{
    struct listing *l = ctx;
    return show(l->b, item, l->fn, l->ctx);
}

bool bucket_list(struct bucket *b, const char *prefix, bucket_fn *fn, void *ctx, struct err *err)
{
    char query[3600], token[1024] = "", encoded[3100] = "", whole[600], begins[1000];
    struct listing l = {.b = b, .fn = fn, .ctx = ctx, .err = err};
    bool more = true;
    snprintf(whole, sizeof whole, "%s%s", b->place.prefix, prefix);
    if (!bucket_encode(begins, sizeof begins, whole, false))
        return err_set(err, ERR_INTERNAL, "the name of a part of a bucket is too long");
    while (more) {
        snprintf(query, sizeof query, "%s%s%slist-type=2&max-keys=1000&prefix=%s",
                 *token ? "continuation-token=" : "", encoded, *token ? "&" : "", begins);
        struct bucket_call call = {.method = "GET", .query = query, .most = PAGE_BYTES};
        bool done = read_page(b, &call, "<ListBucketResult", err);
        const char *at = call.body;
        more = done && bucket_xml(&at, "NextContinuationToken", token, sizeof token);
        if (done && !more && strstr(call.body, "<IsTruncated>true"))
            done = err_set(err, ERR_UPSTREAM, "the bucket's list does not say how it goes on");
        if (more && !bucket_encode(encoded, sizeof encoded, token, false))
            done = err_set(err, ERR_UPSTREAM, "the bucket's list goes on behind too long a word");
        if (done && !items(call.body, "Contents", show_object, &l))
            more = false;
        free(call.body);
        if (!done)
            return false;
    }
    return true;
}

static bool show_upload(void *ctx, const char *item)
{
    struct listing *l = ctx;
    char name[1100], id[1024], begun[40], encoded[3100], query[3200];
    const char *a = item, *i = item, *m = item;
    if (!bucket_xml(&a, "Key", name, sizeof name) || !bucket_xml(&i, "UploadId", id, sizeof id) ||
        !bucket_xml(&m, "Initiated", begun, sizeof begun) || !own_name(l->b, name) ||
        time_of(begun) >= l->before)
        return true;
    if (!l->fn(l->ctx, own_name(l->b, name), 0, time_of(begun)))
        return false;
    if (!l->end || !bucket_encode(encoded, sizeof encoded, id, false))
        return true;
    snprintf(query, sizeof query, "uploadId=%s", encoded);
    struct bucket_call call = {
        .method = "DELETE", .name = own_name(l->b, name), .query = query, .most = PAGE_BYTES};
    struct err err;
    if (!bucket_call(l->b, &call, &err) && err.code != ERR_NOT_FOUND) {
        l->failed = true;
        err_copy(l->err, &err);
    }
    free(call.body);
    return !l->failed;
}

/* One page: more than a thousand that nobody finished are found by looking again. */
bool bucket_list_parts(struct bucket *b, time_t before, bool end, bucket_fn *fn, void *ctx,
                       struct err *err)
{
    char query[1100], begins[1000];
    struct listing l = {
        .b = b, .fn = fn, .ctx = ctx, .before = before, .end = end, .err = err};
    if (!bucket_encode(begins, sizeof begins, b->place.prefix, false))
        return err_set(err, ERR_INTERNAL, "the bucket's prefix is too long");
    snprintf(query, sizeof query, "prefix=%s&uploads=", begins);
    struct bucket_call call = {.method = "GET", .query = query, .most = PAGE_BYTES};
    bool done = read_page(b, &call, "<ListMultipartUploadsResult", err);
    if (done)
        items(call.body, "Upload", show_upload, &l);
    free(call.body);
    return done && !l.failed;
}
