/* sdapi_reply.c: errors, the echoed parameters and the info text. */
#include "server/api/sdapi/sdapi_reply.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/json_fields.h"
#include "server/base/now.h"
#include "server/base/pyjson.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/infotext.h"
#include "server/job/job.h"
#include "server/job/variants.h"

/* ---- errors ---- */

static cJSON *fault(const char *name, const char *msg, const char *type, cJSON *ctx)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "detail");
    cJSON *item = cJSON_CreateObject();
    cJSON *loc = cJSON_AddArrayToObject(item, "loc");
    cJSON_AddItemToArray(loc, cJSON_CreateString("body"));
    if (name)
        cJSON_AddItemToArray(loc, cJSON_CreateString(name));
    cJSON_AddStringToObject(item, "msg", msg);
    cJSON_AddStringToObject(item, "type", type);
    if (ctx)
        cJSON_AddItemToObject(item, "ctx", ctx);
    if (!cJSON_AddItemToArray(list, item)) {
        cJSON_Delete(item);
        cJSON_Delete(body);
        return NULL;
    }
    char message[512];
    snprintf(message, sizeof message, "%s%s%s", name ? name : "", name ? ": " : "", msg);
    cJSON_AddStringToObject(body, "message", message);
    return body;
}

struct cJSON *sdapi_reply_fault(const char *name, const char *msg, const char *type)
{
    return fault(name, msg, type, NULL);
}

static cJSON *wrong_type(const struct json_field *field)
{
    switch (field->type) {
    case JSON_FIELD_STRING:
    case JSON_FIELD_WORD:
        return sdapi_reply_fault(field->name, "str type expected", "type_error.str");
    case JSON_FIELD_INT:
    case JSON_FIELD_WHOLE:
        return sdapi_reply_fault(field->name, "value is not a valid integer", "type_error.integer");
    case JSON_FIELD_DOUBLE:
        return sdapi_reply_fault(field->name, "value is not a valid float", "type_error.float");
    case JSON_FIELD_BOOL:
        return sdapi_reply_fault(field->name, "value could not be parsed to a boolean",
                                 "type_error.bool");
    case JSON_FIELD_RAW:
        break;
    }
    return sdapi_reply_fault(field->name, "value is not valid", "type_error");
}

static cJSON *out_of_range(const struct json_problem *problem)
{
    const struct json_field *field = problem->field;
    bool low = problem->fault == JSON_FAULT_TOO_SMALL;
    if (field->least == 0 && field->most == 0) /* only the C type was too narrow */
        return sdapi_reply_fault(field->name, problem->message, "value_error.number");
    char msg[96], limit[PYJSON_FLOAT_SIZE];
    snprintf(limit, sizeof limit, "%.16g", low ? field->least : field->most);
    snprintf(msg, sizeof msg, "ensure this value is %s than or equal to %s",
             low ? "greater" : "less", limit);
    cJSON *ctx = cJSON_CreateObject();
    cJSON_AddNumberToObject(ctx, "limit_value", low ? field->least : field->most);
    return fault(field->name, msg, low ? "value_error.number.not_ge" : "value_error.number.not_le",
                 ctx);
}

struct cJSON *sdapi_reply_problem(const struct json_problem *problem)
{
    switch (problem->fault) {
    case JSON_FAULT_NOT_OBJECT:
        return sdapi_reply_fault(NULL, "value is not a valid dict", "type_error.dict");
    case JSON_FAULT_MISSING:
        return sdapi_reply_fault(problem->name, "field required", "value_error.missing");
    case JSON_FAULT_TYPE:
        return wrong_type(problem->field);
    case JSON_FAULT_TOO_SMALL:
    case JSON_FAULT_TOO_LARGE:
        return out_of_range(problem);
    case JSON_FAULT_WORD:
    case JSON_FAULT_TOO_SHORT:
    case JSON_FAULT_TOO_LONG:
    case JSON_FAULT_UNKNOWN:
        return sdapi_reply_fault(problem->name, problem->message, "value_error");
    case JSON_FAULT_MEMORY:
    case JSON_FAULT_NONE:
        break;
    }
    return NULL;
}

void sdapi_reply_unprocessable(struct http_request *req, struct cJSON *detail)
{
    if (detail)
        http_reply_json(req, 422, detail);
    else
        sdapi_reply_crash(req, "MemoryError", "out of memory");
}

static void exception(struct http_request *req, int status, const char *kind, const char *detail,
                      const char *errors)
{
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "error", kind);
    cJSON_AddStringToObject(body, "detail", detail);
    cJSON_AddStringToObject(body, "body", "");
    cJSON_AddStringToObject(body, "errors", errors);
    cJSON_AddStringToObject(body, "message", *detail ? detail : errors);
    http_reply_json(req, status, body);
}

void sdapi_reply_exception(struct http_request *req, int status, const char *detail)
{
    exception(req, status, "HTTPException", detail, "");
}

void sdapi_reply_crash(struct http_request *req, const char *kind, const char *message)
{
    exception(req, 500, kind, "", message);
}

void sdapi_reply_err(struct http_request *req, const struct err *err, const char *param)
{
    bool ours =
        err->code == ERR_INVALID || err->code == ERR_TOO_LARGE || err->code == ERR_UNSUPPORTED;
    int status = ours ? 422 : http_error_status(err->code);
    if (ours && param) {
        sdapi_reply_unprocessable(req, sdapi_reply_fault(param, err->msg, "value_error"));
        return;
    }
    if (status >= 500)
        log_err(LOG_ERROR, "http_error", err, " ");
    sdapi_reply_exception(req, status, err->msg);
}

/* ---- answers ---- */

static void add_process_time(struct http_request *req)
{
    int64_t ms = now_unix_ms() - http_started_ms(req);
    char seconds[PYJSON_FLOAT_SIZE];
    snprintf(seconds, sizeof seconds, "%.3f", ms > 0 ? (double)ms / 1000 : 0.0);
    http_reply_header(req, "X-Process-Time", seconds);
}

void sdapi_reply_json(struct http_request *req, struct cJSON *json)
{
    if (!json) {
        sdapi_reply_crash(req, "MemoryError", "out of memory");
        return;
    }
    add_process_time(req);
    http_reply_json(req, 200, json);
}

void sdapi_reply_null(struct http_request *req)
{
    sdapi_reply_json(req, cJSON_CreateNull());
}

struct cJSON *sdapi_reply_body(struct http_request *req)
{
    size_t size;
    http_body(req, &size);
    struct err err = {0};
    cJSON *body = size ? http_json(req, &err) : cJSON_CreateNull();
    if (cJSON_IsObject(body))
        return body;
    if (cJSON_IsArray(body) && !body->child) {
        cJSON_Delete(body);
        return cJSON_CreateObject();
    }
    if (!body)
        sdapi_reply_unprocessable(req, sdapi_reply_fault(NULL, err.msg, "value_error.jsondecode"));
    else if (cJSON_IsNull(body))
        sdapi_reply_unprocessable(req,
                                  sdapi_reply_fault(NULL, "field required", "value_error.missing"));
    else
        sdapi_reply_unprocessable(
            req, sdapi_reply_fault(NULL, "value is not a valid dict", "type_error.dict"));
    cJSON_Delete(body);
    return NULL;
}

/* ---- info ---- */

/* Of each picture, the prompt or the negative one. */
static cJSON *texts(const struct job *job, const struct sdapi_reply_more *more, bool negative)
{
    const struct job_params *p = &job->params;
    cJSON *list = cJSON_CreateArray();
    struct variants variants;
    struct err err;
    for (size_t i = 0; more->painted && i < job->image_count; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(negative ? more->painted[i].negative
                                                               : more->painted[i].prompt));
    if (more->painted)
        return list;
    if (!variants_read(p, &variants, &err))
        variants = (struct variants){.count = 1};
    for (int i = 0; i < p->count; i++) {
        struct job_params one;
        variants_view(&variants, (size_t)i, p, &one);
        const char *text = negative ? one.negative_prompt : one.prompt;
        cJSON_AddItemToArray(list, cJSON_CreateString(text ? text : ""));
    }
    variants_free(&variants);
    return list;
}

/* Of all that there were to be, of one job; else of those that there are. */
static cJSON *seeds(const struct job *job, const struct sdapi_reply_more *more, bool sub)
{
    const struct job_params *p = &job->params;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; more->painted && i < job->image_count; i++)
        cJSON_AddItemToArray(
            list, json_number_item(sub ? job->images[i].subseed : job->images[i].seed));
    for (int i = 0; !more->painted && i < p->count; i++)
        cJSON_AddItemToArray(list, json_number_item(sub ? job_subseed(p, i) : job_seed(p, i)));
    return list;
}

static cJSON *infotexts(const struct job *job, const struct sdapi_reply_more *more)
{
    cJSON *list = cJSON_CreateArray();
    size_t sheets = job->image_count ? (size_t)more->sheets : 0;
    size_t count = sheets + (more->alone ? 0 : job->image_count);
    for (size_t i = 0; i < count; i++) {
        const char *text = job->images[i < sheets ? 0 : i - sheets].infotext;
        cJSON_AddItemToArray(list, cJSON_CreateString(text ? text : ""));
    }
    return list;
}

static cJSON *text_or_null(const char *text)
{
    return text && *text ? cJSON_CreateString(text) : cJSON_CreateNull();
}

/* What the infotext says beyond the fields that "info" has by themselves. */
static cJSON *extra_params(const struct job *job)
{
    static const char *const known[] = {
        "Steps",     "Sampler",    "CFG scale", "Seed",           "Size-1",
        "Size-2",    "Model hash", "Model",     "Variation seed", "Variation seed strength",
        "Clip skip", "RNG",        "Version",
    };
    cJSON *extra = cJSON_CreateObject();
    struct infotext t;
    if (job->image_count == 0 || !job->images[0].infotext ||
        !infotext_read(&t, job->images[0].infotext))
        return extra;
    for (size_t i = 0; i < t.count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof *known && !is_known; k++)
            is_known = strcmp(known[k], t.pairs[i].key) == 0;
        if (!is_known)
            cJSON_AddStringToObject(extra, t.pairs[i].key, t.pairs[i].value);
    }
    infotext_free(&t);
    return extra;
}

static cJSON *timestamp(const struct job *job)
{
    time_t at = (time_t)((job->started_ms ? job->started_ms : job->created_ms) / 1000);
    struct tm tm;
    char text[32] = "";
    if (localtime_r(&at, &tm))
        strftime(text, sizeof text, "%Y%m%d%H%M%S", &tm);
    return cJSON_CreateString(text);
}

static cJSON *denoising_strength(const struct job_params *p)
{
    if (p->has_init)
        return pyjson_float_item(p->strength);
    return p->hires_width ? pyjson_float_item(p->hires_strength) : cJSON_CreateNull();
}

char *sdapi_reply_info(const struct job *job, int batch_size, const struct cJSON *styles,
                       const char *ignored, const struct sdapi_reply_model *model,
                       const struct sdapi_reply_more *more)
{
    static const struct sdapi_reply_more none = {.sheets = 0};
    more = more ? more : &none;
    const struct job_params *p = &job->params;
    const char *negative = p->negative_prompt ? p->negative_prompt : "";
    char hash[11] = "", vae_hash[11] = "";
    if (model->sha256)
        snprintf(hash, sizeof hash, "%s", model->sha256);
    if (model->vae_sha256)
        snprintf(vae_hash, sizeof vae_hash, "%s", model->vae_sha256);

    cJSON *info = cJSON_CreateObject();
    cJSON_AddStringToObject(info, "prompt", p->prompt);
    cJSON_AddItemToObject(info, "all_prompts", texts(job, more, false));
    cJSON_AddStringToObject(info, "negative_prompt", negative);
    cJSON_AddItemToObject(info, "all_negative_prompts", texts(job, more, true));
    cJSON_AddItemToObject(info, "seed", json_number_item(p->seed));
    cJSON_AddItemToObject(info, "all_seeds", seeds(job, more, false));
    cJSON_AddItemToObject(info, "subseed", json_number_item(p->subseed));
    cJSON_AddItemToObject(info, "all_subseeds", seeds(job, more, true));
    cJSON_AddItemToObject(info, "subseed_strength", pyjson_float_item(p->subseed_strength));
    cJSON_AddNumberToObject(info, "width", p->width);
    cJSON_AddNumberToObject(info, "height", p->height);
    cJSON_AddStringToObject(info, "sampler_name", p->sampler);
    cJSON_AddItemToObject(info, "cfg_scale", pyjson_float_item(p->guidance_told ? 1 : p->guidance));
    cJSON_AddNumberToObject(info, "steps", p->steps);
    cJSON_AddNumberToObject(info, "batch_size", batch_size);
    cJSON_AddFalseToObject(info, "restore_faces");
    cJSON_AddNullToObject(info, "face_restoration_model");
    cJSON_AddItemToObject(info, "sd_model_name", text_or_null(model->name));
    cJSON_AddItemToObject(info, "sd_model_hash", text_or_null(hash));
    bool own_vae = !p->vae || strcasecmp(p->vae, "none") == 0;
    cJSON_AddItemToObject(info, "sd_vae_name", text_or_null(own_vae ? NULL : p->vae));
    cJSON_AddItemToObject(info, "sd_vae_hash", text_or_null(own_vae ? NULL : vae_hash));
    bool resized = p->seed_resize_width > 0 && p->seed_resize_height > 0;
    cJSON_AddNumberToObject(info, "seed_resize_from_w", resized ? p->seed_resize_width : -1);
    cJSON_AddNumberToObject(info, "seed_resize_from_h", resized ? p->seed_resize_height : -1);
    cJSON_AddItemToObject(info, "denoising_strength", denoising_strength(p));
    cJSON *extra = extra_params(job);
    if (ignored && *ignored)
        cJSON_AddStringToObject(extra, "Ignored", ignored);
    cJSON_AddItemToObject(info, "extra_generation_params", extra);
    cJSON_AddNumberToObject(info, "index_of_first_image", more->sheets);
    cJSON_AddItemToObject(info, "infotexts", infotexts(job, more));
    cJSON_AddItemToObject(info, "styles",
                          styles ? cJSON_Duplicate(styles, true) : cJSON_CreateArray());
    cJSON_AddItemToObject(info, "job_timestamp", timestamp(job));
    cJSON_AddNumberToObject(info, "clip_skip", p->clip_skip);
    cJSON_AddBoolToObject(info, "is_using_inpainting_conditioning", !isnan(p->mask_weight));
    cJSON_AddStringToObject(info, "version", "pictor-" PICTOR_VERSION);
    if (p->composed_from && *p->composed_from)
        cJSON_AddStringToObject(info, "revised_prompt", p->prompt);

    struct pyjson text = {0};
    if (info)
        pyjson_dump(&text, info);
    cJSON_Delete(info);
    return text.text;
}
