/* native_thumb.c: a WebP of at most THUMB_SIDE pixels on a side is made when it is first asked for,
 * by a codec process, and kept in DATA/thumbs for all who ask again. A picture never changes, so
 * neither does what is kept; it goes with the picture. Without room, it is made anew. */
#include "server/api/native/native_thumb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/io/image.h"
#include "engine/io/image_mark.h"
#include "engine/io/image_resize.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/intake.h"
#include "server/queue/queue.h"
#include "server/store/blobs.h"
#include "server/store/store.h"
#include "server/worker/codec.h"

#define THUMB_SIDE 512 /* a card of 256 CSS pixels on a screen of two pixels to each */
#define THUMB_QUALITY 82
#define THUMB_MOST ((size_t)4 << 20) /* bytes: many times what any has */

/* Without the request, which may be gone when it is done. */
struct thumb {
    const struct settings *settings;
    struct codec *codec;
    char id[JOB_ID_SIZE];
    char path[BLOBS_PATH_SIZE];
    const struct app *app;
    struct job_image image; /* whose infotext is gone */
    int fd;                 /* of the picture; -1: it is to be opened first, wherever it lies */
    size_t size;
    int made; /* one that was made before; -1: none */
    size_t made_size;
    struct image_file file; /* the result */
    struct err err;
};

static void thumb_free(void *ctx)
{
    struct thumb *t = ctx;
    if (t->fd >= 0)
        close(t->fd);
    if (t->made >= 0)
        close(t->made);
    image_file_free(&t->file);
    free(t);
}

static void *read_all(int fd, size_t size, struct err *err)
{
    char *data = malloc(size ? size : 1);
    size_t got = 0;
    ssize_t n = 1;
    while (data && got < size && (n = read(fd, data + got, size - got)) > 0)
        got += (size_t)n;
    if (data && got == size)
        return data;
    free(data);
    err_set(err, ERR_IO, "the picture could not be read");
    return NULL;
}

/* One that is small already is written anew, which makes less of it than a PNG is. */
static bool shrink(const struct pictor_image *in, struct pictor_image *out, struct err *err)
{
    int longer = in->width > in->height ? in->width : in->height;
    int most = longer < THUMB_SIDE ? longer : THUMB_SIDE;
    int width = (int)((long long)in->width * most / longer);
    int height = (int)((long long)in->height * most / longer);
    return image_resize(in, width ? width : 1, height ? height : 1, IMAGE_BICUBIC, out, err);
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct thumb *t = ctx;
    struct pictor_image image = {0}, small = {0};
    struct image_texts all = {0};
    struct image_text items[IMAGE_MARK_KEPT];
    struct image_texts kept = {items, 0}; /* that a model painted it, and no more */
    struct err ignored;
    if (t->fd < 0 && !atomic_load(gone)) { /* it lies in a bucket, as one made before may */
        t->made = blobs_open_any(t->app->blobs, t->path, THUMB_MOST, true, &t->made_size, &ignored);
        if (t->made < 0)
            t->fd = queue_image_open(t->app->queue, &t->image, &t->err);
        if (t->fd < 0)
            return false;
    }
    void *data = atomic_load(gone) ? NULL : read_all(t->fd, t->size, &t->err);
    if (data && codec_texts(t->codec, data, t->size, &all, &ignored))
        kept.count = image_mark_keep(&all, items);
    if (data &&
        codec_decode(t->codec, data, t->size, intake_pixels_max(t->settings), &image, &t->err) &&
        shrink(&image, &small, &t->err) &&
        codec_encode(t->codec, &small, IMAGE_WEBP, THUMB_QUALITY, &kept, &t->file, &t->err))
        blobs_write(t->app->blobs, t->path, t->file.data, t->file.size, &ignored);
    pictor_image_free(&image);
    pictor_image_free(&small);
    image_texts_free(&all);
    free(data);
    return false;
}

static void etag_of(char out[64], const char *id)
{
    snprintf(out, 64, "\"%.40s-thumb\"", id);
}

/* Of what never changes; an error may not be kept so. */
static void add_headers(struct http_request *req, const char *id)
{
    char etag[64];
    etag_of(etag, id);
    http_reply_header(req, "ETag", etag);
    http_reply_header(req, "Cache-Control", "private, max-age=31536000, immutable");
}

static void reply(struct http_request *req, void *ctx)
{
    struct thumb *t = ctx;
    if (t->made >= 0) {
        add_headers(req, t->id);
        http_reply_file(req, 200, image_mime(IMAGE_WEBP), t->made, t->made_size);
        t->made = -1;
        return;
    }
    if (!t->file.data) {
        http_reply_error(req, &t->err, NULL);
        return;
    }
    add_headers(req, t->id);
    http_reply_data(req, 200, image_mime(IMAGE_WEBP), t->file.data, t->file.size, free);
    t->file = (struct image_file){0};
}

void native_thumb(struct http_request *req)
{
    const struct app *app = http_app(req);
    const char *id = http_param(req, "id"), *match = http_header(req, "If-None-Match");
    struct job_image image = {0};
    struct err err;
    struct thumb *t = calloc(1, sizeof *t);
    char etag[64];
    size_t size;
    bool found = queue_image(app->queue, id, http_visible_key(req), &image, &err);
    free(image.infotext);
    if (found && !t)
        found = err_set(&err, ERR_UNAVAILABLE, "no memory for a request");
    if (t)
        t->fd = t->made = -1;
    if (!found || !blobs_thumb_path(t->path, store_data(app->store), id, &err)) {
        http_reply_error(req, &err, NULL);
        goto done;
    }
    etag_of(etag, id);
    if (match && strstr(match, etag)) {
        add_headers(req, id);
        http_reply_empty(req, 304);
        goto done;
    }
    int made = blobs_open_any(app->blobs, t->path, THUMB_MOST, false, &size, &err);
    if (made >= 0) {
        add_headers(req, id);
        http_reply_file(req, 200, image_mime(IMAGE_WEBP), made, size);
        goto done;
    }
    snprintf(t->id, sizeof t->id, "%s", id);
    t->settings = app->settings;
    t->codec = app->codec;
    t->size = image.bytes;
    t->app = app;
    t->image = image;
    t->image.infotext = NULL;
    bool near = err.code != ERR_NONE; /* the folder says that there is none */
    if (near && (t->fd = queue_image_open(app->queue, &image, &err)) < 0) {
        http_reply_error(req, &err, NULL);
        goto done;
    }
    if (near)
        http_work(req, work, reply, t, thumb_free);
    else
        http_work_far_on(req, work, reply, t, thumb_free);
    return;
done:
    if (t)
        thumb_free(t);
}
