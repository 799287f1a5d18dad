/* linked.c: the body's JSON is walked for texts that are addresses, under names that hold pictures;
 * each is fetched by a thread of http_work_far, in turn, and becomes a data: URL. Links of this
 * server's own stay: who reads the request looks them up. */
#include "server/api/linked.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/io/image.h"
#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/paint/fetch.h"

#define PICTURES_MOST 16
#define FETCH_MS 30000 /* for all pictures of a request */
#define OWN_LINK "/images/files/"

/* Without the request, which may be gone when it is done. */
struct linked {
    char *sent; /* the body as it came */
    cJSON *body;
    cJSON *at[PICTURES_MOST]; /* texts in the body */
    int count, done;
    bool public_only;
    size_t left; /* bytes that may still come */
    int64_t until;
    struct err err;
    void (*next)(struct http_request *req);
};

static void linked_free(void *ctx)
{
    struct linked *l = ctx;
    cJSON_Delete(l->body);
    free(l->sent);
    free(l);
}

/* Where the APIs have pictures. */
static bool holds_pictures(const char *name)
{
    static const char *const names[] = {"image_url", "url",         "image",      "images",
                                        "mask",      "init_images", "init_image", "markup"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (name && strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_address(const char *text)
{
    return (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) &&
           !strstr(text, OWN_LINK);
}

/* False: there are too many. `name` is of the nearest member around. */
static bool find(struct linked *l, cJSON *json, const char *name)
{
    for (cJSON *item = json ? json->child : NULL; item; item = item->next) {
        const char *own = item->string ? item->string : name;
        if (own && strcmp(own, "values") == 0 && item->string) /* of an experiment's axis */
            own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "field"));
        if (cJSON_IsString(item) && holds_pictures(own) && is_address(item->valuestring)) {
            if (l->count == PICTURES_MOST)
                return false;
            l->at[l->count++] = item;
        } else if (!find(l, item, own)) {
            return false;
        }
    }
    return true;
}

/* ---- fetching ---- */

struct download {
    const struct linked *l;
    const atomic_bool *gone;
    bool large, late;
};

static bool watch(void *ctx, uint64_t done, uint64_t total)
{
    struct download *d = ctx;
    d->large = d->large || done > d->l->left || total > d->l->left;
    d->late = now_ms() > d->l->until;
    return !d->large && !d->late && !atomic_load(d->gone);
}

static bool begin(void *ctx, const struct fetch_head *head)
{
    return watch(ctx, 0, head->total);
}

static bool explain(const struct linked *l, const struct download *d, struct err *err)
{
    if (d->large)
        return err_set(err, ERR_TOO_LARGE, "it is larger than %zu bytes", l->left);
    if (d->late)
        return err_set(err, ERR_UPSTREAM, "it did not come within %d s", FETCH_MS / 1000);
    if (err->code == ERR_DENIED)
        return err_set(err, ERR_INVALID,
                       "this address is one of the server's own network, which picture_urls in its "
                       "settings would allow");
    return false;
}

/* In the place of the address. */
static bool replace(cJSON *item, const void *data, size_t size, struct err *err)
{
    enum image_format format = image_sniff(data, size);
    char *text = base64_encode(data, size), *url = NULL;
    if (text && asprintf(&url, "data:%s;base64,%s",
                         format == IMAGE_NONE ? "application/octet-stream" : image_mime(format),
                         text) < 0)
        url = NULL;
    bool ok = url && cJSON_SetValuestring(item, url);
    free(text);
    free(url);
    return ok || err_set(err, ERR_INTERNAL, "no memory for a picture");
}

static bool fetch_one(struct linked *l, cJSON *item, const atomic_bool *gone)
{
    struct download d = {.l = l, .gone = gone};
    char *data = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&data, &size);
    if (!out)
        return err_set(&l->err, ERR_INTERNAL, "no memory for a picture");
    struct fetch_file file = {.url = item->valuestring,
                              .out = out,
                              .etag = "",
                              .public_only = l->public_only,
                              .progress = watch,
                              .ctx = &d,
                              .stop = gone,
                              .begin = begin};
    bool ok = fetch_file(&file, &l->err) || explain(l, &d, &l->err);
    ok = fclose(out) == 0 && ok && replace(item, data, size, &l->err);
    if (ok)
        l->left -= size < l->left ? size : l->left;
    free(data);
    return ok;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct linked *l = ctx;
    if (!fetch_one(l, l->at[l->done], gone)) {
        err_prefix(&l->err, "picture %d by its address", l->done + 1);
        return false;
    }
    return ++l->done < l->count;
}

static void reply(struct http_request *req, void *ctx)
{
    struct linked *l = ctx;
    char *text = l->done == l->count ? json_text_print(l->body) : NULL;
    if (text) {
        http_set_body(req, text, strlen(text), l->sent);
        l->sent = NULL;
        l->next(req);
        return;
    }
    if (l->done == l->count)
        err_set(&l->err, ERR_INTERNAL, "no memory for a request");
    else if (l->err.code == ERR_UPSTREAM || l->err.code == ERR_NOT_FOUND)
        l->err.code = ERR_INVALID; /* the client has named it */
    http_reply_error(req, &l->err, NULL);
}

bool linked_begins(struct http_request *req, void (*next)(struct http_request *req))
{
    const struct settings *s = http_app(req)->settings;
    struct err err;
    size_t size;
    const char *text = http_body(req, &size);
    if (strcmp(s->picture_urls, "off") == 0 || http_content_type_is(req, "multipart/form-data") ||
        (!memmem(text, size, "http:", 5) && !memmem(text, size, "https:", 6)))
        return false;
    struct linked *l = calloc(1, sizeof *l);
    if (!l || !(l->body = http_json(req, NULL))) { /* what is wrong is said by who reads it */
        free(l);
        return false;
    }
    l->public_only = strcmp(s->picture_urls, "any") != 0;
    l->left = s->max_body_bytes / 4 * 3; /* of it in base64 */
    l->until = now_ms() + FETCH_MS;
    l->next = next;
    if (!find(l, l->body, NULL)) {
        err_set(&err, ERR_INVALID, "at most %d pictures may be given by their addresses",
                PICTURES_MOST);
        http_reply_error(req, &err, NULL);
        linked_free(l);
        return true;
    }
    if (l->count == 0) {
        linked_free(l);
        return false;
    }
    l->sent = strdup(http_body_sent(req, &size));
    http_work_far(req, work, reply, l, linked_free);
    return true;
}
