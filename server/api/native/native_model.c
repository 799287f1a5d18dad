/* native_model.c: what is done with models by hand, by who may administer: one is loaded before it
 * is painted with, and one is the default. */
#include "server/api/native/native_model.h"

#include <cjson/cJSON.h>
#include <stddef.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/base/json_fields.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/registry.h"
#include "server/paint/dispatch.h"

struct given {
    const char *model;
};

static const struct json_field loaded[] = {
    {"model",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct given, model),
     .required = true,
     .least = 1},
};
static const struct json_field chosen[] = {
    {"model", .type = JSON_FIELD_STRING, .offset = offsetof(struct given, model)},
};

static cJSON *schema_of(const struct json_field *fields)
{
    cJSON *schema = json_fields_schema(fields, 1);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

cJSON *native_model_load_schema(const struct settings *settings)
{
    (void)settings;
    return schema_of(loaded);
}

cJSON *native_model_default_schema(const struct settings *settings)
{
    (void)settings;
    return schema_of(chosen);
}

void native_model_load(struct http_request *req)
{
    struct given g;
    struct registry_model model;
    struct err err;
    cJSON *body = native_body(req, loaded, 1, &g);
    if (!body)
        return;
    bool found = registry_resolve(http_app(req)->registry, g.model, &model, &err);
    if (found && model.kind != REGISTRY_LOCAL)
        found = err_set(&err, ERR_INVALID, "the model is another server's: wanted one of this one");
    if (found) {
        dispatch_load(http_app(req)->dispatch, model.name);
        http_reply_json(req, 202, cJSON_CreateObject());
    } else {
        http_reply_error(req, &err, "model");
    }
    cJSON_Delete(body);
}

void native_model_default(struct http_request *req)
{
    struct given g;
    struct registry_model model = {.name = ""};
    struct err err;
    struct registry *registry = http_app(req)->registry;
    cJSON *body = native_body(req, chosen, 1, &g);
    if (!body)
        return;
    bool named = g.model && *g.model;
    if ((!named || registry_resolve(registry, g.model, &model, &err)) &&
        registry_set_default(registry, model.name, &err))
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err, named ? "model" : NULL);
    cJSON_Delete(body);
}
