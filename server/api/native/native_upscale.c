/* native_upscale.c: enlarging takes seconds to minutes, so it is http_work; the answer is the file.
 */
#include "server/api/native/native_upscale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/io/image_mark.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/enlarge.h"
#include "server/api/native/native_job.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/pyjson.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/queue/queue.h"
#include "server/queue/queue_add.h"
#include "server/worker/codec.h"

struct given {
    const char *image, *image_id, *upscaler, *keep;
    double scale;
    int width, height, format, quality;
};

#define AT(member) .offset = offsetof(struct given, member)

static const struct json_field fields[] = {
    {"image", .type = JSON_FIELD_STRING, AT(image)},
    {"image_id", .type = JSON_FIELD_STRING, AT(image_id)},
    {"upscaler", .type = JSON_FIELD_STRING, AT(upscaler), .text = PICTOR_UPSCALER},
    {"keep", .type = JSON_FIELD_STRING, AT(keep)},
    {"scale", .type = JSON_FIELD_DOUBLE, AT(scale), .number = NAN},
    {"width", .type = JSON_FIELD_INT, AT(width), .number = JSON_FIELD_NO_INT},
    {"height", .type = JSON_FIELD_INT, AT(height), .number = JSON_FIELD_NO_INT},
    {"format", .type = JSON_FIELD_WORD, AT(format), .words = image_formats},
    {"quality", .type = JSON_FIELD_INT, AT(quality), .most = 100, .number = 90},
};

struct cJSON *native_upscale_schema(const struct settings *settings)
{
    return json_fields_schema(fields, sizeof fields / sizeof *fields);
}

/* Without the request, which may be gone when it is done. */
struct upscale {
    const struct settings *settings;
    struct codec *codec;
    struct files *files;
    struct given g; /* its texts are gone, too */
    struct enlarge_way way;
    void *data;
    size_t size;
    struct image_file file; /* the result */
    struct queue *queue;
    char keep[JOB_ID_SIZE], key[JOB_ID_SIZE]; /* the job that it is kept with, and whose; "": any */
    struct job_image kept;                    /* the row; its id is "" until it is */
    const char *param;      /* which field is to blame for what is too large */
    struct err err;
};

static void upscale_free(void *ctx)
{
    struct upscale *u = ctx;
    free(u->data);
    image_file_free(&u->file);
    free(u->kept.infotext);
    free(u);
}

/* Of the result: times a scale, or a size, of which one side may follow from the other. */
static bool size_of(const struct upscale *u, const struct pictor_image *in, int *width, int *height,
                    struct err *err)
{
    const struct given *g = &u->g;
    const struct settings *s = u->settings;
    bool across = g->width != JSON_FIELD_NO_INT, down = g->height != JSON_FIELD_NO_INT;
    double scale = isnan(g->scale) ? 2 : g->scale;
    double w = across ? g->width : down ? round((double)in->width * g->height / in->height)
                                        : round(in->width * scale);
    double h = down ? g->height : across ? round((double)in->height * g->width / in->width)
                                         : round(in->height * scale);
    if (w < 1 || h < 1 || w > s->max_side || h > s->max_side || w * h > s->max_pixels)
        return err_set(err, ERR_TOO_LARGE,
                       "the result must be of 1 to %d pixels and %d on a side, got %.0fx%.0f",
                       s->max_pixels, s->max_side, w, h);
    *width = (int)w;
    *height = (int)h;
    return true;
}

/* The text of the picture that came, and how it was enlarged, as the SD WebUI says it. */
static bool encode(struct upscale *u, const struct pictor_image *image, double scale)
{
    struct image_texts kept = {0};
    struct image_text items[1 + IMAGE_MARK_KEPT];
    struct image_texts texts = {items, 0};
    struct pyjson said = {0};
    char number[PYJSON_FLOAT_SIZE];
    struct err ignored;
    pyjson_printf(&said, "Postprocess upscale by: %s, Postprocess upscaler: %s",
                  pyjson_float(number, round(scale * 1000) / 1000), u->way.name);
    if (said.text && !said.failed)
        items[texts.count++] = (struct image_text){"postprocessing", said.text};
    if (codec_texts(u->codec, u->data, u->size, &kept, &ignored))
        texts.count += image_mark_keep(&kept, items + texts.count);
    bool done = codec_encode(u->codec, image, (enum image_format)u->g.format, u->g.quality, &texts,
                             &u->file, &u->err);
    image_texts_free(&kept);
    free(said.text);
    return done;
}

/* With the job whose picture it was made of. */
static bool keep(struct upscale *u, int width, int height, double scale)
{
    struct pyjson text = {0};
    char number[PYJSON_FLOAT_SIZE];
    const char *said = u->kept.infotext ? u->kept.infotext : "";
    pyjson_printf(&text, "%s%sPostprocess upscale by: %s, Postprocess upscaler: %s", said,
                  *said ? ", " : "", pyjson_float(number, round(scale * 1000) / 1000), u->way.name);
    if (!text.text || text.failed) {
        free(text.text);
        return err_set(&u->err, ERR_INTERNAL, "no memory for a picture");
    }
    free(u->kept.infotext);
    u->kept.infotext = text.text;
    u->kept.width = width;
    u->kept.height = height;
    u->kept.format = (enum image_format)u->g.format;
    if (queue_add_image(u->queue, u->keep, *u->key ? u->key : NULL, &u->kept, u->file.data,
                        u->file.size, &u->err))
        return true;
    u->kept.id[0] = '\0';
    image_file_free(&u->file);
    u->file = (struct image_file){0};
    return false;
}

/* Whether to come again: the one network at work is another request's. */
static bool work(void *ctx, const atomic_bool *gone)
{
    struct upscale *u = ctx;
    struct pictor_image image = {0}, rgb = {0}, larger = {0};
    bool again = false;
    int width = 0, height = 0;
    if (enlarge_waits(u->codec, &u->way, gone))
        return true;
    u->err.code = ERR_NONE;
    if (codec_decode(u->codec, u->data, u->size, intake_pixels_max(u->settings), &image, &u->err) &&
        (u->param = "scale") && size_of(u, &image, &width, &height, &u->err) &&
        image_convert(&image, 3, &rgb, &u->err) &&
        enlarge_run(u->codec, u->files, &u->way, &rgb, width, height, gone, &larger, &again,
                    &u->err) &&
        encode(u, &larger, (double)width / image.width) && *u->keep)
        keep(u, width, height, (double)width / image.width);
    pictor_image_free(&image);
    pictor_image_free(&rgb);
    pictor_image_free(&larger);
    return again && !atomic_load(gone);
}

static void reply(struct http_request *req, void *ctx)
{
    struct upscale *u = ctx;
    if (!u->file.data) {
        if (u->err.code == ERR_NONE)
            err_set(&u->err, ERR_INTERNAL, "no memory for a picture");
        http_reply_error(req, &u->err, u->err.code == ERR_TOO_LARGE ? u->param : NULL);
        return;
    }
    if (*u->kept.id) {
        struct job unmarked = {0};
        http_reply_json(req, 201, native_job_image_of(&unmarked, &u->kept));
        return;
    }
    http_reply_header(req, "Cache-Control", "no-store");
    http_reply_data(req, 200, image_mime((enum image_format)u->g.format), u->file.data,
                    u->file.size, free);
    u->file = (struct image_file){0};
}

/* A finished picture's file. */
static bool read_stored(struct http_request *req, const char *id, struct upscale *u,
                        struct err *err)
{
    struct job_image image = {0};
    struct queue *queue = http_app(req)->queue;
    bool found = queue_image(queue, id, http_visible_key(req), &image, err);
    int fd = found ? queue_image_open(queue, &image, err) : -1;
    u->kept = (struct job_image){.seed = image.seed, .subseed = image.subseed,
                                 .infotext = image.infotext};
    if (fd < 0)
        return false;
    u->size = image.bytes;
    u->data = malloc(u->size + 1);
    size_t got = 0;
    ssize_t n = 1;
    while (u->data && got < u->size && (n = read(fd, (char *)u->data + got, u->size - got)) > 0)
        got += (size_t)n;
    close(fd);
    return (u->data && got == u->size) ||
           err_set(err, ERR_IO, "the picture %.40s could not be read", id);
}

static bool read_given(struct http_request *req, cJSON *body, struct upscale *u, const char **param,
                       struct err *err)
{
    struct json_problem problem;
    struct given *g = &u->g;
    if (!json_fields_parse(fields, sizeof fields / sizeof *fields, body, JSON_FIELDS_STRICT, g,
                           &problem)) {
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            if (problem.field == &fields[i])
                *param = fields[i].name;
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    *param = "scale";
    bool sized = g->width != JSON_FIELD_NO_INT || g->height != JSON_FIELD_NO_INT;
    if (!isnan(g->scale) && sized)
        return err_set(err, ERR_INVALID, "wanted a scale or a width and height, got both");
    if (!isnan(g->scale) && !(g->scale > 0))
        return err_set(err, ERR_INVALID, "scale must be above 0, got %g", g->scale);
    *param = "upscaler";
    if (!enlarge_find(u->files, g->upscaler, &u->way, err))
        return false;
    *param = "image";
    if (!g->image == !g->image_id)
        return err_set(err, ERR_INVALID, "wanted image or image_id, got %s",
                       g->image ? "both" : "neither");
    if (g->image) {
        uint8_t *data = NULL;
        bool read = base64_decode(g->image, strlen(g->image), &data, &u->size, err);
        u->data = data;
        return read;
    }
    *param = "image_id";
    return read_stored(req, g->image_id, u, err);
}

/* The job has to be one that the picture is of. */
static bool read_keep(struct http_request *req, struct upscale *u, const char **param,
                      struct err *err)
{
    const struct given *g = &u->g;
    struct job job;
    bool of_it = false;
    if (!g->keep || !*g->keep)
        return true;
    *param = "keep";
    if (!g->image_id)
        return err_set(err, ERR_INVALID, "keep is for a picture of a job: image_id is missing");
    if (!queue_get(u->queue, g->keep, http_visible_key(req), &job, err))
        return false;
    for (size_t i = 0; i < job.image_count; i++)
        of_it = of_it || strcmp(job.images[i].id, g->image_id) == 0;
    bool done = of_it && job.state == JOB_DONE;
    if (!of_it)
        err_set(err, ERR_INVALID, "keep must be the job of the picture %.40s", g->image_id);
    else if (!done)
        err_set(err, ERR_INVALID, "the job is %s, not done", job_state_name(job.state));
    if (done) {
        snprintf(u->keep, sizeof u->keep, "%s", job.id);
        snprintf(u->key, sizeof u->key, "%s", http_visible_key(req) ? http_visible_key(req) : "");
    }
    job_free(&job);
    return done;
}

void native_upscale(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct err err;
    const char *param = NULL;
    struct upscale *u = calloc(1, sizeof *u);
    cJSON *body = http_json(req, &err);
    if (body && !u)
        err_set(&err, ERR_INTERNAL, "no memory for a request");
    if (u)
        *u = (struct upscale){.settings = app->settings,
                              .codec = app->codec,
                              .queue = app->queue,
                              .files = registry_files(app->registry, FOLDERS_UPSCALER)};
    if (body && u && read_given(req, body, u, &param, &err) && read_keep(req, u, &param, &err)) {
        u->param = param; /* the picture's */
        http_work(req, work, reply, u, upscale_free);
    } else {
        http_reply_error(req, &err, param);
        if (u)
            upscale_free(u);
    }
    cJSON_Delete(body);
}
