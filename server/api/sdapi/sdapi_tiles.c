#include "server/api/sdapi/sdapi_tiles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/api/app.h"
#include "server/api/enlarge.h"
#include "server/api/sdapi/sdapi_args.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/files.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/worker/codec.h"

#define SCALE_MAX 8

struct tiling {
    struct sdapi_series *s;
    struct job_params params;
    struct files *files;
    struct enlarge_way way; /* without a name: the picture as it is */
    double scale;
    int overlap, n_iter, batch_size;
    struct err err;
};

static void tiling_free(void *ctx)
{
    struct tiling *t = ctx;
    sdapi_series_free(t->s);
    job_params_free(&t->params);
    free(t);
}

/* ---- args ---- */

/* The name behind a number in the list of upscalers: None, what the engine knows, the files. */
static bool name_at(struct files *files, int index, char name[UPSCALERS_NAME], struct err *err)
{
    struct registry_table table;
    const char *known;
    int at = 1;
    *name = '\0';
    if (index == 0)
        return true;
    for (int i = 0; (known = upscalers_known(i)); i++)
        if (strncmp(known, "Latent", 6) != 0 && at++ == index) {
            snprintf(name, UPSCALERS_NAME, "%s", known);
            return true;
        }
    if (!files_list(files, &table, err))
        return false;
    for (size_t i = 0; i < table.count && !*name; i++)
        if (table.entries[i].same == i && at++ == index)
            snprintf(name, UPSCALERS_NAME, "%s", table.entries[i].model.name);
    registry_scan_free(&table);
    return *name || err_set(err, ERR_INVALID, "script_args[2]: there is no upscaler %d", index);
}

static bool upscaler_at(struct tiling *t, const cJSON *arg, struct err *err)
{
    char name[UPSCALERS_NAME] = "";
    if (cJSON_IsString(arg))
        snprintf(name, sizeof name, "%s", arg->valuestring);
    else if (cJSON_IsNumber(arg) && !name_at(t->files, arg->valueint, name, err))
        return false;
    if (!*name || strcasecmp(name, "None") == 0)
        return true;
    return enlarge_find(t->files, name, &t->way, err) || err_prefix(err, "script_args[2]");
}

/* ---- enlarging and cutting ---- */

static int target(int side, double scale)
{
    int larger = (int)(side * scale) / 8 * 8;
    return larger > 8 ? larger : 8;
}

/* True: not now, to be tried again. */
static bool enlarge(struct tiling *t, struct pictor_image *image, const atomic_bool *gone)
{
    int width = target(image->width, t->scale), height = target(image->height, t->scale);
    struct pictor_image larger = {0};
    bool again = false;
    if ((size_t)width * (size_t)height > intake_pixels_max(t->s->app->settings)) {
        err_set(&t->err, ERR_TOO_LARGE, "the picture would have %d x %d pixels, wanted at most %zu",
                width, height, intake_pixels_max(t->s->app->settings));
        return false;
    }
    if (!*t->way.name)
        return false;
    if (!enlarge_run(t->s->app->codec, t->files, &t->way, image, width, height, gone, &larger,
                     &again, &t->err)) {
        if (again)
            t->err.code = ERR_NONE;
        return again;
    }
    pictor_image_free(image);
    *image = larger;
    return false;
}

static bool cut(struct tiling *t, const struct pictor_image *image)
{
    struct sdapi_series *s = t->s;
    struct pictor_image rgb = {0};
    int count;
    bool ok = image_tiles_plan(image->width, image->height, t->params.width, t->params.height,
                               t->overlap, &s->tiles, &t->err);
    count = ok ? s->tiles.columns * s->tiles.rows : 0;
    if (ok && (long long)count * t->n_iter > SDAPI_SERIES_RUNS)
        ok = err_set(&t->err, ERR_INVALID, "this would be %lld tiles, wanted at most %d",
                     (long long)count * t->n_iter, SDAPI_SERIES_RUNS);
    ok = ok && image_convert(image, 3, &rgb, &t->err);
    free(s->inits[0].data);
    s->inits[0] = (struct sdapi_file){0};
    for (int i = 0; ok && i < count; i++) {
        struct pictor_image tile = {0};
        struct image_file file = {0};
        ok = image_tiles_cut(&s->tiles, i, &rgb, &tile, &t->err) &&
             codec_encode(s->app->codec, &tile, IMAGE_PNG, 0, NULL, &file, &t->err);
        pictor_image_free(&tile);
        s->inits[i] = (struct sdapi_file){file.data, file.size};
    }
    pictor_image_free(&rgb);
    for (int i = 0; ok && i < count * t->n_iter; i++) {
        struct job_params one;
        int tile = i % count;
        ok = job_params_copy(&t->params, &one, &t->err);
        if (!ok)
            break;
        one.count = 1;
        one.seed =
            t->params.seed + (uint64_t)(i / count + tile / t->batch_size + tile % t->batch_size);
        ok = sdapi_series_add(s, &one, tile, &t->err);
        job_params_free(&one);
    }
    return ok;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct tiling *t = ctx;
    struct pictor_image image = {0};
    if (*t->way.name && enlarge_waits(t->s->app->codec, &t->way, gone))
        return true;
    t->err.code = ERR_NONE;
    bool ok = codec_decode(t->s->app->codec, t->s->inits[0].data, t->s->inits[0].size,
                           intake_pixels_max(t->s->app->settings), &image, &t->err);
    bool again = ok && enlarge(t, &image, gone);
    if (ok && !again && t->err.code == ERR_NONE)
        cut(t, &image);
    pictor_image_free(&image);
    return again;
}

static void begin(struct http_request *req, void *ctx)
{
    struct tiling *t = ctx;
    if (t->err.code != ERR_NONE) {
        sdapi_reply_err(req, &t->err, "script_args");
        return;
    }
    struct sdapi_series *s = t->s;
    t->s = NULL;
    sdapi_series_start(req, s);
}

void sdapi_tiles_start(struct http_request *req, const struct sdapi_request *r,
                       struct job_params *params, struct sdapi_series *s)
{
    double overlap = 64, scale = 2;
    struct err err;
    struct sdapi_fault fault;
    struct tiling *t = calloc(1, sizeof *t);
    if (!t) {
        sdapi_reply_crash(req, "MemoryError", "out of memory");
        sdapi_series_free(s);
        return;
    }
    *t = (struct tiling){.s = s,
                         .files = registry_files(s->app->registry, FOLDERS_UPSCALER),
                         .n_iter = r->n_iter,
                         .batch_size = r->batch_size};
    bool ok = (sdapi_args_number(r, 1, "the tiles' overlap", 0, 4096, &overlap, &fault) &&
               sdapi_args_number(r, 3, "the scale", 1, SCALE_MAX, &scale, &fault)) ||
              err_set(&err, ERR_INVALID, "%s", fault.message);
    ok = ok && upscaler_at(t, cJSON_GetArrayItem(r->script_args, 2), &err) &&
              (!params->has_mask ||
               err_set(&err, ERR_INVALID, "SD upscale paints over all of a picture, got a mask"));
    if (!ok) {
        sdapi_reply_err(req, &err, "script_args");
        tiling_free(t);
        return;
    }
    t->overlap = (int)overlap;
    t->scale = scale;
    t->params = *params;
    *params = (struct job_params){0};
    s->sheet = SDAPI_SHEET_TILES;
    s->send_painted = false;
    s->send_sheets = true;
    http_work(req, work, begin, t, tiling_free);
}
