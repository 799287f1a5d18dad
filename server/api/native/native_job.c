/* native_job.c: see native_job.h. The fields are parsed straight into struct job_params, where
 * strings first point into the JSON and are copied once all is parsed. */
#include "server/api/native/native_job.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/worker/codec.h"

_Static_assert(JOB_UNSET == JSON_FIELD_NO_INT, "steps that are not given are not set");

struct request {
    struct job_params p;
    struct json_whole seed, subseed;
    int priority;
    const char *fit, *fill, *format, *init_image, *mask;
};

static const char *const fit_words[] = {"stretch", "crop", "pad", NULL};
static const char *const fill_words[] = {"blur", "original", "noise", "nothing", NULL};

#define AT(member) .offset = offsetof(struct request, member)
#define PARAM(member) #member, .offset = offsetof(struct request, p.member)

/* Ranges are job_params_check's matter. */
static const struct json_field fields[] = {
    {PARAM(prompt), .type = JSON_FIELD_STRING, .required = true},
    {PARAM(negative_prompt), .type = JSON_FIELD_STRING, .text = ""},
    {PARAM(model), .type = JSON_FIELD_STRING},
    {PARAM(width), .type = JSON_FIELD_INT, .number = JSON_FIELD_NO_INT},
    {PARAM(height), .type = JSON_FIELD_INT, .number = JSON_FIELD_NO_INT},
    {PARAM(steps), .type = JSON_FIELD_INT, .number = JSON_FIELD_NO_INT},
    {PARAM(guidance), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {PARAM(sampler), .type = JSON_FIELD_STRING},
    {PARAM(scheduler), .type = JSON_FIELD_STRING},
    {PARAM(eta), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {PARAM(rng), .type = JSON_FIELD_STRING},
    {PARAM(clip_skip), .type = JSON_FIELD_INT, .number = 1},
    {"seed", .type = JSON_FIELD_WHOLE, AT(seed), .number = -1, .least = -1},
    {"subseed", .type = JSON_FIELD_WHOLE, AT(subseed), .number = -1, .least = -1},
    {PARAM(subseed_strength), .type = JSON_FIELD_DOUBLE},
    {PARAM(count), .type = JSON_FIELD_INT, .number = 1},
    {PARAM(strength), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {"fit", .type = JSON_FIELD_STRING, AT(fit), .text = "stretch", .words = fit_words},
    {"fill", .type = JSON_FIELD_STRING, AT(fill), .text = "original", .words = fill_words},
    {PARAM(mask_blur), .type = JSON_FIELD_DOUBLE, .number = 4},
    {PARAM(mask_invert), .type = JSON_FIELD_BOOL},
    {PARAM(mask_only_area), .type = JSON_FIELD_BOOL},
    {PARAM(mask_padding), .type = JSON_FIELD_INT, .number = 32},
    {PARAM(hires_width), .type = JSON_FIELD_INT},
    {PARAM(hires_height), .type = JSON_FIELD_INT},
    {PARAM(hires_steps), .type = JSON_FIELD_INT},
    {PARAM(hires_strength), .type = JSON_FIELD_DOUBLE, .number = 0.7},
    {PARAM(hires_upscaler), .type = JSON_FIELD_STRING},
    {PARAM(guidance_low), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {PARAM(guidance_high), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {PARAM(guidance_alternate), .type = JSON_FIELD_BOOL},
    {PARAM(reuse_every), .type = JSON_FIELD_INT, .number = JSON_FIELD_NO_INT},
    {PARAM(token_merging), .type = JSON_FIELD_DOUBLE, .number = NAN},
    {"format", .type = JSON_FIELD_STRING, AT(format), .text = "png", .words = image_formats},
    {PARAM(quality), .type = JSON_FIELD_INT, .number = 90},
    {PARAM(preview_every), .type = JSON_FIELD_INT},
    {PARAM(tag), .type = JSON_FIELD_STRING},
    {"priority", .type = JSON_FIELD_INT, AT(priority), .least = -100, .most = 100},
    {"init_image", .type = JSON_FIELD_STRING, AT(init_image)},
    {"mask", .type = JSON_FIELD_STRING, AT(mask)},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static int index_of(const char *const *words, const char *word)
{
    int i = 0;
    while (strcmp(words[i], word) != 0)
        i++;
    return i;
}

/* Copies the strings of `r->p`, which point into the JSON. On failure those not copied are NULL. */
static bool own_strings(struct request *r)
{
    bool ok = true;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        bool in_params = fields[i].offset < offsetof(struct request, seed);
        if (fields[i].type != JSON_FIELD_STRING || !in_params)
            continue;
        char **text = (char **)((char *)r + fields[i].offset);
        if (*text && !(*text = strdup(*text)))
            ok = false;
    }
    r->p.dialect = strdup("native");
    return ok && r->p.dialect;
}

static bool read_picture(const struct app *app, const char *name, const char *text, uint8_t **data,
                         size_t *size, char param[64], struct err *err)
{
    struct pictor_image image;
    if (!text)
        return true;
    snprintf(param, 64, "%s", name);
    if (!base64_decode(text, strlen(text), data, size, err) ||
        !codec_decode(app->codec, *data, *size, intake_pixels_max(app->settings), &image, err))
        return err_prefix(err, "%s", name);
    pictor_image_free(&image);
    param[0] = '\0';
    return true;
}

static bool complete(const struct app *app, struct request *r, char param[64], struct err *err)
{
    struct job_params *p = &r->p;
    struct intake_model model;
    if (!intake_model(app->registry, p->model, &model, err)) {
        snprintf(param, 64, "model");
        return false;
    }
    free(p->model);
    p->model = strdup(model.name);
    if (p->width == JSON_FIELD_NO_INT)
        p->width = model.width;
    if (p->height == JSON_FIELD_NO_INT)
        p->height = model.height;
    p->fit = index_of(fit_words, r->fit);
    p->fill = index_of(fill_words, r->fill);
    p->format = image_format_of(r->format);
    p->seed = r->seed.magnitude;
    p->subseed = r->subseed.magnitude;
    if ((r->seed.negative && !intake_seed(&p->seed, err)) ||
        (r->subseed.negative && !intake_seed(&p->subseed, err)))
        return false;
    if (!p->model)
        return err_set(err, ERR_INTERNAL, "no memory for a job");
    const char *blamed = NULL;
    if (intake_complete(&model, app->settings, p, &blamed, err))
        return true;
    snprintf(param, 64, "%s", blamed ? blamed : "");
    return false;
}

bool native_job_read(const struct app *app, struct cJSON *body, struct native_job *out,
                     char param[64], struct err *err)
{
    struct json_problem problem;
    struct request r = {0};
    *out = (struct native_job){0};
    param[0] = '\0';
    if (!json_fields_parse(fields, FIELD_COUNT, body, JSON_FIELDS_STRICT, &r, &problem)) {
        snprintf(param, 64, "%s", problem.name);
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    r.p.has_init = r.init_image != NULL;
    r.p.has_mask = r.mask != NULL;
    bool ok = own_strings(&r) || err_set(err, ERR_INTERNAL, "no memory for a job");
    ok = ok && complete(app, &r, param, err);
    out->params = r.p;
    out->priority = r.priority;
    ok = ok &&
         read_picture(app, "init_image", r.init_image, &out->init.data, &out->init.size, param,
                      err) &&
         read_picture(app, "mask", r.mask, &out->mask.data, &out->mask.size, param, err);
    if (!ok)
        native_job_free(out);
    return ok;
}

void native_job_free(struct native_job *job)
{
    job_params_free(&job->params);
    free(job->init.data);
    free(job->mask.data);
    *job = (struct native_job){0};
}

/* ---- to JSON ---- */

static void add_time(cJSON *json, const char *name, int64_t ms)
{
    if (ms > 0)
        cJSON_AddNumberToObject(json, name, (double)ms);
    else
        cJSON_AddNullToObject(json, name);
}

struct cJSON *native_job_image_to_json(const struct job_image *image)
{
    char url[64];
    cJSON *json = cJSON_CreateObject();
    snprintf(url, sizeof url, "/api/images/%s", image->id);
    cJSON_AddStringToObject(json, "id", image->id);
    cJSON_AddNumberToObject(json, "index", image->index);
    cJSON_AddStringToObject(json, "url", url);
    cJSON_AddNumberToObject(json, "width", image->width);
    cJSON_AddNumberToObject(json, "height", image->height);
    cJSON_AddItemToObject(json, "seed", json_number_item(image->seed));
    cJSON_AddItemToObject(json, "subseed", json_number_item(image->subseed));
    cJSON_AddStringToObject(json, "format", image_formats[image->format]);
    cJSON_AddNumberToObject(json, "bytes", (double)image->bytes);
    cJSON_AddStringToObject(json, "infotext", image->infotext ? image->infotext : "");
    return json;
}

struct cJSON *native_job_to_json(const struct job *job)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", job->id);
    cJSON_AddStringToObject(json, "state", job_state_name(job->state));
    cJSON_AddNumberToObject(json, "position", job->position);
    cJSON_AddNumberToObject(json, "priority", job->priority);
    cJSON_AddNumberToObject(json, "attempts", job->attempts);
    add_time(json, "created_at", job->created_ms);
    add_time(json, "started_at", job->started_ms);
    add_time(json, "finished_at", job->finished_ms);
    cJSON_AddItemToObject(json, "params", job_params_to_json(&job->params));

    cJSON *progress = cJSON_AddObjectToObject(json, "progress");
    cJSON_AddNumberToObject(progress, "image", job->progress.image);
    cJSON_AddNumberToObject(progress, "step", job->progress.step);
    cJSON_AddNumberToObject(progress, "steps", job->progress.steps);
    if (job->progress.eta_seconds >= 0)
        cJSON_AddNumberToObject(progress, "eta_seconds", job->progress.eta_seconds);
    else
        cJSON_AddNullToObject(progress, "eta_seconds");

    cJSON *images = cJSON_AddArrayToObject(json, "images");
    for (size_t i = 0; i < job->image_count; i++)
        cJSON_AddItemToArray(images, native_job_image_to_json(&job->images[i]));
    if (job->state == JOB_FAILED) {
        cJSON *error = cJSON_AddObjectToObject(json, "error");
        cJSON_AddStringToObject(error, "code", err_name(job->error));
        cJSON_AddStringToObject(error, "message", job->error_message);
        cJSON *refusal = refusal_to_json(&job->refusal);
        if (refusal)
            cJSON_AddItemToObject(error, "upstream", refusal);
    } else {
        cJSON_AddNullToObject(json, "error");
    }
    return json;
}
