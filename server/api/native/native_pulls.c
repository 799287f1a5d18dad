/* native_pulls.c: each a call of server/pull. */
#include "server/api/native/native_pulls.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/base/json_fields.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/pull/pull_catalogue.h"
#include "server/pull/pulls.h"

static void add_text(cJSON *json, const char *name, const char *text)
{
    cJSON_AddItemToObject(json, name, *text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static void add_number(cJSON *json, const char *name, double number)
{
    cJSON_AddItemToObject(json, name, number > 0 ? cJSON_CreateNumber(number) : cJSON_CreateNull());
}

static cJSON *pull_json(const struct pulls_entry *e)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", e->id);
    cJSON_AddStringToObject(json, "ref", e->ref);
    add_text(json, "file", e->name);
    cJSON_AddStringToObject(json, "state", pulls_state_name(e->state));
    add_text(json, "kind", e->kind < PICTOR_KIND_UNKNOWN ? pictor_kind_name(e->kind) : "");
    cJSON_AddNumberToObject(json, "bytes", (double)e->done);
    add_number(json, "total", (double)e->total);
    add_number(json, "rate", e->rate);
    double left = e->total > e->done ? (double)(e->total - e->done) : 0;
    add_number(json, "eta_seconds", e->rate > 0 ? left / e->rate : 0);
    cJSON_AddNumberToObject(json, "created_ms", (double)e->created_ms);
    add_number(json, "ended_ms", (double)e->ended_ms);
    if (e->fault == ERR_NONE) {
        cJSON_AddNullToObject(json, "error");
    } else {
        cJSON *error = cJSON_AddObjectToObject(json, "error");
        cJSON_AddStringToObject(error, "code", err_name(e->fault));
        cJSON_AddStringToObject(error, "message", e->problem);
    }
    return json;
}

/* What an order may be refused for is its state, but for a name that is unknown. */
static void reply_order(struct http_request *req, bool done, const struct pulls_entry *e,
                        const struct err *err)
{
    struct http_problem conflict = {409, err->code, err->msg, NULL};
    if (done)
        http_reply_json(req, 200, pull_json(e));
    else if (err->code == ERR_INVALID)
        native_error(req, &conflict);
    else
        http_reply_error(req, err, NULL);
}

struct order {
    const char *ref, *name, *sha256;
};

static const struct json_field fields[] = {
    {.name = "ref",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct order, ref),
     .required = true,
     .least = 1,
     .most = PULLS_REF - 1},
    {.name = "name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct order, name),
     .most = PULL_SOURCE_NAME,
     .text = ""},
    {.name = "sha256",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct order, sha256),
     .most = 64,
     .text = ""},
};
#define FIELDS (sizeof fields / sizeof *fields)

struct cJSON *native_pulls_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, FIELDS);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

void native_pulls_add(struct http_request *req)
{
    struct order order;
    struct pulls_entry e;
    struct err err;
    cJSON *body = native_body(req, fields, FIELDS, &order);
    if (!body)
        return;
    if (!pulls_add(http_app(req)->pulls, order.ref, order.name, order.sha256, &e, &err)) {
        http_reply_error(req, &err, NULL);
    } else {
        char location[64];
        snprintf(location, sizeof location, "/api/pulls/%s", e.id);
        http_reply_header(req, "Location", location);
        http_reply_json(req, 202, pull_json(&e));
    }
    cJSON_Delete(body);
}

static cJSON *catalogue_json(void)
{
    const struct pull_catalogue_entry *c;
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; (c = pull_catalogue_at(i)); i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", c->name);
        cJSON_AddStringToObject(item, "ref", c->ref);
        cJSON_AddNumberToObject(item, "megabytes", pull_catalogue_megabytes(c));
        add_text(item, "family", c->family);
        cJSON_AddStringToObject(item, "licence", c->licence);
        cJSON_AddStringToObject(item, "use", c->use);
        cJSON *needs = cJSON_AddArrayToObject(item, "needs");
        for (int k = 0; c->needs[k]; k++)
            cJSON_AddItemToArray(needs, cJSON_CreateString(c->needs[k]));
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

void native_pulls_list(struct http_request *req)
{
    struct pulls_entry *list;
    struct err err;
    size_t count;
    if (!pulls_list(http_app(req)->pulls, &list, &count, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON *items = cJSON_AddArrayToObject(json, "pulls");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(items, pull_json(&list[i]));
    cJSON_AddItemToObject(json, "catalogue", catalogue_json());
    free(list);
    http_reply_json(req, 200, json);
}

void native_pulls_get(struct http_request *req)
{
    struct pulls_entry e;
    struct err err;
    if (pulls_get(http_app(req)->pulls, http_param(req, "id"), &e, &err))
        http_reply_json(req, 200, pull_json(&e));
    else
        http_reply_error(req, &err, NULL);
}

void native_pulls_cancel(struct http_request *req)
{
    struct pulls_entry e;
    struct err err = {0};
    bool done = pulls_stop(http_app(req)->pulls, http_param(req, "id"), &e, &err);
    reply_order(req, done, &e, &err);
}

void native_pulls_resume(struct http_request *req)
{
    struct pulls_entry e;
    struct err err = {0};
    bool done = pulls_resume(http_app(req)->pulls, http_param(req, "id"), &e, &err);
    reply_order(req, done, &e, &err);
}

void native_pulls_delete(struct http_request *req)
{
    struct err err = {0};
    struct http_problem conflict;
    if (pulls_remove(http_app(req)->pulls, http_param(req, "id"), &err)) {
        http_reply_empty(req, 204);
        return;
    }
    conflict = (struct http_problem){409, err.code, err.msg, NULL};
    if (err.code == ERR_INVALID || err.code == ERR_BUSY)
        native_error(req, &conflict);
    else
        http_reply_error(req, &err, NULL);
}
