/* sdapi.c: lists say only what works here. */
#include "server/api/sdapi/sdapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/api/sdapi/sdapi_script.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/job_field.h"
#include "server/job/loras.h"
#include "server/job/registry.h"
#include "server/job/sidecars.h"
#include "server/job/upscalers.h"
#include "server/paint/dispatch.h"
#include "server/queue/queue.h"

/* ---- errors ---- */

void sdapi_error(struct http_request *req, const struct http_problem *problem)
{
    /* The WebUI's framework answers these itself, in few words that clients look for. */
    if (problem->status == 404 || problem->status == 405) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "detail",
                                problem->status == 404 ? "Not Found" : "Method Not Allowed");
        cJSON_AddStringToObject(json, "message", problem->message);
        http_reply_json(req, problem->status, json);
        return;
    }
    struct err err = {.code = problem->code};
    snprintf(err.msg, sizeof err.msg, "%s", problem->message);
    bool basic = strncmp(err.msg, "Incorrect ", 10) == 0 || strncmp(err.msg, "Invalid ", 8) == 0;
    if (problem->status == 400 && problem->param)
        sdapi_reply_err(req, &err, problem->param);
    else
        sdapi_reply_exception(req, problem->status,
                              problem->status == 401 && !basic ? "Not authenticated" : err.msg);
}

/* ---- what there is ---- */

static cJSON *aliases_of(const struct pictor_sampler_info *sampler)
{
    cJSON *aliases = cJSON_CreateArray();
    cJSON_AddItemToArray(aliases, cJSON_CreateString(sampler->alias));
    return aliases;
}

void sdapi_samplers(struct http_request *req)
{
    cJSON *list = cJSON_CreateArray();
    const struct pictor_sampler_info *sampler;
    for (int i = 0; (sampler = pictor_sampler_at(i)); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", sampler->name);
        cJSON_AddItemToObject(item, "aliases", aliases_of(sampler));
        cJSON *options = cJSON_AddObjectToObject(item, "options"); /* values are text */
        if (strcmp(sampler->default_scheduler, "uniform") != 0)
            cJSON_AddStringToObject(options, "scheduler", sampler->default_scheduler);
        if (sampler->second_order)
            cJSON_AddStringToObject(options, "second_order", "True");
        if (sampler->sde)
            cJSON_AddStringToObject(options, "brownian_noise", "True");
        if (sampler->ancestral)
            cJSON_AddStringToObject(options, "uses_ensd", "True");
        cJSON_AddItemToArray(list, item);
    }
    sdapi_reply_json(req, list);
}

void sdapi_schedulers(struct http_request *req)
{
    cJSON *list = cJSON_CreateArray();
    const struct pictor_scheduler_info *scheduler;
    for (int i = 0; (scheduler = pictor_scheduler_at(i)); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", scheduler->name);
        cJSON_AddStringToObject(item, "label", scheduler->label);
        if (scheduler->alias)
            cJSON_AddItemToArray(cJSON_AddArrayToObject(item, "aliases"),
                                 cJSON_CreateString(scheduler->alias));
        else
            cJSON_AddNullToObject(item, "aliases");
        cJSON_AddNumberToObject(item, "default_rho", scheduler->default_rho);
        cJSON_AddBoolToObject(item, "need_inner_model", scheduler->needs_model);
        cJSON_AddItemToArray(list, item);
    }
    sdapi_reply_json(req, list);
}

static void add_upscaler(cJSON *list, const char *name)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    cJSON_AddNullToObject(item, "model_name");
    cJSON_AddNullToObject(item, "model_path");
    cJSON_AddNullToObject(item, "model_url");
    cJSON_AddNumberToObject(item, "scale", 4);
    cJSON_AddItemToArray(list, item);
}

void sdapi_upscalers(struct http_request *req)
{
    struct registry_table table;
    struct err err;
    if (!files_list(registry_files(http_app(req)->registry, FOLDERS_UPSCALER), &table, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *list = cJSON_CreateArray();
    const char *name;
    add_upscaler(list, "None");
    for (int i = 0; (name = upscalers_known(i)); i++)
        if (strncmp(name, "Latent", 6) != 0)
            add_upscaler(list, name);
    for (size_t i = 0; i < table.count; i++)
        if (table.entries[i].same == i)
            add_upscaler(list, table.entries[i].model.name);
    registry_scan_free(&table);
    sdapi_reply_json(req, list);
}

void sdapi_latent_upscale_modes(struct http_request *req)
{
    cJSON *list = cJSON_CreateArray();
    const char *name;
    for (int i = 0; (name = upscalers_known(i)); i++) {
        if (strncmp(name, "Latent", 6) != 0)
            continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", name);
        cJSON_AddItemToArray(list, item);
    }
    sdapi_reply_json(req, list);
}

void sdapi_scripts(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    for (int kind = SDAPI_TXT2IMG; kind <= SDAPI_IMG2IMG; kind++) {
        cJSON *list = cJSON_AddArrayToObject(json, kind == SDAPI_TXT2IMG ? "txt2img" : "img2img");
        const char *title;
        for (int i = 0; (title = sdapi_script_title((enum sdapi_request_kind)kind, i)); i++)
            cJSON_AddItemToArray(list, cJSON_CreateString(title));
    }
    sdapi_reply_json(req, json);
}

static void add_number(cJSON *json, const char *name, bool there, double value)
{
    cJSON_AddItemToObject(json, name, there ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static cJSON *script_json(enum sdapi_request_kind kind, const char *title)
{
    const struct sdapi_script_arg *arg;
    cJSON *json = cJSON_CreateObject(), *args;
    cJSON_AddStringToObject(json, "name", title);
    cJSON_AddFalseToObject(json, "is_alwayson");
    cJSON_AddBoolToObject(json, "is_img2img", kind == SDAPI_IMG2IMG);
    args = cJSON_AddArrayToObject(json, "args");
    for (int i = 0; (arg = sdapi_script_arg(title, i)); i++) {
        bool ranged = arg->step > 0;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "label", arg->label);
        cJSON_AddItemToObject(item, "value", json_text_constant(arg->value));
        add_number(item, "minimum", ranged, arg->least);
        add_number(item, "maximum", ranged, arg->most);
        add_number(item, "step", ranged, arg->step);
        cJSON_AddNullToObject(item, "choices");
        cJSON_AddItemToArray(args, item);
    }
    return json;
}

void sdapi_script_info(struct http_request *req)
{
    cJSON *list = cJSON_CreateArray();
    for (int kind = SDAPI_TXT2IMG; kind <= SDAPI_IMG2IMG; kind++) {
        const char *title;
        for (int i = 0; (title = sdapi_script_title((enum sdapi_request_kind)kind, i)); i++)
            cJSON_AddItemToArray(list, script_json((enum sdapi_request_kind)kind, title));
    }
    sdapi_reply_json(req, list);
}

void sdapi_empty_list(struct http_request *req)
{
    sdapi_reply_json(req, cJSON_CreateArray());
}

/* What lies beside the file, by the names of the WebUI's cards, and of the header's own metadata
 * what is kept of it: all of it would be the header of every file, for each list. */
static void add_metadata(cJSON *item, struct sidecars *sidecars, const struct registry_model *m)
{
    cJSON *json = cJSON_AddObjectToObject(item, "metadata");
    struct sidecar *s = malloc(sizeof *s);
    if (*m->alias)
        cJSON_AddStringToObject(json, "ss_output_name", m->alias);
    if (s && sidecars_get(sidecars, m->path, s)) {
        if (*s->trigger)
            cJSON_AddStringToObject(json, "activation text", s->trigger);
        if (*s->description)
            cJSON_AddStringToObject(json, "description", s->description);
        if (*s->base)
            cJSON_AddStringToObject(json, "sd version", s->base);
        if (s->weight != 0)
            cJSON_AddNumberToObject(json, "preferred weight", s->weight);
    }
    free(s);
}

void sdapi_loras(struct http_request *req)
{
    struct registry_table table;
    struct err err;
    if (!files_list(registry_files(http_app(req)->registry, FOLDERS_LORA), &table, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateArray();
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_entry *e = &table.entries[i];
        char path[REGISTRY_NAME_SIZE + sizeof e->model.ending];
        if (e->same != i)
            continue;
        snprintf(path, sizeof path, "%s%s", e->model.name,
                 e->model.named_whole ? "" : e->model.ending);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", files_stem(e));
        cJSON_AddStringToObject(item, "alias", *e->model.alias ? e->model.alias : files_stem(e));
        cJSON_AddStringToObject(item, "path", path);
        add_metadata(item, registry_sidecars(http_app(req)->registry), &e->model);
        cJSON_AddItemToArray(json, item);
    }
    registry_scan_free(&table);
    sdapi_reply_json(req, json);
}

void sdapi_vaes(struct http_request *req)
{
    struct registry_table table;
    struct err err;
    if (!files_list(registry_files(http_app(req)->registry, FOLDERS_VAE), &table, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateArray();
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_entry *e = &table.entries[i];
        char file[REGISTRY_NAME_SIZE + sizeof e->model.ending];
        if (e->same != i)
            continue;
        snprintf(file, sizeof file, "%s%s", files_stem(e),
                 e->model.named_whole ? "" : e->model.ending);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "model_name", file);
        snprintf(file, sizeof file, "%s%s", e->model.name,
                 e->model.named_whole ? "" : e->model.ending);
        cJSON_AddStringToObject(item, "filename", file);
        cJSON_AddItemToArray(json, item);
    }
    registry_scan_free(&table);
    sdapi_reply_json(req, json);
}

void sdapi_refresh_vaes(struct http_request *req)
{
    struct err err;
    if (files_refresh(registry_files(http_app(req)->registry, FOLDERS_VAE), &err))
        sdapi_reply_null(req);
    else
        sdapi_reply_err(req, &err, NULL);
}

void sdapi_memory(struct http_request *req)
{
    double page = (double)sysconf(_SC_PAGESIZE);
    double total = page * (double)sysconf(_SC_PHYS_PAGES);
    double available = page * (double)sysconf(_SC_AVPHYS_PAGES);
    cJSON *json = cJSON_CreateObject();
    cJSON *ram = cJSON_AddObjectToObject(json, "ram");
    cJSON_AddNumberToObject(ram, "free", available);
    cJSON_AddNumberToObject(ram, "used", total - available);
    cJSON_AddNumberToObject(ram, "total", total);
    cJSON *cuda = cJSON_AddObjectToObject(json, "cuda");
    cJSON_AddStringToObject(cuda, "error", "unavailable");
    sdapi_reply_json(req, json);
}

void sdapi_cmd_flags(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddTrueToObject(json, "api");
    cJSON_AddTrueToObject(json, "use_cpu");
    cJSON_AddFalseToObject(json, "lowvram");
    cJSON_AddFalseToObject(json, "medvram");
    cJSON_AddNullToObject(json, "lora_dir");
    cJSON_AddNullToObject(json, "embeddings_dir");
    sdapi_reply_json(req, json);
}

/* ---- checkpoints ---- */

void sdapi_refresh_checkpoints(struct http_request *req)
{
    struct err err;
    if (registry_refresh(http_app(req)->registry, &err))
        sdapi_reply_null(req);
    else
        sdapi_reply_err(req, &err, NULL);
}

void sdapi_refresh_loras(struct http_request *req)
{
    struct err err;
    if (files_refresh(registry_files(http_app(req)->registry, FOLDERS_LORA), &err))
        sdapi_reply_null(req);
    else
        sdapi_reply_err(req, &err, NULL);
}

void sdapi_unload_checkpoint(struct http_request *req)
{
    dispatch_unload(http_app(req)->dispatch);
    sdapi_reply_json(req, cJSON_CreateObject());
}

/* The next picture loads its model by itself. */
void sdapi_reload_checkpoint(struct http_request *req)
{
    sdapi_reply_json(req, cJSON_CreateObject());
}

/* ---- is anybody there? ---- */

void sdapi_queue_status(struct http_request *req)
{
    struct err err;
    int queued = 0, running = 0;
    queue_depth(http_app(req)->queue, http_visible_key(req), &queued, &running, &err);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "msg", "estimation");
    cJSON_AddNullToObject(json, "rank");
    cJSON_AddNumberToObject(json, "queue_size", queued);
    cJSON_AddNullToObject(json, "avg_event_process_time");
    cJSON_AddNullToObject(json, "avg_event_concurrent_process_time");
    cJSON_AddNullToObject(json, "rank_eta");
    cJSON_AddNumberToObject(json, "queue_eta", 0);
    sdapi_reply_json(req, json);
}

/* A number that is another one after a restart. */
void sdapi_app_id(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "app_id", getpid());
    sdapi_reply_json(req, json);
}

void sdapi_ping(struct http_request *req)
{
    sdapi_reply_json(req, cJSON_CreateObject());
}
