/* result.c: encodes pictures and previews. */
#include "server/paint/result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/io/image_mark.h"
#include "server/base/settings.h"
#include "server/job/infotext_job.h"
#include "server/job/inputs.h"
#include "server/job/registry.h"
#include "server/paint/dispatch.h"
#include "server/queue/queue.h"
#include "server/worker/codec.h"

#define PREVIEW_SIDE 512 /* previews are latents, 1/8 of the picture: enlarged up to this */
#define PREVIEW_FACTOR 4
#define PREVIEW_WHOLE 2048 /* no latent is as large */
#define PREVIEW_QUALITY 80
#define HASH_MS 5000 /* gigabytes from a disk */

/* No setting allows more; the limits themselves may have changed since a job was accepted. */
#define COUNT_MAX 1000
#define SIDE_MAX 16384

static bool is_side(int side)
{
    return side > 0 && side <= SIDE_MAX;
}

bool result_check(const struct job *job, struct err *err)
{
    const struct job_params *p = &job->params;
    if (p->model && p->prompt && p->count > 0 && p->count <= COUNT_MAX && is_side(p->width) &&
        is_side(p->height) && (p->hires_width == 0 || is_side(p->hires_width)) &&
        (p->hires_height == 0 || is_side(p->hires_height)))
        return true;
    return err_set(err, ERR_INTERNAL, "its stored request is damaged");
}

bool result_input(const struct dispatch_parts *parts, const struct job *job, const char *name,
                  void **data, size_t *size, struct err *err)
{
    bool wanted[INPUTS_MAX];
    inputs_wanted(&job->params, wanted);
    return !wanted[inputs_index(name)] ||
           queue_input(parts->queue, job->id, name, data, size, err);
}

/* What the file says of itself: of one that was begun from a picture, what that one said counts. A
 * picture that cannot be read any more says nothing. */
static enum image_mark mark_of(const struct dispatch_parts *parts, const struct job *job)
{
    struct image_texts texts = {0};
    enum image_mark before = IMAGE_MARK_NONE;
    void *data = NULL;
    size_t size;
    if (!parts->settings->mark_pictures)
        return IMAGE_MARK_NONE;
    if (!job->params.has_init)
        return IMAGE_MARK_TRAINED;
    if (queue_input(parts->queue, job->id, "init", &data, &size, NULL) &&
        codec_texts(parts->codec, data, size, &texts, NULL))
        before = image_mark_read(&texts);
    image_texts_free(&texts);
    free(data);
    return image_mark_after(before);
}

/* In `items`, which has room for both; returns how many. */
static size_t texts_of(const struct dispatch_parts *parts, const struct job *job, char *infotext,
                       struct image_text *items)
{
    const char *packet = image_mark_packet(mark_of(parts, job));
    size_t count = 0;
    if (parts->settings->write_infotext)
        items[count++] = (struct image_text){(char *)"parameters", infotext};
    if (*packet)
        items[count++] = (struct image_text){(char *)IMAGE_MARK_KEY, (char *)packet};
    return count;
}

/* What its row says; free image.infotext, which is NULL without memory. */
static struct job_image describe(const struct dispatch_parts *parts, const struct job *job,
                                 const struct registry_model *painter, const char *revised,
                                 int index, int width, int height)
{
    const struct job_params *p = &job->params;
    struct job_image image = {
        .index = index,
        .width = width,
        .height = height,
        .seed = job_seed(p, index),
        .subseed = job_subseed(p, index),
        .format = (enum image_format)p->format,
    };
    struct registry_model model;
    bool known = registry_resolve(parts->registry, p->model, &model, NULL);
    if (known && !*model.sha256) { /* its first picture came before the file was read for that */
        int patience = parts->settings->lease_seconds * 1000 / 3;
        registry_await_hash(parts->registry, model.name, patience < HASH_MS ? patience : HASH_MS);
        known = registry_resolve(parts->registry, p->model, &model, NULL);
    }
    /* Of the file that painted, not of one that took its place meanwhile. */
    known = known && (!painter || (model.size == painter->size &&
                                   model.mtime_ms == painter->mtime_ms));
    const char *name = p->model ? p->model : "", *slash = strrchr(name, '/');
    struct infotext_picture about = {
        .seed = image.seed,
        .subseed = image.subseed,
        .model_name = slash ? slash + 1 : name,
        .model_hash = known ? model.sha256 : painter ? painter->sha256 : "",
        .revised_prompt = revised,
    };
    image.infotext = infotext_write(p, &about);
    return image;
}

static bool no_infotext(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for an infotext");
}

bool result_store(const struct dispatch_parts *parts, const struct claim *claim,
                  const struct job *job, const struct registry_model *painter, const char *revised,
                  int index, const struct pictor_image *pixels, struct err *err)
{
    struct image_file file = {0};
    struct job_image image =
        describe(parts, job, painter, revised, index, pixels->width, pixels->height);
    struct image_text items[2];
    struct image_texts texts = {.items = items};
    if (image.infotext)
        texts.count = texts_of(parts, job, image.infotext, items);
    bool done =
        image.infotext
            ? codec_encode(parts->codec, pixels, image.format, job->params.quality, &texts, &file,
                           err) &&
                  queue_store_image(parts->queue, claim, &image, file.data, file.size, err)
            : no_infotext(err);
    image_file_free(&file);
    free(image.infotext);
    return done;
}

bool result_keep(const struct dispatch_parts *parts, const struct claim *claim,
                 const struct job *job, const char *revised, int index, int width, int height,
                 const void *data, size_t size, struct err *err)
{
    struct job_image image = describe(parts, job, NULL, revised, index, width, height);
    image.format = image_sniff(data, size);
    bool done = image.infotext ? queue_store_image(parts->queue, claim, &image, data, size, err)
                               : no_infotext(err);
    free(image.infotext);
    return done;
}

static bool encode_preview(struct codec *codec, const struct pictor_image *latent,
                           struct image_file *out)
{
    int side = latent->width > latent->height ? latent->width : latent->height;
    int factor = PREVIEW_SIDE / side;
    factor = factor < 1 ? 1 : factor > PREVIEW_FACTOR ? PREVIEW_FACTOR : factor;
    int width = latent->width * factor, height = latent->height * factor;
    if (side > PREVIEW_WHOLE) { /* an upstream's are no latents */
        width = latent->width * PREVIEW_SIDE / side;
        height = latent->height * PREVIEW_SIDE / side;
    }
    struct pictor_image large = {0};
    bool done = width > 0 && height > 0 &&
                image_resize(latent, width, height, IMAGE_BICUBIC, &large, NULL) &&
                codec_encode(codec, &large, IMAGE_JPEG, PREVIEW_QUALITY, NULL, out, NULL);
    pictor_image_free(&large);
    return done;
}

void result_progress(const struct dispatch_parts *parts, const struct job *job,
                     const struct job_progress *progress, const struct pictor_image *latent)
{
    result_partial(parts, job, progress, latent, NULL, 0);
}

void result_partial(const struct dispatch_parts *parts, const struct job *job,
                    const struct job_progress *progress, const struct pictor_image *latent,
                    const void *data, size_t size)
{
    struct image_file preview = {0};
    if (latent && latent->pixels)
        encode_preview(parts->codec, latent, &preview); /* without memory there is none */
    struct event event = {
        .kind = EVENT_PROGRESS,
        .state = JOB_RUNNING,
        .progress = *progress,
        .preview = preview.data,
        .preview_size = preview.size,
        .partial = data,
        .partial_size = size,
    };
    memcpy(event.job_id, job->id, sizeof event.job_id);
    memcpy(event.key_id, job->key_id, sizeof event.key_id);
    events_publish(parts->events, &event);
    image_file_free(&preview);
}

int result_missing(const struct job *job, int from)
{
    for (int index = from; index < job->params.count; index++) {
        bool there = false;
        for (size_t i = 0; i < job->image_count; i++)
            there = there || job->images[i].index == index;
        if (!there)
            return index;
    }
    return -1;
}

double result_eta(const struct job *job, int index, bool interrupted, double left, double whole)
{
    if (!(left >= 0 && whole >= left))
        return -1;
    for (int i = index; !interrupted && (i = result_missing(job, i + 1)) >= 0;)
        left += whole;
    return left;
}
