/* native_keys.c: what `pictor keys` does, for who may administer. A key is in one answer, that of
 * its request, and nowhere else. The first one closes the server to requests without one, so it has
 * to be one that may administer: or nobody could make another from here; and on a server that
 * strangers reach without a key, none of them may close it to the others. */
#include "server/api/native/native_keys.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/base/json_fields.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/queue/queue.h"
#include "server/store/keys.h"
#include "server/store/store.h"

struct given {
    const char *name;
    bool admin, worker;
    struct key_share share;
};

static const struct json_field fields[] = {
    {.name = "name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct given, name),
     .required = true,
     .least = 1,
     .most = KEYS_NAME_SIZE - 1},
    {.name = "admin", .type = JSON_FIELD_BOOL, .offset = offsetof(struct given, admin)},
    {.name = "worker", .type = JSON_FIELD_BOOL, .offset = offsetof(struct given, worker)},
};

/* Those of a request, which are members of keys_share_name's names; what is left out stays. */
static bool take_share(cJSON *body, struct key_share *share, const char **param, struct err *err)
{
    for (size_t i = 0; keys_share_name(i); i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(body, keys_share_name(i));
        if (!item || cJSON_IsNull(item)) {
            cJSON_Delete(item);
            continue;
        }
        *param = keys_share_name(i);
        bool good = cJSON_IsNumber(item) ? keys_share_set(share, i, item->valuedouble, err)
                                         : err_set(err, ERR_INVALID, "%s must be a number", *param);
        cJSON_Delete(item);
        if (!good)
            return false;
    }
    return true;
}

/* The body of a request, its share taken out; NULL: answered. */
static cJSON *body_of(struct http_request *req, struct key_share *share)
{
    struct err err;
    const char *param = NULL;
    cJSON *body = http_json(req, &err);
    if (body && take_share(body, share, &param, &err))
        return body;
    cJSON_Delete(body);
    http_reply_error(req, &err, param);
    return NULL;
}

static bool parse(struct http_request *req, cJSON *body, const struct json_field *f, size_t count,
                  void *out)
{
    struct json_problem problem;
    struct err err;
    if (json_fields_parse(f, count, body, JSON_FIELDS_STRICT, out, &problem))
        return true;
    err_set(&err, ERR_INVALID, "%s", problem.message);
    http_reply_error(req, &err, problem.name);
    return false;
}

/* A limit or the weight is any number: what they may be is keys_share_set's to say. */
static void add_share(cJSON *schema)
{
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (size_t i = 0; keys_share_name(i); i++)
        cJSON_AddStringToObject(cJSON_AddObjectToObject(properties, keys_share_name(i)), "type",
                                "number");
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
}

struct cJSON *native_keys_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, sizeof fields / sizeof *fields);
    add_share(schema);
    return schema;
}

struct cJSON *native_keys_share_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, 0);
    add_share(schema);
    return schema;
}

static cJSON *key_json(const struct key *key)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", key->id);
    cJSON_AddStringToObject(json, "name", key->name);
    cJSON_AddBoolToObject(json, "admin", key->admin);
    cJSON_AddBoolToObject(json, "worker", key->worker);
    cJSON_AddNumberToObject(json, "created_at", (double)key->created_ms);
    cJSON_AddItemToObject(json, "revoked_at",
                          key->revoked_ms ? cJSON_CreateNumber((double)key->revoked_ms)
                                          : cJSON_CreateNull());
    for (size_t i = 0; keys_share_name(i); i++)
        cJSON_AddNumberToObject(json, keys_share_name(i), keys_share_get(&key->share, i));
    return json;
}

static bool list(struct http_request *req, struct key **all, size_t *count)
{
    struct err err;
    if (keys_list(http_app(req)->keys, all, count, &err))
        return true;
    http_reply_error(req, &err, NULL);
    return false;
}

/* What a key takes up now of what the limits are for. */
static bool add_use(cJSON *json, const struct app *app, const char *key_id, struct err *err)
{
    int queued, running;
    size_t inputs, bytes;
    int64_t files;
    if (!queue_depth(app->queue, key_id, &queued, &running, err) ||
        !store_input_waiting(app->store, key_id, &inputs, err) ||
        !store_record_total(app->store, "file", key_id, &files, &bytes, err))
        return false;
    cJSON *use = cJSON_AddObjectToObject(json, "use");
    cJSON_AddNumberToObject(use, "queued", queued);
    cJSON_AddNumberToObject(use, "running", running);
    cJSON_AddNumberToObject(use, "input_bytes", (double)inputs);
    cJSON_AddNumberToObject(use, "files", (double)files);
    cJSON_AddNumberToObject(use, "files_bytes", (double)bytes);
    return true;
}

static void add_limits(cJSON *json, const struct settings *s)
{
    cJSON *limits = cJSON_AddObjectToObject(json, "limits");
    cJSON_AddNumberToObject(limits, "queue", s->max_queue_per_key);
    cJSON_AddNumberToObject(limits, "input_bytes", (double)s->max_input_bytes_per_key);
    cJSON_AddNumberToObject(limits, "files_bytes", (double)s->max_files_bytes_per_key);
    cJSON_AddNumberToObject(limits, "open_requests", s->max_open_requests_per_key);
    cJSON_AddNumberToObject(limits, "requests_per_minute", s->max_requests_per_minute);
}

void native_keys_list(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct key *all;
    size_t count;
    struct err err;
    if (!list(req, &all, &count))
        return;
    cJSON *json = cJSON_CreateObject(), *keys = cJSON_AddArrayToObject(json, "keys");
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        cJSON *item = key_json(&all[i]);
        cJSON_AddItemToArray(keys, item);
        good = all[i].revoked_ms || add_use(item, app, all[i].id, &err);
    }
    free(all);
    add_limits(json, app->settings);
    if (good) {
        http_reply_json(req, 200, json);
        return;
    }
    cJSON_Delete(json);
    http_reply_error(req, &err, NULL);
}

static bool is_open(const struct settings *settings)
{
    struct sockaddr_storage address;
    socklen_t size;
    return !settings_listen_address(settings, &address, &size, NULL) ||
           !settings_is_loopback(&address);
}

static bool make(struct http_request *req, const struct given *g, char plain[KEYS_PLAIN_SIZE],
                 struct key *key, const char **param, struct err *err)
{
    struct keys *keys = http_app(req)->keys;
    bool first = !keys_required(keys, err) && err->code == ERR_NONE;
    *param = "admin";
    if (first && is_open(http_app(req)->settings))
        return err_set(err, ERR_DENIED,
                       "this server listens beyond its own machine: the first key is made there, "
                       "by `pictor keys add NAME --admin`");
    if (first && !g->admin)
        return err_set(err, ERR_INVALID,
                       "admin must be true of the first key: without it nobody may make another");
    *param = "worker";
    if (g->admin && g->worker)
        return err_set(err, ERR_INVALID, "worker: a key that may administer is no worker's");
    *param = "name";
    enum keys_scope scope = g->admin ? KEYS_ADMIN : g->worker ? KEYS_WORKER : KEYS_PAINT;
    return keys_create_with(keys, g->name, scope, &g->share, plain, key, err);
}

void native_keys_add(struct http_request *req)
{
    struct given g;
    struct key key;
    struct err err;
    const char *param = NULL;
    char plain[KEYS_PLAIN_SIZE];
    struct key_share share = KEYS_SHARE_USUAL;
    cJSON *body = body_of(req, &share);
    if (!body)
        return;
    if (!parse(req, body, fields, sizeof fields / sizeof *fields, &g)) {
        cJSON_Delete(body);
        return;
    }
    g.share = share;
    if (!make(req, &g, plain, &key, &param, &err)) {
        http_reply_error(req, &err, err.code == ERR_INVALID ? param : NULL);
    } else {
        cJSON *json = key_json(&key);
        cJSON_AddStringToObject(json, "key", plain);
        explicit_bzero(plain, sizeof plain);
        http_reply_header(req, "Cache-Control", "no-store");
        http_reply_json(req, 201, json);
    }
    cJSON_Delete(body);
}

/* By its id alone: a name may be another key's. False: answered. */
static bool find(struct http_request *req, struct key *found)
{
    struct key *all;
    size_t count;
    struct err err;
    const char *id = http_param(req, "id");
    bool there = false;
    if (!list(req, &all, &count))
        return false;
    for (size_t i = 0; i < count && !there; i++) {
        there = strcmp(all[i].id, id) == 0;
        if (there)
            *found = all[i];
    }
    free(all);
    if (!there) {
        err_set(&err, ERR_NOT_FOUND, "there is no key \"%.40s\"", id);
        http_reply_error(req, &err, NULL);
    }
    return there;
}

void native_keys_set(struct http_request *req)
{
    struct key key;
    struct err err;
    if (!find(req, &key))
        return;
    cJSON *body = body_of(req, &key.share);
    char nothing;
    if (body && parse(req, body, NULL, 0, &nothing)) {
        if (keys_set_share(http_app(req)->keys, key.id, &key.share, &err))
            http_reply_json(req, 200, key_json(&key));
        else
            http_reply_error(req, &err, NULL);
    }
    cJSON_Delete(body);
}

void native_keys_revoke(struct http_request *req)
{
    struct key found;
    struct err err;
    if (!find(req, &found))
        return;
    if (found.revoked_ms || keys_revoke(http_app(req)->keys, found.id, &err))
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err, NULL);
}
