/* upstream_request.c: writes the JSON, or the form with its pictures as PNG. */
#include "server/paint/upstream_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/job/job.h"
#include "server/job/relay.h"
#include "server/worker/codec.h"

#define LEAK_LENGTH 8
#define INPUT_PIXELS ((size_t)268435456) /* it was checked when the job was taken */

/* The fields, in one order for JSON and form. */
struct form_fields {
    struct upstream_request *r;
    cJSON *json; /* NULL: a form */
};

static void add_text(struct form_fields *f, const char *name, const char *value)
{
    if (f->json)
        cJSON_AddStringToObject(f->json, name, value);
    else
        f->r->parts[f->r->part_count++] =
            (struct fetch_part){.name = name, .data = value, .size = strlen(value)};
}

static void add_number(struct form_fields *f, const char *name, double value)
{
    if (f->json) {
        cJSON_AddNumberToObject(f->json, name, value);
        return;
    }
    char *text = f->r->texts[f->r->part_count];
    snprintf(text, sizeof f->r->texts[0], "%.17g", value);
    add_text(f, name, text);
}

static void add_whole(struct form_fields *f, const char *name, uint64_t value)
{
    if (f->json) {
        cJSON_AddItemToObject(f->json, name, json_number_item(value));
        return;
    }
    char *text = f->r->texts[f->r->part_count];
    snprintf(text, sizeof f->r->texts[0], "%" PRIu64, value);
    add_text(f, name, text);
}

static void add_file(struct upstream_request *r, const char *name, const char *file_name,
                     const struct image_file *file)
{
    r->parts[r->part_count++] = (struct fetch_part){.name = name,
                                                    .file_name = file_name,
                                                    .type = "image/png",
                                                    .data = file->data,
                                                    .size = file->size};
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What the client asked, in its own words. */
static void add_relayed(struct form_fields *f, const char *model)
{
    const cJSON *item;
    const char *name;
    for (int i = 0; (item = relay_next(f->r->relay, model, &i, &name));)
        if (cJSON_IsString(item))
            add_text(f, name, item->valuestring);
        else
            add_number(f, name, item->valuedouble);
}

static void add_partials(struct form_fields *f, int partials)
{
    if (f->json)
        cJSON_AddTrueToObject(f->json, "stream");
    else
        add_text(f, "stream", "true");
    add_number(f, "partial_images", partials);
}

static void add_fields(struct form_fields *f, const struct job_params *p, int index, int count,
                       const char *model, bool extensions, int partials)
{
    char *size = f->r->texts[UPSTREAM_REQUEST_PARTS - 1];
    snprintf(size, sizeof f->r->texts[0], "%dx%d", p->width, p->height);
    add_text(f, "model", model);
    if (!relay_is_variation(f->r->relay) || (p->prompt && *p->prompt)) /* variations have none */
        add_text(f, "prompt", p->prompt ? p->prompt : "");
    add_number(f, "n", count);
    add_text(f, "size", size);
    /* OpenAI's GPT models always answer base64 and refuse the question; all others are asked. */
    if (!begins(model, "gpt-image") && !begins(model, "chatgpt-image"))
        add_text(f, "response_format", "b64_json");
    add_relayed(f, model);
    if (partials > 0)
        add_partials(f, partials);
    if (!extensions)
        return;
    if (p->negative_prompt && *p->negative_prompt)
        add_text(f, "negative_prompt", p->negative_prompt);
    add_whole(f, "seed", job_seed(p, index));
    if (p->steps != JOB_UNSET)
        add_number(f, "steps", p->steps);
    if (!isnan(p->guidance))
        add_number(f, "guidance_scale", p->guidance);
    if (p->sampler)
        add_text(f, "sampler", p->sampler);
    if (p->scheduler)
        add_text(f, "scheduler", p->scheduler);
    if (p->has_init && !isnan(p->strength))
        add_number(f, "strength", p->strength);
}

/* Whether the mask is drawn with alpha, which then counts instead of its colours: the rule that the
 * engine paints by (engine/pipeline/canvas.c). */
static bool is_drawn_with_alpha(const struct pictor_image *mask)
{
    size_t pixels = (size_t)mask->width * (size_t)mask->height;
    for (size_t i = 0; mask->channels == 4 && i < pixels; i++)
        if (mask->pixels[4 * i + 3] != 255)
            return true;
    return false;
}

/* How much a pixel is to be repainted, whatever its channels. */
static uint8_t white(const struct pictor_image *image, size_t pixel, bool alpha)
{
    const uint8_t *at = image->pixels + pixel * (size_t)image->channels;
    if (alpha)
        return at[3] > 128 ? 255 : 0;
    return image->channels < 3 ? at[0]
                               : (uint8_t)((at[0] * 299 + at[1] * 587 + at[2] * 114) / 1000);
}

/* A job's mask is white where to repaint; OpenAI's is transparent there, and as large as the
 * picture. */
static bool convert_mask(struct codec *codec, const struct pictor_image *init, const void *data,
                         size_t size, bool invert, struct image_file *out, struct err *err)
{
    struct pictor_image mask = {0}, fitted = {0}, clear = {0};
    bool done = false;
    if (!codec_decode(codec, data, size, INPUT_PIXELS, &mask, err) ||
        !image_resize(&mask, init->width, init->height, IMAGE_BILINEAR, &fitted, err) ||
        !image_new(&clear, init->width, init->height, 4, err))
        goto done;
    size_t pixels = (size_t)init->width * (size_t)init->height;
    bool alpha = is_drawn_with_alpha(&mask);
    for (size_t i = 0; i < pixels; i++) {
        uint8_t repaint = white(&fitted, i, alpha);
        clear.pixels[4 * i + 3] = invert ? repaint : (uint8_t)(255 - repaint);
    }
    done = codec_encode(codec, &clear, IMAGE_PNG, 0, NULL, out, err);

done:
    pictor_image_free(&mask);
    pictor_image_free(&fitted);
    pictor_image_free(&clear);
    return done;
}

bool upstream_request_white(struct codec *codec, const void *data, size_t size, bool invert,
                            struct image_file *out, struct err *err)
{
    struct pictor_image mask = {0}, grey = {0};
    bool done = codec_decode(codec, data, size, INPUT_PIXELS, &mask, err) &&
                image_new(&grey, mask.width, mask.height, 1, err);
    bool alpha = done && is_drawn_with_alpha(&mask);
    for (size_t i = 0; done && i < (size_t)mask.width * (size_t)mask.height; i++) {
        uint8_t repaint = white(&mask, i, alpha);
        grey.pixels[i] = invert ? (uint8_t)(255 - repaint) : repaint;
    }
    done = done && codec_encode(codec, &grey, IMAGE_PNG, 0, NULL, out, err);
    pictor_image_free(&mask);
    pictor_image_free(&grey);
    return done;
}

int upstream_request_partials(const struct job_params *p, const char *model, bool extensions)
{
    cJSON *relay = relay_read(p->relay);
    int count = relay_partials(relay);
    bool knows = extensions || begins(model, "gpt-image") || begins(model, "chatgpt-image");
    if (relay_is_variation(relay) || begins(model, "dall-e"))
        count = 0;
    else if (count < 0)
        count = knows && p->preview_every > 0 ? UPSTREAM_REQUEST_PARTIALS : 0;
    cJSON_Delete(relay);
    return count;
}

/* As PNG, which all servers take. */
static bool add_picture(struct upstream_request *r, struct codec *codec, const char *name,
                        const void *data, size_t size, struct image_file *file,
                        struct pictor_image *picture, struct err *err)
{
    if (!codec_decode(codec, data, size, INPUT_PIXELS, picture, err) ||
        !codec_encode(codec, picture, IMAGE_PNG, 0, NULL, file, err))
        return false;
    add_file(r, name, "image.png", file);
    return true;
}

bool upstream_request_make(struct upstream_request *r, struct codec *codec,
                           const struct job_params *p, int index, int count, const char *model,
                           bool extensions, int partials, const struct upstream_pictures *in,
                           struct err *err)
{
    struct pictor_image picture = {0};
    struct form_fields f = {.r = r};
    const char *name = in->more_count > 0 ? "image[]" : "image";
    bool done = false;
    *r = (struct upstream_request){.relay = relay_read(p->relay)};
    r->path = !in->init_size                 ? "/images/generations"
              : relay_is_variation(r->relay) ? "/images/variations"
                                              : "/images/edits";
    if (!in->init_size) {
        f.json = cJSON_CreateObject();
        add_fields(&f, p, index, count, model, extensions, partials);
        r->json = json_text_print(f.json);
        cJSON_Delete(f.json);
        return r->json || err_set(err, ERR_INTERNAL, "no memory for a request");
    }
    add_fields(&f, p, index, count, model, extensions, partials);
    if (!add_picture(r, codec, name, in->init, in->init_size, &r->image, &picture, err))
        goto done;
    for (int i = 0; i < in->more_count; i++) {
        struct pictor_image more = {0};
        bool added = add_picture(r, codec, name, in->more[i].data, in->more[i].size, &r->more[i],
                                 &more, err);
        pictor_image_free(&more);
        if (!added)
            goto done;
    }
    if (in->mask_size > 0) {
        if (!convert_mask(codec, &picture, in->mask, in->mask_size, p->mask_invert, &r->mask, err))
            goto done;
        add_file(r, "mask", "mask.png", &r->mask);
    }
    done = true;

done:
    pictor_image_free(&picture);
    if (!done)
        upstream_request_free(r);
    return done;
}

void upstream_request_free(struct upstream_request *r)
{
    free(r->json);
    cJSON_Delete(r->relay);
    image_file_free(&r->image);
    image_file_free(&r->mask);
    for (int i = 0; i < RELAY_IMAGES_MAX; i++)
        image_file_free(&r->more[i]);
    *r = (struct upstream_request){0};
}

bool upstream_request_leaks(const char *message, const char *key)
{
    if (!message)
        return false;
    if (strstr(message, "***"))
        return true;
    if (strlen(key) < LEAK_LENGTH)
        return false;
    for (const char *at = key; strlen(at) >= LEAK_LENGTH; at++) {
        char piece[LEAK_LENGTH + 1];
        memcpy(piece, at, LEAK_LENGTH);
        piece[LEAK_LENGTH] = '\0';
        if (strstr(message, piece))
            return true;
    }
    return false;
}
