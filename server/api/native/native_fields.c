/* native_fields.c: the fields of a job as clients learn of them, from the one table, so that no
 * client (the page is one) needs a list of its own. */
#include "server/api/native/native_fields.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/api/native/native.h"
#include "server/api/native/native_job.h"
#include "server/api/app.h"
#include "server/base/json_fields.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/files.h"
#include "server/job/infotext_job.h"
#include "server/job/registry.h"

/* The names of files beside those that the table knows. */
static void add_upscalers(cJSON *schema, struct files *files)
{
    struct registry_table table;
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON *field = cJSON_GetObjectItemCaseSensitive(properties, "hires_upscaler");
    cJSON *names = cJSON_GetObjectItemCaseSensitive(field, "examples");
    struct err err;
    if (!files_list(files, &table, &err)) {
        log_err(LOG_WARN, "upscalers_not_read", &err, " ");
        return;
    }
    for (size_t i = 0; i < table.count; i++)
        if (table.entries[i].same == i)
            cJSON_AddItemToArray(names, cJSON_CreateString(table.entries[i].model.name));
    registry_scan_free(&table);
}

void native_fields_schema(struct http_request *req)
{
    const struct app *app = http_app(req);
    cJSON *schema = native_job_schema(app->settings);
    add_upscalers(schema, registry_files(app->registry, FOLDERS_UPSCALER));
    http_reply_json(req, 200, schema);
}

/* The registry's name of a model that a text names by its file's stem, or NULL. Owned. */
static char *model_of(struct registry *registry, const char *stem)
{
    struct registry_model *models;
    size_t count;
    char *found = NULL;
    if (!registry_list(registry, &models, &count, NULL))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *slash = strrchr(models[i].name, '/');
        bool whole = strcmp(models[i].name, stem) == 0;
        if (whole || (!found && slash && strcmp(slash + 1, stem) == 0)) {
            free(found);
            found = strdup(models[i].name);
        }
        if (whole)
            break;
    }
    free(models);
    return found;
}

/* The fields that the text speaks of; a model only if there is one here. */
static cJSON *params_json(struct registry *registry, struct job_params *p,
                          const bool said[JOB_TABLE_MAX])
{
    char *model = p->model ? model_of(registry, p->model) : NULL;
    free(p->model);
    p->model = model;
    cJSON *json = native_job_params_to_json(p);
    for (size_t i = 0; i < job_table.count; i++)
        if (!said[i] || job_field_is_empty(&job_table.fields[i], p))
            cJSON_DeleteItemFromObjectCaseSensitive(json, job_table.fields[i].name);
    return json;
}

static const struct json_field fields[] = {
    {"text", .type = JSON_FIELD_STRING, .required = true}};

struct cJSON *native_fields_infotext_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, 1);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

void native_fields_infotext(struct http_request *req)
{
    const char *text;
    struct infotext t = {0};
    struct job_params p;
    bool said[JOB_TABLE_MAX];
    struct err err;
    cJSON *body = native_body(req, fields, 1, &text);
    if (!body)
        return;
    job_params_init(&p);
    if (infotext_read(&t, text) ? infotext_to_job(&t, &job_table, &p, said, &err)
                                : err_set(&err, ERR_INTERNAL, "no memory for an infotext")) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "params", params_json(http_app(req)->registry, &p, said));
        http_reply_json(req, 200, json);
    } else {
        http_reply_error(req, &err, NULL);
    }
    job_params_free(&p);
    infotext_free(&t);
    cJSON_Delete(body);
}
