#include "server/api/native/native_workers.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/base/ids.h"
#include "server/http/http.h"
#include "server/job/registry.h"
#include "server/queue/roster.h"

#define WORDS_MOST 512 /* of a list in a claim */

/* ---- what a claim says ---- */

static const struct list {
    const char *name;
    size_t given, kept;
    bool hashes;
} lists[] = {
    {"families", offsetof(struct native_worker_about, families),
     offsetof(struct roster_worker, families), false},
    {"files", offsetof(struct native_worker_about, files), offsetof(struct roster_worker, files),
     true},
    {"models", offsetof(struct native_worker_about, models), offsetof(struct roster_worker, models),
     false},
    {"warm", offsetof(struct native_worker_about, warm), offsetof(struct roster_worker, warm),
     false},
};
#define LISTS (sizeof lists / sizeof *lists)

void native_workers_schema(struct cJSON *properties)
{
    for (size_t i = 0; i < LISTS; i++) {
        cJSON *list = cJSON_CreateObject(), *items;
        cJSON_AddStringToObject(list, "type", "array");
        cJSON_AddNumberToObject(list, "maxItems", WORDS_MOST);
        items = cJSON_AddObjectToObject(list, "items");
        cJSON_AddStringToObject(items, "type", "string");
        if (lists[i].hashes)
            cJSON_AddStringToObject(items, "pattern", "^[0-9a-f]{64}$");
        cJSON_AddNumberToObject(items, "maxLength", ROSTER_WORD_MAX);
        cJSON_ReplaceItemInObjectCaseSensitive(properties, lists[i].name, list);
    }
}

static bool take_list(const struct list *list, const cJSON *given, char **out, struct err *err)
{
    const cJSON *item;
    if (!given || cJSON_IsNull(given))
        return true;
    bool good = cJSON_IsArray(given) && cJSON_GetArraySize(given) <= WORDS_MOST;
    if (good && !cJSON_GetArraySize(given))
        *out = strdup("");
    cJSON_ArrayForEach(item, given) {
        good = good && cJSON_IsString(item) && (!list->hashes || ids_sha256(item->valuestring)) &&
               roster_add(out, item->valuestring);
    }
    return good || err_set(err, ERR_INVALID,
                           "%s: wanted a list of at most %d texts, %s", list->name, WORDS_MOST,
                           list->hashes ? "each 64 hex digits"
                                        : "each of 1 to 199 bytes in a line");
}

bool native_workers_about(const struct native_worker_about *about, const char *owner,
                          struct roster_worker *out, const char **param, struct err *err)
{
    *out = (struct roster_worker){.state = ROSTER_IDLE,
                                  .memory = (int64_t)about->memory,
                                  .disk = (int64_t)about->disk,
                                  .step_seconds = about->step_seconds,
                                  .pace = about->pace};
    const char *name = strrchr(owner, ':');
    snprintf(out->id, sizeof out->id, "%s", owner);
    snprintf(out->name, sizeof out->name, "%s", name ? name + 1 : owner);
    snprintf(out->version, sizeof out->version, "%s", about->version ? about->version : "");
    snprintf(out->host, sizeof out->host, "%s", about->host ? about->host : "");
    snprintf(out->device, sizeof out->device, "%s", about->device ? about->device : "");
    for (size_t i = 0; i < LISTS; i++) {
        cJSON *given = *(cJSON *const *)((const char *)about + lists[i].given);
        *param = lists[i].name;
        if (!take_list(&lists[i], given, (char **)((char *)out + lists[i].kept), err))
            return false;
    }
    *param = NULL;
    return true;
}

/* ---- the list ---- */

static void add_text(cJSON *json, const char *name, const char *text)
{
    cJSON_AddItemToObject(json, name, *text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static void add_number(cJSON *json, const char *name, double number)
{
    cJSON_AddItemToObject(json, name, number > 0 ? cJSON_CreateNumber(number) : cJSON_CreateNull());
}

static void add_words(cJSON *array, const char *list)
{
    char word[ROSTER_WORD_MAX + 1];
    for (const char *p = list; p && *p; p = strchr(p, '\n') + 1) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, "\n"), p);
        cJSON_AddItemToArray(array, cJSON_CreateString(word));
    }
}

/* What it has on its disk; a worker beside a server has what the server has. */
static void add_models(cJSON *json, const struct roster_worker *w,
                       const struct registry_model *models, size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(json, "models");
    add_words(array, w->models);
    for (size_t i = 0; i < count; i++) {
        const struct registry_model *m = &models[i];
        if (m->kind == REGISTRY_LOCAL && !roster_has(w->models, m->name) &&
            (w->local || (*m->sha256 && roster_has(w->files, m->sha256))))
            cJSON_AddItemToArray(array, cJSON_CreateString(m->name));
    }
}

/* "worker:KEY:NAME" has the id of its key. */
static void add_key(cJSON *json, const struct roster_worker *w)
{
    char key[JOB_ID_SIZE] = "";
    const char *from = w->local ? NULL : strchr(w->id, ':');
    size_t size = from ? strcspn(from + 1, ":") : 0;
    if (size > 0 && size < sizeof key) {
        memcpy(key, from + 1, size);
        key[size] = '\0';
    }
    add_text(json, "key", key);
}

static cJSON *worker_json(const struct roster_worker *w, const struct registry_model *models,
                          size_t count)
{
    char level[16] = "";
    cJSON *json = cJSON_CreateObject();
    sscanf(w->device, "cpu %15s", level);
    cJSON_AddStringToObject(json, "id", w->id);
    cJSON_AddStringToObject(json, "name", w->name);
    cJSON_AddBoolToObject(json, "local", w->local);
    add_key(json, w);
    add_text(json, "host", w->host);
    add_text(json, "version", w->version);
    cJSON_AddStringToObject(json, "state", roster_state_name(w->state));
    add_text(json, "job", w->job);
    add_text(json, "device", w->device);
    add_text(json, "cpu", level);
    add_number(json, "memory", (double)w->memory);
    add_number(json, "disk", (double)w->disk);
    add_words(cJSON_AddArrayToObject(json, "families"), w->families);
    add_models(json, w, models, count);
    add_words(cJSON_AddArrayToObject(json, "warm"), w->warm);
    add_number(json, "seconds_per_step", w->step_seconds);
    add_number(json, "seconds_per_megapixel_step", w->pace);
    add_number(json, "since", (double)w->since_ms);
    add_number(json, "seen_at", (double)w->seen_ms);
    return json;
}

void native_workers_list(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct roster_worker *list;
    struct registry_model *models;
    size_t count, model_count;
    struct err err;
    if (!roster_list(app->roster, &list, &count, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    if (registry_list(app->registry, &models, &model_count, &err)) {
        cJSON *json = cJSON_CreateObject(), *array = cJSON_AddArrayToObject(json, "workers");
        for (size_t i = 0; i < count; i++)
            cJSON_AddItemToArray(array, worker_json(&list[i], models, model_count));
        http_reply_json(req, 200, json);
        free(models);
    } else {
        http_reply_error(req, &err, NULL);
    }
    roster_list_free(list, count);
}
