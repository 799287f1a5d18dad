#include "server/api/sdapi/sdapi_embeddings.h"

#include <string.h>

#include <cjson/cJSON.h>

#include "server/api/app.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/http/http.h"
#include "server/job/embeddings.h"

/* What the text encoders of the client's checkpoint take; zeros where that is not known. */
static bool widths_of(struct http_request *req, int out[2], struct err *err)
{
    const struct app *app = http_app(req);
    struct sdapi_model model;
    struct registry_model found = {.name = ""};
    cJSON *options = sdapi_options_load(app, http_key_id(req), err);
    if (!options)
        return false;
    const char *wanted = sdapi_options_text(options, "sd_model_checkpoint");
    if (sdapi_models_find(app, wanted, &model) || sdapi_models_find(app, "", &model))
        registry_resolve(app->registry, model.name, &found, NULL);
    memcpy(out, found.text_widths, sizeof found.text_widths);
    cJSON_Delete(options);
    return true;
}

static void add_text(cJSON *json, const char *key, const char *text)
{
    cJSON_AddItemToObject(json, key, *text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static cJSON *embedding_json(const struct pictor_embedding_info *e)
{
    cJSON *json = cJSON_CreateObject();
    bool said = e->vectors > 0 && e->step >= 0; /* what is broken says nothing */
    cJSON_AddItemToObject(json, "step", said ? cJSON_CreateNumber(e->step) : cJSON_CreateNull());
    add_text(json, "sd_checkpoint", e->checkpoint);
    add_text(json, "sd_checkpoint_name", e->checkpoint_name);
    cJSON_AddNumberToObject(json, "shape", e->widths[0] + e->widths[1]);
    cJSON_AddNumberToObject(json, "vectors", e->vectors);
    return json;
}

void sdapi_embeddings_list(struct http_request *req)
{
    struct registry_table table;
    struct err err;
    int widths[2];
    if (!widths_of(req, widths, &err) ||
        !files_list(registry_files(http_app(req)->registry, FOLDERS_EMBEDDING), &table, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON *loaded = cJSON_AddObjectToObject(json, "loaded");
    cJSON *skipped = cJSON_AddObjectToObject(json, "skipped");
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_entry *e = &table.entries[i];
        const char *name = files_stem(e);
        char why[160];
        bool good =
            e->model.embedding.vectors > 0 && embeddings_fit(&e->model.embedding, widths, why);
        if (e->same != i || cJSON_HasObjectItem(loaded, name) || cJSON_HasObjectItem(skipped, name))
            continue;
        cJSON_AddItemToObject(good ? loaded : skipped, name, embedding_json(&e->model.embedding));
    }
    registry_scan_free(&table);
    sdapi_reply_json(req, json);
}

void sdapi_embeddings_refresh(struct http_request *req)
{
    struct err err;
    if (files_refresh(registry_files(http_app(req)->registry, FOLDERS_EMBEDDING), &err))
        sdapi_reply_null(req);
    else
        sdapi_reply_err(req, &err, NULL);
}
