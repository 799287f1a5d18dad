/* upstream_list.c: the models that upstreams say they have, where the settings want them.
 *
 * Each list is asked for at the start and again when it is old, on the thread of the transfers; who
 * wants a list gets what is known, so a server that does not answer makes nobody wait. What it said
 * last outlives the process, since jobs may wait for its models. */
#include "server/paint/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/registry_remote.h"
#include "server/paint/fetch.h"
#include "server/paint/upstream_sdapi.h"

#define LIST_BYTES ((size_t)8 << 20)
#define LIST_DEPTH 16
#define LIST_MOST 10000
#define LIST_TIMEOUT_MS 20000
#define AGAIN_MS 30000 /* after one that failed, unless the list's own time is shorter */

static void option_name(char *text, size_t size, const struct server *s)
{
    snprintf(text, size, "upstream-models:%s", s->settings->name);
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* The names in an answer: {"data": [{"id"}]} of OpenAI's API, [{"model_name", "title"}] of the SD
 * WebUI's, and ["name"], which is also how they are kept. Borrowed from `list`. */
static size_t names_of(const cJSON *list, const char **names)
{
    const cJSON *item;
    size_t count = 0;
    cJSON_ArrayForEach(item, list) {
        const char *name = cJSON_GetStringValue(item);
        if (!name)
            name = cJSON_GetStringValue(member(item, "id"));
        if (!name)
            name = cJSON_GetStringValue(member(item, "model_name"));
        if (!name)
            name = cJSON_GetStringValue(member(item, "title"));
        if (name && *name && strlen(name) < REGISTRY_NAME_SIZE && count < LIST_MOST)
            names[count++] = name;
    }
    return count;
}

static void keep_names(const struct upstream *u, const struct server *s, const char *const *names,
                       size_t count)
{
    const struct registry_hashes *memory = &u->parts.memory;
    cJSON *json = cJSON_CreateStringArray(names, (int)count);
    char *text = json_text_print(json), option[80];
    struct err err = {0};
    option_name(option, sizeof option, s);
    if (text && memory->remember && !memory->remember(memory->ctx, option, text, &err))
        upstream_log("models_not_kept", NULL, &err);
    free(text);
    cJSON_Delete(json);
}

static bool take_names(struct upstream *u, struct server *s, const char *const *names, size_t count,
                       struct err *err)
{
    for (size_t i = 0; i < s->model_count; i++)
        s->models[i]->there = !s->models[i]->listed;
    for (size_t i = 0; i < count; i++) {
        struct remote_model *m = upstream_model_any(s, names[i]);
        if (m)
            m->there = true;
        if (m || !registry_remote_wants(s->settings, names[i]))
            continue;
        pthread_mutex_lock(&u->lock); /* of who asks for prices */
        m = upstream_model_add(s, names[i], names[i], err);
        pthread_mutex_unlock(&u->lock);
        if (!m)
            return false;
        m->listed = true;
    }
    return registry_set_listed(u->parts.registry, s->settings, names, count, err);
}

/* Takes the list, and remembers it where it is to be kept; true when it is one. */
static bool take_list(struct upstream *u, struct server *s, const cJSON *answer, bool keep,
                      struct err *err)
{
    const cJSON *list = cJSON_IsArray(answer) ? answer : member(answer, "data");
    int most = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list))
        return err_set(err, ERR_UPSTREAM, "%s answered no list of models", s->settings->name);
    const char **names = malloc(((size_t)most + 1) * sizeof *names);
    if (!names)
        return err_set(err, ERR_INTERNAL, "no memory for a list of models");
    size_t count = names_of(list, names);
    bool done = take_names(u, s, names, count, err);
    if (done && keep)
        keep_names(u, s, names, count);
    free(names);
    return done;
}

static void on_list(void *ctx, const struct fetch_answer *answer)
{
    struct server *s = ctx;
    struct upstream *u = s->upstream;
    struct err err = answer->err;
    bool well = upstream_is_success(answer);
    s->listing = NULL;
    if (err.code == ERR_NONE && !well)
        err_set(&err, ERR_UPSTREAM, "status %d", answer->status);
    cJSON *json = well ? json_text_parse(answer->body, answer->size, LIST_DEPTH, &err) : NULL;
    bool taken = json && take_list(u, s, json, true, &err);
    int64_t again = (int64_t)s->settings->list_seconds * 1000;
    if (!taken && again > AGAIN_MS)
        again = AGAIN_MS;
    s->list_at = now_ms() + again;
    if (!taken && !s->list_failed) /* once, not every half minute */
        log_err(LOG_WARN, "upstream_models_unknown", &err, "upstream=%s", s->settings->name);
    else if (taken)
        log_event(s->list_failed ? LOG_INFO : LOG_DEBUG, "upstream_models", "upstream=%s",
                  s->settings->name);
    s->list_failed = !taken;
    cJSON_Delete(json);
    if (!taken)
        return;
    pthread_mutex_lock(&u->lock);
    u->look = true;
    pthread_mutex_unlock(&u->lock);
}

static bool is_due(const struct server *s)
{
    return s->settings->listed.count > 0 && !s->listing;
}

int64_t upstream_list_next(struct upstream *u, int64_t now, int64_t next)
{
    for (size_t i = 0; i < u->server_count; i++) {
        struct server *s = &u->servers[i];
        char *url;
        if (is_due(s) && now >= s->list_at &&
            asprintf(&url, "%s%s", s->settings->base_url,
                     s->sdapi      ? UPSTREAM_SDAPI_MODELS
                     : s->workflow ? UPSTREAM_COMFY_MODELS
                                   : "/models") >= 0) {
            struct err err = {0};
            struct fetch_request r = {.url = url,
                                      .key = s->settings->key,
                                      .basic = upstream_is_password(s),
                                      .timeout_ms = LIST_TIMEOUT_MS,
                                      .max_answer = LIST_BYTES};
            s->list_at = now + AGAIN_MS;
            s->listing = fetch_start(u->fetch, &r, on_list, s, &err);
            if (!s->listing)
                upstream_log("models_not_asked", NULL, &err);
            free(url);
        }
        if (is_due(s) && s->list_at < next)
            next = s->list_at;
    }
    return next;
}

bool upstream_list_recall(struct upstream *u, struct server *s, struct err *err)
{
    const struct registry_hashes *memory = &u->parts.memory;
    char option[80];
    if (s->settings->listed.count == 0 || !memory->recall)
        return true;
    option_name(option, sizeof option, s);
    char *text = memory->recall(memory->ctx, option);
    cJSON *json = text ? json_text_parse(text, strlen(text), LIST_DEPTH, NULL) : NULL;
    bool done = !cJSON_IsArray(json) || take_list(u, s, json, false, err);
    cJSON_Delete(json);
    free(text);
    return done;
}
