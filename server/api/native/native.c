/* native.c: the handlers of /api, each a call of the queue or the registry. */
#include "server/api/native/native.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/api/native/native_files.h"
#include "server/api/native/native_job.h"
#include "server/api/app.h"
#include "server/api/models_wait.h"
#include "server/api/stored.h"
#include "server/base/json_fields.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/intake.h"
#include "server/job/styles.h"
#include "server/paint/dispatch.h"
#include "server/job/registry.h"
#include "server/paint/fit.h"
#include "server/queue/queue.h"
#include "server/queue/roster.h"
#include "server/store/blobs.h"
#include "server/store/keys.h"
#include "server/store/store.h"

void native_error(struct http_request *req, const struct http_problem *problem)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddStringToObject(error, "code", err_name(problem->code));
    cJSON_AddStringToObject(error, "message", problem->message);
    if (problem->param && *problem->param)
        cJSON_AddStringToObject(error, "param", problem->param);
    else
        cJSON_AddNullToObject(error, "param");
    http_reply_json(req, problem->status, json);
}

struct cJSON *native_body(struct http_request *req, const struct json_field *fields, size_t count,
                          void *out)
{
    struct json_problem problem;
    struct err err;
    cJSON *body = http_json(req, &err);
    if (!body) {
        http_reply_error(req, &err, NULL);
        return NULL;
    }
    if (json_fields_parse(fields, count, body, JSON_FIELDS_STRICT, out, &problem))
        return body;
    err_set(&err, ERR_INVALID, "%s", problem.message);
    http_reply_error(req, &err, problem.name);
    cJSON_Delete(body);
    return NULL;
}

/* What a job's state does not allow is a conflict. */
static void reply_failed(struct http_request *req, const struct err *err)
{
    struct http_problem problem = {409, err->code, err->msg, NULL};
    if (err->code == ERR_INVALID)
        native_error(req, &problem);
    else
        http_reply_error(req, err, NULL);
}

/* ---- jobs ---- */

/* Why nobody takes a job that waits, where that can be told. */
static void add_waiting_for(cJSON *json, const struct app *app, const struct job *job)
{
    struct registry_model m;
    struct roster_worker *list;
    size_t count;
    char why[256];
    if (job->state != JOB_QUEUED || app->settings->workers > 0 ||
        !registry_resolve(app->registry, job->params.model, &m, NULL) || m.kind != REGISTRY_LOCAL ||
        !roster_list(app->roster, &list, &count, NULL))
        return;
    if (fit_nobody(list, count, &m, why))
        cJSON_AddStringToObject(json, "waiting_for", why);
    roster_list_free(list, count);
}

static void reply_job(struct http_request *req, const char *id)
{
    struct job job;
    struct err err;
    if (!queue_get(http_app(req)->queue, id, http_visible_key(req), &job, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = native_job_to_json(&job);
    add_waiting_for(json, http_app(req), &job);
    http_reply_json(req, 200, json);
    job_free(&job);
}

void native_get(struct http_request *req)
{
    reply_job(req, http_param(req, "id"));
}

static void change_job(struct http_request *req, bool (*change)(struct queue *q, const char *id,
                                                                const char *key_id,
                                                                struct err *err))
{
    const char *id = http_param(req, "id");
    struct err err;
    if (change(http_app(req)->queue, id, http_visible_key(req), &err))
        reply_job(req, id);
    else
        reply_failed(req, &err);
}

void native_cancel(struct http_request *req)
{
    change_job(req, queue_cancel);
}

void native_interrupt(struct http_request *req)
{
    change_job(req, queue_interrupt);
}

static void reply_deleted(struct http_request *req, bool done, const struct err *err)
{
    if (done)
        http_reply_empty(req, 204);
    else
        reply_failed(req, err);
}

/* False: it has been refused. */
static bool query_now(struct http_request *req, bool *now)
{
    struct err err;
    bool good = http_query_flag(req, "now", now, &err);
    if (!good)
        http_reply_error(req, &err, "now");
    return good;
}

void native_delete(struct http_request *req)
{
    struct err err;
    bool now;
    if (!query_now(req, &now))
        return;
    reply_deleted(req,
                  queue_delete(http_app(req)->queue, http_param(req, "id"), http_visible_key(req),
                               now, &err),
                  &err);
}

void native_delete_image(struct http_request *req)
{
    struct err err;
    bool now;
    if (!query_now(req, &now))
        return;
    reply_deleted(req,
                  queue_delete_image(http_app(req)->queue, http_param(req, "id"),
                                     http_param(req, "image"), http_visible_key(req), now, &err),
                  &err);
}

void native_restore(struct http_request *req)
{
    change_job(req, queue_restore);
}

void native_restore_image(struct http_request *req)
{
    const char *id = http_param(req, "id");
    struct err err;
    if (queue_restore_image(http_app(req)->queue, id, http_param(req, "image"),
                            http_visible_key(req), &err))
        reply_job(req, id);
    else
        reply_failed(req, &err);
}

/* ---- pictures ---- */

void native_image(struct http_request *req)
{
    const char *id = http_param(req, "id");
    struct job_image image = {0};
    struct err err;
    char etag[64], path[BLOBS_PATH_SIZE], text[96], name[64] = "";
    snprintf(etag, sizeof etag, "\"%.40s\"", id); /* a picture never changes */
    const struct app *app = http_app(req);
    bool found = queue_image(app->queue, id, http_visible_key(req), &image, &err) &&
                 blobs_image_path(path, store_data(app->store), image.id, image.format, &err);
    free(image.infotext);
    if (!found) {
        http_reply_error(req, &err, NULL);
        return;
    }
    struct stored stored = {
        .path = path,
        .mime = image_mime(image.format),
        .size = image.bytes,
        .headers = {{"ETag", etag},
                    {"Cache-Control", "private, max-age=31536000, immutable"}}};
    const char *download = http_query(req, "download");
    if (download && strcmp(download, "0") != 0) {
        snprintf(name, sizeof name, "pictor-%.12s.%s", image.id, image_extension(image.format));
        snprintf(text, sizeof text, "attachment; filename=\"%s\"", name);
        stored.headers[2] = (struct stored_header){"Content-Disposition", text};
        stored.file_name = name;
    }
    stored.redirects = true;
    stored_reply(req, &stored);
}

/* ---- what there is ---- */

/* How many pictures it is shown, with an instruction of what shall become of them; 0: none. */
static int edits_of(const struct registry_model *model)
{
    if (model->kind != REGISTRY_LOCAL)
        return model->takes_more ? 1 + RELAY_IMAGES_MAX : 0;
    return model->references > 0 ? model->references : model->default_image_guidance > 0;
}

/* The model's own, or everybody's. */
static void add_usual(cJSON *json, const char *name, const struct intake_model *usual,
                      const char *own)
{
    const char *text = *own ? own : job_field_find(&job_table, name)->text;
    cJSON_AddItemToObject(json, name,
                          usual->upstream ? cJSON_CreateNull() : cJSON_CreateString(text));
}

static cJSON *model_json(const struct registry *registry, const struct registry_model *model)
{
    struct intake_model usual;
    intake_model_of(model, &usual);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", model->name);
    cJSON_AddStringToObject(json, "kind", model->kind == REGISTRY_LOCAL ? "local" : "upstream");
    cJSON_AddStringToObject(json, "title", *model->title ? model->title : model->name);
    cJSON_AddStringToObject(json, "architecture", model->architecture);
    cJSON_AddNumberToObject(json, "width", usual.width);
    cJSON_AddNumberToObject(json, "height", usual.height);
    /* An upstream's own are not known here. */
    cJSON_AddItemToObject(json, "guidance",
                          usual.upstream ? cJSON_CreateNull() : cJSON_CreateNumber(usual.guidance));
    cJSON_AddItemToObject(json, "steps",
                          usual.upstream ? cJSON_CreateNull() : cJSON_CreateNumber(usual.steps));
    add_usual(json, "sampler", &usual, usual.sampler);
    add_usual(json, "scheduler", &usual, usual.scheduler);
    cJSON_AddBoolToObject(json, "flow", model->flow);
    bool words = model->guide == PICTOR_GUIDE_WORDS;
    cJSON_AddBoolToObject(json, "negative_prompt", words || usual.upstream);
    cJSON_AddBoolToObject(json, "guidance_told", model->guide == PICTOR_GUIDE_TOLD);
    cJSON_AddItemToObject(json, "problem",
                          model->fault ? cJSON_CreateString(model->problem) : cJSON_CreateNull());
    cJSON_AddItemToObject(
        json, "bytes", model->size ? cJSON_CreateNumber((double)model->size) : cJSON_CreateNull());
    native_files_describe(json, registry, model);
    cJSON_AddNumberToObject(json, "edits", edits_of(model));
    cJSON_AddBoolToObject(json, "loaded", model->loaded);
    cJSON_AddBoolToObject(json, "default", model->is_default);
    return json;
}

static void reply_models(struct http_request *req)
{
    struct registry_model *models;
    size_t count;
    struct err err;
    if (!registry_list(http_app(req)->registry, &models, &count, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "models");
    const char *fallback = NULL;
    for (size_t i = 0; i < count; i++) {
        cJSON_AddItemToArray(list, model_json(http_app(req)->registry, &models[i]));
        if (models[i].is_default)
            fallback = models[i].name;
    }
    cJSON_AddItemToObject(json, "default",
                          fallback ? cJSON_CreateString(fallback) : cJSON_CreateNull());
    free(models);
    http_reply_json(req, 200, json);
}

void native_models(struct http_request *req)
{
    models_wait(req, reply_models);
}

void native_models_unload(struct http_request *req)
{
    dispatch_unload(http_app(req)->dispatch);
    http_reply_json(req, 202, cJSON_CreateObject());
}

static void add_samplers(cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "samplers");
    const struct pictor_sampler_info *sampler;
    for (int i = 0; (sampler = pictor_sampler_at(i)) != NULL; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", sampler->name);
        cJSON_AddStringToObject(item, "alias", sampler->alias);
        cJSON_AddStringToObject(item, "default_scheduler", sampler->default_scheduler);
        cJSON_AddBoolToObject(item, "flow", pictor_sampler_flows(sampler->name));
        cJSON_AddItemToArray(list, item);
    }
    list = cJSON_AddArrayToObject(json, "schedulers");
    const struct pictor_scheduler_info *scheduler;
    for (int i = 0; (scheduler = pictor_scheduler_at(i)) != NULL; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", scheduler->name);
        cJSON_AddStringToObject(item, "label", scheduler->label);
        cJSON_AddItemToArray(list, item);
    }
}

/* Their names; none where the file cannot be read, which a request for one says. */
static void add_styles(cJSON *json, const struct settings *s)
{
    struct styles styles;
    cJSON *names = cJSON_AddArrayToObject(json, "styles");
    if (!styles_read(s->styles, &styles, NULL))
        return;
    for (size_t i = 0; i < styles.count; i++)
        cJSON_AddItemToArray(names, cJSON_CreateString(styles.at[i].name));
    styles_free(&styles);
}

void native_info(struct http_request *req)
{
    static const char *const examples[] = {
        "a castle in the mountains at sunset",
        "a lighthouse by the sea at sunset",
        "a fox in the forest",
        "a rocket in space",
        "a cottage by a lake",
        "a rainbow over a field",
    };
    const struct app *app = http_app(req);
    const struct settings *s = app->settings;
    struct job_params usual;
    job_params_init(&usual);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "version", PICTOR_VERSION);
    add_samplers(json);
    cJSON *limits = cJSON_AddObjectToObject(json, "limits");
    cJSON_AddNumberToObject(limits, "max_pixels", s->max_pixels);
    cJSON_AddNumberToObject(limits, "max_side", s->max_side);
    cJSON_AddNumberToObject(limits, "max_steps", s->max_steps);
    cJSON_AddNumberToObject(limits, "max_count", s->max_count);
    cJSON_AddNumberToObject(limits, "max_body_bytes", (double)s->max_body_bytes);
    cJSON_AddNumberToObject(limits, "undo_seconds", s->undo_seconds);
    cJSON *defaults = cJSON_AddObjectToObject(json, "defaults");
    cJSON_AddNumberToObject(defaults, "steps", usual.steps);
    cJSON_AddNumberToObject(defaults, "guidance", usual.guidance);
    cJSON_AddStringToObject(defaults, "sampler", job_field_find(&job_table, "sampler")->text);
    cJSON_AddStringToObject(defaults, "scheduler", job_field_find(&job_table, "scheduler")->text);
    job_params_free(&usual);
    cJSON_AddItemToObject(json, "examples",
                          cJSON_CreateStringArray(examples, sizeof examples / sizeof *examples));
    add_styles(json, s);
    cJSON_AddBoolToObject(json, "keys_required",
                          keys_required(app->keys, NULL) || s->api_auth.count > 0);
    http_reply_json(req, 200, json);
}

/* ---- probes ---- */

void native_healthz(struct http_request *req)
{
    struct err err;
    char text[sizeof err.msg + 16];
    bool well = queue_seems_well(http_app(req)->queue, &err);
    /* The process is well whatever its disk and database are: who restarts it helps nobody. */
    snprintf(text, sizeof text, "ok%s%s\n", well ? "" : ", but ", well ? "" : err.msg);
    http_reply_text(req, 200, "text/plain", text);
}

void native_readyz(struct http_request *req)
{
    struct err err;
    if (queue_well(http_app(req)->queue, &err) && dispatch_ready(http_app(req)->dispatch, &err)) {
        http_reply_text(req, 200, "text/plain", "ready\n");
        return;
    }
    struct http_problem problem = {503, err.code, err.msg, NULL};
    native_error(req, &problem);
}
