/* stored.c: a server's thread waits for the disk, never for a bucket: what is not near is fetched
 * by the threads for that. Our own page is not sent away: its policy (assets.c) lets it load
 * pictures from here alone. A link to the bucket is a 307 that clients may keep for less
 * long than the link opens. */
#include "server/api/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/api/app.h"
#include "server/http/http.h"
#include "server/store/blobs.h"

#define LINK_SECONDS 3600
#define LINK_CACHE "private, max-age=3000"

/* A fetch, without the request, which may be gone when it is done. */
struct fetched {
    struct blobs *blobs;
    struct stored stored; /* its texts are owned */
    int fd;
    struct err err;
};

static void add_headers(struct http_request *req, const struct stored *s)
{
    for (size_t i = 0; i < STORED_HEADERS; i++)
        if (s->headers[i].name)
            http_reply_header(req, s->headers[i].name, s->headers[i].value);
}

static void free_fetched(void *ctx)
{
    struct fetched *f = ctx;
    if (f->fd >= 0)
        close(f->fd);
    free((char *)f->stored.path);
    free((char *)f->stored.mime);
    for (size_t i = 0; i < STORED_HEADERS; i++) {
        free((char *)f->stored.headers[i].name);
        free((char *)f->stored.headers[i].value);
    }
    free(f);
}

static bool copy_text(const char **text)
{
    return !*text || (*text = strdup(*text)) != NULL;
}

static struct fetched *new_fetched(struct blobs *blobs, const struct stored *s)
{
    struct fetched *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->blobs = blobs;
    f->fd = -1;
    f->stored = *s;
    f->stored.file_name = NULL;
    bool good = copy_text(&f->stored.path);
    good = copy_text(&f->stored.mime) && good;
    for (size_t i = 0; i < STORED_HEADERS; i++) {
        good = copy_text(&f->stored.headers[i].name) && good;
        good = copy_text(&f->stored.headers[i].value) && good;
    }
    if (good)
        return f;
    free_fetched(f);
    return NULL;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct fetched *f = ctx;
    if (!atomic_load(gone))
        f->fd = blobs_open(f->blobs, f->stored.path, f->stored.size, &f->err);
    return false;
}

static void reply(struct http_request *req, void *ctx)
{
    struct fetched *f = ctx;
    if (f->fd < 0) {
        http_reply_error(req, &f->err, NULL);
        return;
    }
    add_headers(req, &f->stored);
    http_reply_file(req, 200, f->stored.mime, f->fd, f->stored.size);
    f->fd = -1;
}

/* Whether the client has it: then it needs no file. */
static bool is_known(struct http_request *req, const struct stored *s)
{
    const char *match = http_header(req, "If-None-Match");
    for (size_t i = 0; match && i < STORED_HEADERS; i++)
        if (s->headers[i].name && strcmp(s->headers[i].name, "ETag") == 0)
            return strstr(match, s->headers[i].value) != NULL;
    return false;
}

void stored_reply(struct http_request *req, const struct stored *s)
{
    struct blobs *blobs = http_app(req)->blobs;
    const char *site = http_header(req, "Sec-Fetch-Site");
    bool page = site && strcmp(site, "same-origin") == 0;
    char *link = NULL;
    struct err err;
    if (is_known(req, s)) {
        add_headers(req, s);
        http_reply_empty(req, 304);
        return;
    }
    if (s->redirects && !page)
        link = blobs_link(blobs, s->path, s->file_name, LINK_SECONDS);
    if (link) {
        http_reply_header(req, "Location", link);
        http_reply_header(req, "Cache-Control", LINK_CACHE);
        http_reply_empty(req, 307);
        free(link);
        return;
    }
    int fd = blobs_open_near(blobs, s->path, s->size, &err);
    if (fd >= 0) {
        add_headers(req, s);
        http_reply_file(req, 200, s->mime, fd, s->size);
        return;
    }
    if (err.code != ERR_NONE) {
        http_reply_error(req, &err, NULL);
        return;
    }
    struct fetched *f = new_fetched(blobs, s);
    if (f)
        http_work_far_on(req, work, reply, f, free_fetched);
    else if (err_set(&err, ERR_UNAVAILABLE, "no memory for a request") || true)
        http_reply_error(req, &err, NULL);
}
