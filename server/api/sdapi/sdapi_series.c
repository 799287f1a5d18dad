#include "server/api/sdapi/sdapi_series.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/io/image_mark.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/api/job_wait.h"
#include "server/base/base64.h"
#include "server/base/settings.h"
#include "server/base/small_file.h"
#include "server/http/http.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/job/vaes.h"
#include "server/job/variants.h"
#include "server/queue/queue.h"
#include "server/queue/queue_submit.h"
#include "server/worker/codec.h"

#define PICTURE_BYTES ((size_t)1 << 30)

struct sdapi_series *sdapi_series_new(struct http_request *req)
{
    struct sdapi_series *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->app = http_app(req);
    snprintf(s->key_id, sizeof s->key_id, "%s", http_key_id(req));
    s->send_painted = true;
    s->columns = s->rows = s->deep = 1;
    s->sheets = cJSON_CreateArray();
    if (s->sheets)
        return s;
    free(s);
    return NULL;
}

void sdapi_series_free_labels(char **labels, int count)
{
    for (int i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

void sdapi_series_free(struct sdapi_series *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    for (size_t i = 0; i < s->run_count; i++)
        job_params_free(&s->runs[i].params);
    free(s->runs);
    for (size_t i = 0; i < SDAPI_SERIES_RUNS; i++)
        free(s->inits[i].data);
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        free(s->leading[i].data);
    free(s->mask.data);
    for (size_t i = 0; i < s->painted_count; i++) {
        free(s->images[i].infotext);
        free((char *)s->painted[i].prompt);
        free((char *)s->painted[i].negative);
    }
    int counts[] = {s->columns, s->rows, s->deep};
    for (int i = 0; i < 3; i++)
        sdapi_series_free_labels(s->labels[i], counts[i]);
    free(s->images);
    free(s->painted);
    cJSON_Delete(s->echo);
    cJSON_Delete(s->styles);
    cJSON_Delete(s->sheets);
    free(s->ignored);
    free(s->tags);
    free(s);
}

static void release(void *ctx)
{
    sdapi_series_free(ctx);
}

bool sdapi_series_add(struct sdapi_series *s, struct job_params *params, int init, struct err *err)
{
    if (s->run_count == SDAPI_SERIES_RUNS)
        return err_set(err, ERR_INVALID, "wanted at most %d pictures of one request",
                       SDAPI_SERIES_RUNS);
    struct sdapi_run *runs = realloc(s->runs, (s->run_count + 1) * sizeof *runs);
    if (!runs)
        return err_set(err, ERR_INTERNAL, "no memory for a request");
    s->runs = runs;
    runs[s->run_count++] = (struct sdapi_run){*params, init, false};
    *params = (struct job_params){0};
    return true;
}

/* ---- the answer ---- */

static cJSON *image_list(struct http_request *req, struct sdapi_series *s, struct err *err)
{
    cJSON *images = s->sheets;
    s->sheets = NULL;
    if (s->sheet != SDAPI_SHEET_NONE && !s->send_sheets)
        while (cJSON_GetArraySize(images) > 1)
            cJSON_DeleteItemFromArray(images, 1);
    for (size_t i = 0; s->send_painted && i < s->painted_count; i++) {
        const struct job_image *image = &s->images[i];
        char *path = queue_image_path(s->app->queue, image, err);
        cJSON *item = path ? http_reply_base64(req, path, image->bytes) : NULL;
        if (path && !item)
            err_set(err, ERR_INTERNAL, "no memory for pictures");
        if (!item || !cJSON_AddItemToArray(images, item)) {
            cJSON_Delete(images);
            return NULL;
        }
    }
    return images;
}

static char *info_of(const struct sdapi_series *s, int sheets)
{
    struct registry_model now;
    /* The hash of a file that nobody had used was not known when the request came. */
    bool known = registry_resolve(s->app->registry, s->model.name, &now, NULL);
    const struct sdapi_reply_model model = {.name = s->model.stem,
                                            .sha256 = known ? now.sha256 : s->model.sha256,
                                            .vae_sha256 = s->vae_sha256};
    const struct sdapi_reply_more more = {.sheets = sheets,
                                          .alone = sheets && !s->send_painted,
                                          .painted = s->run_count > 1 ? s->painted : NULL};
    const struct job job = {.params = s->runs[0].params,
                            .started_ms = s->started_ms,
                            .images = s->images,
                            .image_count = s->painted_count};
    return sdapi_reply_info(&job, s->batch_size, s->styles, s->ignored, &model, &more);
}

static void reply(struct http_request *req, void *ctx)
{
    struct sdapi_series *s = ctx;
    struct err err = {.code = ERR_INTERNAL, .msg = "no memory for the answer"};
    if (s->err.code != ERR_NONE) {
        sdapi_reply_err(req, &s->err, NULL);
        return;
    }
    int sheets = cJSON_GetArraySize(s->sheets);
    if (s->sheet != SDAPI_SHEET_NONE && !s->send_sheets && sheets > 1)
        sheets = 1;
    char *info = info_of(s, sheets);
    cJSON *images = s->send_images ? image_list(req, s, &err) : cJSON_CreateArray();
    cJSON *body = info && images ? cJSON_CreateObject() : NULL;
    if (!body) {
        cJSON_Delete(images);
        free(info);
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON_AddItemToObject(body, "images", images);
    cJSON_AddItemToObject(body, "parameters", s->echo);
    s->echo = NULL;
    cJSON_AddStringToObject(body, "info", info);
    free(info);
    sdapi_reply_json(req, body);
}

/* What an upstream said, as it said it. */
static void reply_refusal(struct http_request *req, const struct job *job)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", job->refusal.retry_after);
    if (job->refusal.retry_after >= 0)
        http_reply_header(req, "Retry-After", seconds);
    sdapi_reply_exception(req, refusal_status(&job->refusal), job->error_message);
}

static void reply_failed(struct http_request *req, const struct job *job)
{
    struct err err = {.code = ERR_CANCELLED, .msg = "the job was cancelled"};
    if (job->state == JOB_FAILED && job->refusal.status) {
        reply_refusal(req, job);
        return;
    }
    if (job->state == JOB_FAILED) {
        err.code = job->error;
        snprintf(err.msg, sizeof err.msg, "%s", job->error_message);
    }
    sdapi_reply_err(req, &err, NULL);
}

/* ---- what is made of the pictures ---- */

static void *read_image(const struct sdapi_series *s, const struct job_image *image, size_t *size,
                        struct err *err)
{
    char *path = queue_image_path(s->app->queue, image, err);
    void *data = path ? small_file_read(path, PICTURE_BYTES, size, err) : NULL;
    free(path);
    return data;
}

static bool decode_painted(const struct sdapi_series *s, size_t i, struct pictor_image *out,
                           struct err *err)
{
    size_t size;
    void *data = read_image(s, &s->images[i], &size, err);
    bool ok = data && codec_decode(s->app->codec, data, size, intake_pixels_max(s->app->settings),
                                   out, err);
    free(data);
    return ok;
}

/* As the first picture was: its format, its text, its mark. */
static bool add_sheet(struct sdapi_series *s, const struct pictor_image *image, size_t like,
                      bool first)
{
    const struct settings *settings = s->app->settings;
    const struct job_params *p = &s->runs[0].params;
    struct image_text items[2];
    struct image_texts texts = {.items = items};
    struct image_file file = {0};
    const char *packet =
        image_mark_packet(p->has_init ? IMAGE_MARK_COMPOSITE : IMAGE_MARK_TRAINED);
    if (settings->write_infotext)
        items[texts.count++] = (struct image_text){(char *)"parameters", s->images[like].infotext};
    if (settings->mark_pictures)
        items[texts.count++] = (struct image_text){(char *)IMAGE_MARK_KEY, (char *)packet};
    char *text = codec_encode(s->app->codec, image, (enum image_format)p->format, p->quality,
                              &texts, &file, &s->err)
                     ? base64_encode(file.data, file.size)
                     : NULL;
    image_file_free(&file);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    free(text);
    if (item && (first ? cJSON_InsertItemInArray(s->sheets, 0, item)
                       : cJSON_AddItemToArray(s->sheets, item)))
        return true;
    cJSON_Delete(item);
    return s->err.code == ERR_NONE && err_set(&s->err, ERR_INTERNAL, "no memory for a grid");
}

static void free_images(struct pictor_image *images, size_t count)
{
    for (size_t i = 0; images && i < count; i++)
        pictor_image_free(&images[i]);
    free(images);
}

/* Pictures `from`.. of a sheet; those that were not painted any more are left out. */
static struct pictor_image *decode_range(struct sdapi_series *s, size_t from, size_t *count)
{
    size_t most = s->painted_count > from ? s->painted_count - from : 0;
    *count = *count < most ? *count : most;
    struct pictor_image *images = calloc(*count ? *count : 1, sizeof *images);
    bool ok = images || err_set(&s->err, ERR_INTERNAL, "no memory for a grid");
    for (size_t i = 0; ok && i < *count; i++)
        ok = decode_painted(s, from + i, &images[i], &s->err);
    if (ok)
        return images;
    free_images(images, *count);
    return NULL;
}

static bool label(struct sdapi_series *s, struct pictor_image *sheet, int deep)
{
    const struct image_labels labels = {s->labels[0], s->labels[1],
                                        s->labels[2] ? s->labels[2][deep] : NULL};
    if (!labels.across && !labels.down && !labels.title)
        return true;
    return image_grid_label(sheet, s->columns, s->rows, s->margin, &labels, &s->err);
}

/* The pictures from `from` on; those that were not painted any more are left out. One is decoded
 * at a time: a hundred of them may be a gigabyte. */
static bool make_grid(struct sdapi_series *s, size_t from, size_t most, struct pictor_image *out)
{
    size_t cells = (size_t)s->columns * (size_t)s->rows;
    size_t left = s->painted_count > from ? s->painted_count - from : 0;
    size_t count = cells < left ? cells : left;
    struct image_grid grid;
    int width = 1, height = 1;
    for (size_t i = 0; i < count; i++) {
        const struct job_image *image = &s->images[from + i];
        width = image->width > width ? image->width : width;
        height = image->height > height ? image->height : height;
    }
    bool ok = image_grid_new(width, height, s->columns, s->rows, s->margin, most, &grid, out,
                             &s->err);
    for (size_t i = 0; ok && i < count; i++) {
        struct pictor_image image = {0};
        ok = decode_painted(s, from + i, &image, &s->err) &&
             image_grid_put(&grid, (int)i, &image, out, &s->err);
        pictor_image_free(&image);
    }
    return ok;
}

static bool make_grids(struct sdapi_series *s)
{
    size_t most = intake_pixels_max(s->app->settings), cells = (size_t)s->columns * (size_t)s->rows;
    struct pictor_image *sheets = calloc((size_t)s->deep, sizeof *sheets), all = {0};
    bool ok = sheets || err_set(&s->err, ERR_INTERNAL, "no memory for a grid");
    for (int i = 0; ok && i < s->deep; i++) {
        ok = make_grid(s, (size_t)i * cells, most, &sheets[i]) && label(s, &sheets[i], i);
        size_t like = (size_t)i * cells;
        ok = ok && (!s->send_sheets ||
                    add_sheet(s, &sheets[i], like < s->painted_count ? like : 0, false));
    }
    ok = ok && image_grid(sheets, (size_t)s->deep, s->deep, 1, 0, most, &all, &s->err) &&
         add_sheet(s, &all, 0, true);
    pictor_image_free(&all);
    free_images(sheets, (size_t)s->deep);
    return ok;
}

/* Whoever painted it may have made it of another size. */
static bool fit_tile(const struct image_tiles *tiles, struct pictor_image *image, struct err *err)
{
    struct pictor_image rgb, sized;
    bool ok = image_convert(image, 3, &rgb, err);
    pictor_image_free(image);
    if (!ok)
        return false;
    *image = rgb;
    if (rgb.width == tiles->tile_width && rgb.height == tiles->tile_height)
        return true;
    ok = image_resize(image, tiles->tile_width, tiles->tile_height, IMAGE_BICUBIC, &sized, err);
    pictor_image_free(image);
    *image = ok ? sized : (struct pictor_image){0};
    return ok;
}

static bool join_tiles(struct sdapi_series *s)
{
    size_t tiles = (size_t)s->tiles.columns * (size_t)s->tiles.rows;
    bool ok = true;
    for (size_t from = 0; ok && from + tiles <= s->painted_count; from += tiles) {
        size_t count = tiles;
        struct pictor_image *images = decode_range(s, from, &count), whole = {0};
        ok = images;
        for (size_t i = 0; ok && i < count; i++)
            ok = fit_tile(&s->tiles, &images[i], &s->err);
        ok = ok && image_tiles_join(&s->tiles, images, &whole, &s->err) &&
             add_sheet(s, &whole, from, false);
        pictor_image_free(&whole);
        free_images(images, count);
    }
    return ok;
}

static bool names_vae(const struct sdapi_series *s)
{
    const char *vae = s->runs[0].params.vae;
    return vae && *vae && strcasecmp(vae, "none") != 0;
}

/* Of a file that nobody has hashed before, it takes a second. */
static void hash_vae(struct sdapi_series *s)
{
    struct registry *registry = s->app->registry;
    struct err err;
    const struct job_params *p = &s->runs[0].params;
    struct vaes_choice *choice = names_vae(s) ? malloc(sizeof *choice) : NULL;
    if (choice &&
        vaes_choose(registry_files(registry, FOLDERS_VAE), p->model, p->vae, choice, &err))
        registry_hash_file(registry, choice->path, s->vae_sha256);
    free(choice);
}

static bool make_sheets(void *ctx, const atomic_bool *gone)
{
    struct sdapi_series *s = ctx;
    s->err.code = ERR_NONE;
    hash_vae(s);
    if (s->sheet == SDAPI_SHEET_GRID)
        make_grids(s);
    else if (s->sheet == SDAPI_SHEET_TILES)
        join_tiles(s);
    return false;
}

static void finish(struct http_request *req, struct sdapi_series *s)
{
    if (s->sheet == SDAPI_SHEET_NONE || s->painted_count == 0 || !s->send_images) {
        s->sheet = SDAPI_SHEET_NONE;
        if (!names_vae(s)) {
            reply(req, s);
            return;
        }
    }
    atomic_fetch_add(&s->refs, 1);
    http_work_on(req, make_sheets, reply, s, release);
}

/* ---- the jobs ---- */

/* Room for `count` pictures in all. */
static bool make_room(struct sdapi_series *s, size_t count)
{
    struct job_image *images = realloc(s->images, (count + 1) * sizeof *images);
    if (images)
        s->images = images;
    struct sdapi_reply_painted *painted = realloc(s->painted, (count + 1) * sizeof *painted);
    if (painted)
        s->painted = painted;
    return images && painted;
}

static bool collect(struct sdapi_series *s, const struct job *job, struct err *err)
{
    struct variants variants;
    if (job->image_count) {
        s->last = job->images[job->image_count - 1];
        s->last.infotext = NULL;
    }
    if (s->runs[s->at].hidden)
        return true;
    if (!make_room(s, s->painted_count + job->image_count))
        return err_set(err, ERR_INTERNAL, "no memory for pictures");
    if (!variants_read(&job->params, &variants, err))
        return false;
    bool ok = true;
    for (size_t i = 0; i < job->image_count; i++) {
        struct job_params one;
        variants_view(&variants, (size_t)job->images[i].index, &job->params, &one);
        size_t at = s->painted_count++;
        s->images[at] = job->images[i];
        s->images[at].infotext = strdup(job->images[i].infotext ? job->images[i].infotext : "");
        s->painted[at] = (struct sdapi_reply_painted){
            strdup(one.prompt), strdup(one.negative_prompt ? one.negative_prompt : "")};
        ok = ok && s->images[at].infotext && s->painted[at].prompt && s->painted[at].negative;
    }
    variants_free(&variants);
    if (!s->started_ms)
        s->started_ms = job->started_ms ? job->started_ms : job->created_ms;
    return ok || err_set(err, ERR_INTERNAL, "no memory for pictures");
}

static void submit(struct http_request *req, struct sdapi_series *s);

static void on_final(struct http_request *req, const struct job *job, void *ctx)
{
    struct sdapi_series *s = ctx;
    struct err err;
    if (job->state != JOB_DONE) {
        reply_failed(req, job);
        return;
    }
    if (!collect(s, job, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    if (++s->at < s->run_count && !queue_was_interrupted(s->app->queue, job->id))
        submit(req, s);
    else
        finish(req, s);
}

/* The init picture of the run that is next; false: it cannot be read. */
static bool init_of(struct sdapi_series *s, struct sdapi_file *out, bool *owned, struct err *err)
{
    int init = s->runs[s->at].init;
    *owned = init == SDAPI_SERIES_LAST;
    *out = init >= 0 ? s->inits[init] : (struct sdapi_file){0};
    if (!*owned)
        return true;
    if (!*s->last.id)
        return err_set(err, ERR_CANCELLED, "there is no picture to go on from");
    out->data = read_image(s, &s->last, &out->size, err);
    return out->data;
}

static void submit(struct http_request *req, struct sdapi_series *s)
{
    struct job_input inputs[2 + CONTROLS_INPUTS] = {{0}};
    size_t count = 0;
    struct sdapi_file init;
    bool owned;
    struct err err;
    bool ok = init_of(s, &init, &owned, &err);
    if (ok && init.data)
        inputs[count++] = (struct job_input){"init", init.data, init.size};
    if (ok && s->mask.data && s->runs[s->at].params.has_mask)
        inputs[count++] = (struct job_input){"mask", s->mask.data, s->mask.size};
    for (size_t i = 0; ok && i < CONTROLS_INPUTS; i++)
        if (s->leading[i].data)
            inputs[count++] =
                (struct job_input){controls_input(i), s->leading[i].data, s->leading[i].size};
    struct queue_request r = {.params = &s->runs[s->at].params, .inputs = inputs,
                              .input_count = count, .tags = s->tags,
                              .request = http_request_id(req)};
    ok = ok && queue_submit_all(s->app->queue, s->key_id, true, &r, 1, NULL, NULL, &err);
    if (owned)
        free(init.data);
    if (!ok) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    atomic_fetch_add(&s->refs, 1);
    job_wait(req, r.id, false, on_final, s, release);
}

void sdapi_series_start(struct http_request *req, struct sdapi_series *s)
{
    submit(req, s);
    sdapi_series_free(s);
}
