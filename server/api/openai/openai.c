/* openai.c: models, links to pictures, and errors in OpenAI's shape. */
#include "server/api/openai/openai.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "server/api/app.h"
#include "server/api/stored.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/registry.h"
#include "server/queue/queue.h"
#include "server/store/blobs.h"
#include "server/store/store.h"

/* The schema wants a time; the built-in model and upstreams have none. 2025-01-01. */
#define CREATED_UNKNOWN 1735689600

/* ---- errors ---- */

bool openai_fault(struct openai_fault *f, int status, const char *code, const char *param,
                  const char *fmt, ...)
{
    *f = (struct openai_fault){.status = status, .code = code};
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, args);
    va_end(args);
    return false;
}

bool openai_fault_own(struct openai_fault *f, const struct err *err)
{
    log_err(LOG_ERROR, "http_error", err, " ");
    return openai_fault(f, http_error_status(err->code), NULL, NULL, "%s", err->msg);
}

static const char *type_of(int status)
{
    if (status == 403)
        return "permission_error";
    if (status == 429)
        return "rate_limit_error";
    return status >= 500 ? "server_error" : OPENAI_INVALID;
}

static void add_text(cJSON *json, const char *name, const char *text)
{
    cJSON_AddItemToObject(json, name, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

struct cJSON *openai_fault_json(const struct openai_fault *f)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddStringToObject(error, "message", f->message);
    cJSON_AddStringToObject(error, "type", f->type ? f->type : type_of(f->status));
    add_text(error, "param", *f->param ? f->param : NULL);
    add_text(error, "code", f->code);
    if (*f->moderation)
        cJSON_AddItemToObject(error, "moderation_details",
                              json_text_parse(f->moderation, strlen(f->moderation), 8, NULL));
    return json;
}

/* As OpenAI says how much more may come: times as "1m2.5s". */
static void add_rate(struct http_request *req)
{
    int left;
    int64_t full;
    char text[40];
    if (!http_rate_left(req, &left, &full))
        return;
    snprintf(text, sizeof text, "%d", http_app(req)->settings->max_requests_per_minute);
    http_reply_header(req, "x-ratelimit-limit-requests", text);
    snprintf(text, sizeof text, "%d", left);
    http_reply_header(req, "x-ratelimit-remaining-requests", text);
    if (full >= 60000)
        snprintf(text, sizeof text, "1m0s");
    else if (full >= 1000)
        snprintf(text, sizeof text, "%" PRId64 ".%03ds", full / 1000, (int)(full % 1000));
    else
        snprintf(text, sizeof text, "%" PRId64 "ms", full);
    http_reply_header(req, "x-ratelimit-reset-requests", text);
}

void openai_headers(struct http_request *req)
{
    char ms[32];
    snprintf(ms, sizeof ms, "%" PRId64, now_unix_ms() - http_started_ms(req));
    http_reply_header(req, "openai-version", "2020-10-01");
    http_reply_header(req, "openai-processing-ms", ms);
    add_rate(req);
}

void openai_reply_fault(struct http_request *req, const struct openai_fault *f)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", f->retry_after);
    if (f->retry_after > 0)
        http_reply_header(req, "Retry-After", seconds);
    openai_headers(req);
    http_reply_json(req, f->status, openai_fault_json(f));
}

void openai_error(struct http_request *req, const struct http_problem *problem)
{
    struct openai_fault f;
    const char *code = NULL;
    if (problem->status == 401 &&
        (http_header(req, "Authorization") || http_header(req, "api-key")))
        code = "invalid_api_key";
    else if (problem->status == 405)
        code = "method_not_supported";
    else if (problem->status == 429)
        code = problem->code == ERR_QUOTA ? OPENAI_QUOTA : "rate_limit_exceeded";
    else if (problem->status == 400 && problem->param)
        code = "invalid_value";
    openai_fault(&f, problem->status, code, problem->param, "%s", problem->message);
    if (problem->code == ERR_QUOTA)
        f.type = OPENAI_QUOTA;
    openai_reply_fault(req, &f);
}

/* ---- models ---- */

static cJSON *model_json(const char *id, const struct registry_model *model)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "object", "model");
    cJSON_AddNumberToObject(
        json, "created", model->mtime_ms > 0 ? (double)(model->mtime_ms / 1000) : CREATED_UNKNOWN);
    cJSON_AddStringToObject(json, "owned_by",
                            model->kind == REGISTRY_UPSTREAM ? model->upstream : "pictor");
    return json;
}

/* Other names of models count as models: clients offer what this list has. */
static void add_aliases(const struct app *app, cJSON *list)
{
    const struct settings *s = app->settings;
    for (size_t i = 0; i < s->alias_count; i++) {
        struct registry_model model;
        const char *name = s->aliases[i].name;
        if (strcmp(name, "*") != 0 && registry_resolve(app->registry, name, &model, NULL))
            cJSON_AddItemToArray(list, model_json(name, &model));
    }
}

void openai_models(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct registry_model *models;
    size_t count;
    struct err err;
    if (!registry_list(app->registry, &models, &count, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "object", "list");
    cJSON *list = cJSON_AddArrayToObject(json, "data");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, model_json(models[i].name, &models[i]));
    free(models);
    add_aliases(app, list);
    openai_headers(req);
    http_reply_json(req, 200, json);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool openai_answers_links(const char *name)
{
    return name && begins(name, "dall-e-");
}

static bool is_openais(const char *name)
{
    return begins(name, "dall-e-") || begins(name, "gpt-image-") || begins(name, "chatgpt-image-");
}

/* Also when the alias leads nowhere: that forbids the name. */
static bool is_alias(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->alias_count; i++)
        if (strcmp(s->aliases[i].name, name) == 0 || strcmp(s->aliases[i].name, "*") == 0)
            return true;
    return false;
}

bool openai_find_model(const struct app *app, const char *name, struct registry_model *out,
                       struct err *err)
{
    if (registry_resolve(app->registry, name, out, err))
        return true;
    return err->code == ERR_NOT_FOUND && name && app->settings->openai_names && is_openais(name) &&
           !is_alias(app->settings, name) && registry_resolve(app->registry, NULL, out, err);
}

static bool find_model(struct http_request *req, const char *name, struct registry_model *model)
{
    struct openai_fault f;
    struct err err;
    if (openai_find_model(http_app(req), name, model, &err))
        return true;
    if (err.code == ERR_NOT_FOUND) {
        openai_fault(&f, 404, "model_not_found", "model", "The model '%.100s' does not exist.",
                     name);
        openai_reply_fault(req, &f);
    } else {
        http_reply_error(req, &err, NULL);
    }
    return false;
}

void openai_model(struct http_request *req)
{
    struct registry_model model;
    const char *name = http_param(req, "model");
    if (!find_model(req, name, &model))
        return;
    openai_headers(req);
    http_reply_json(req, 200, model_json(name, &model));
}

void openai_model_delete(struct http_request *req)
{
    struct registry_model model;
    struct openai_fault f;
    const char *name = http_param(req, "model");
    if (!find_model(req, name, &model))
        return;
    openai_fault(&f, 403, NULL, "model",
                 "The model '%.100s' cannot be deleted over HTTP. Remove its file instead.", name);
    openai_reply_fault(req, &f);
}

/* ---- pictures by URL ---- */

/* Needs no key, as OpenAI's links need none: the name has 128 random bits. It is valid as long as
 * the job is kept. */
void openai_file(struct http_request *req)
{
    const char *file = http_param(req, "file"), *dot = strchr(file, '.');
    struct job_image image = {0};
    struct openai_fault f;
    struct err err = {.code = ERR_NOT_FOUND};
    struct queue *queue = http_app(req)->queue;
    char id[JOB_ID_SIZE] = "", path[BLOBS_PATH_SIZE];
    if (dot && dot - file == JOB_ID_SIZE - 1)
        memcpy(id, file, JOB_ID_SIZE - 1);
    bool found = ids_valid(id) && queue_image(queue, id, NULL, &image, &err) &&
                 strcmp(dot + 1, image_formats[image.format]) == 0;
    free(image.infotext);
    if (!found && err.code != ERR_NOT_FOUND) {
        http_reply_error(req, &err, NULL);
        return;
    }
    const char *data = store_data(http_app(req)->store);
    if (!found || !blobs_image_path(path, data, id, image.format, &err)) {
        openai_fault(&f, 404, NULL, NULL, "There is no picture '%.60s'.", file);
        openai_reply_fault(req, &f);
        return;
    }
    char etag[40];
    snprintf(etag, sizeof etag, "\"%s\"", id);
    struct stored stored = {.path = path,
                            .mime = image_mime(image.format),
                            .size = image.bytes,
                            .redirects = true,
                            .headers = {{"ETag", etag},
                                        {"Cache-Control", "private, max-age=3600"},
                                        {"Cross-Origin-Resource-Policy", "cross-origin"}}};
    stored_reply(req, &stored);
}
