/* sdapi_models.c: checkpoints by title, name, file or hash, as clients of the WebUI write them. */
#include "server/api/sdapi/sdapi_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/api/models_wait.h"
#include "server/http/http.h"

#define HASH_SIZE 10 /* digits of the SHA-256 in titles */

void sdapi_models_of(const struct registry_model *model, struct sdapi_model *out)
{
    const char *ending = model->named_whole ? "" : model->ending;
    const char *slash = strrchr(model->name, '/');

    *out = (struct sdapi_model){.upstream = model->kind == REGISTRY_UPSTREAM};
    snprintf(out->name, sizeof out->name, "%s", model->name);
    snprintf(out->sha256, sizeof out->sha256, "%s", model->sha256);
    snprintf(out->file, sizeof out->file, "%s%s", model->name, ending);
    snprintf(out->flat, sizeof out->flat, "%s", model->name);
    for (char *c = out->flat; *c; c++)
        if (*c == '/')
            *c = '_';
    snprintf(out->stem, sizeof out->stem, "%s", slash ? slash + 1 : model->name);
    if (*out->sha256)
        snprintf(out->title, sizeof out->title, "%s%s [%.*s]", model->name, ending, HASH_SIZE,
                 out->sha256);
    else
        snprintf(out->title, sizeof out->title, "%s", out->file);
}

/* Compares up to the " [hash]" that a title ends in: a client may hold an older one. */
static bool same(const char *name, const char *text)
{
    size_t n = strlen(text);
    if (n > HASH_SIZE + 3 && text[n - 1] == ']' && memcmp(text + n - HASH_SIZE - 3, " [", 2) == 0)
        n -= HASH_SIZE + 3;
    return strlen(name) == n && strncasecmp(name, text, n) == 0;
}

bool sdapi_models_match(const struct sdapi_model *m, const char *text, bool loose)
{
    if (same(m->name, text) || same(m->file, text) || same(m->flat, text))
        return true;
    size_t n = strlen(text);
    if (*m->sha256 && (n == HASH_SIZE || n == 64) && strncasecmp(m->sha256, text, n) == 0)
        return true;
    if (!loose)
        return false;
    const char *slash = strrchr(m->file, '/');
    return same(m->stem, text) || (slash && same(slash + 1, text));
}

bool sdapi_models_find(const struct app *app, const char *text, struct sdapi_model *out)
{
    struct registry_model *list;
    size_t count;
    struct err err;
    if (*text && registry_list(app->registry, &list, &count, &err)) {
        for (int loose = 0; loose < 2; loose++) {
            for (size_t i = 0; i < count; i++) {
                sdapi_models_of(&list[i], out);
                if (sdapi_models_match(out, text, loose)) {
                    free(list);
                    return true;
                }
            }
        }
        free(list);
    }
    /* The default, an alias, or a file that came since the last look. */
    struct registry_model *model = malloc(sizeof *model);
    bool found = model && registry_resolve(app->registry, text, model, &err);
    if (found)
        sdapi_models_of(model, out);
    free(model);
    return found;
}

static cJSON *model_json(const struct sdapi_model *m)
{
    char hash[HASH_SIZE + 1];
    snprintf(hash, sizeof hash, "%.*s", HASH_SIZE, m->sha256);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "title", m->title);
    cJSON_AddStringToObject(json, "model_name", m->flat);
    cJSON_AddItemToObject(json, "hash", *hash ? cJSON_CreateString(hash) : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "sha256",
                          *m->sha256 ? cJSON_CreateString(m->sha256) : cJSON_CreateNull());
    /* Below the models folder: where that lies is nobody's business. */
    cJSON_AddStringToObject(json, "filename", m->file);
    cJSON_AddNullToObject(json, "config");
    return json;
}

static void reply_list(struct http_request *req)
{
    struct registry_model *list;
    size_t count;
    struct err err;
    if (!registry_list(http_app(req)->registry, &list, &count, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++) {
        struct sdapi_model model;
        sdapi_models_of(&list[i], &model);
        cJSON_AddItemToArray(json, model_json(&model));
    }
    free(list);
    sdapi_reply_json(req, json);
}

void sdapi_models_list(struct http_request *req)
{
    models_wait(req, reply_list);
}
