/* native_webhook.c: the rows of webhooks; native_teller.c tells them. */
#include "server/api/native/native_webhook.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/store/store.h"

#define OF_KEY 20
#define SECRET_BYTES 32
#define PREFIX "whsec_"

struct request {
    const char *url, *secret;
    cJSON *states;
    bool all;
};

static const struct json_field fields[] = {
    {"url", .type = JSON_FIELD_STRING, .offset = offsetof(struct request, url), .required = true,
     .least = 1, .most = STORE_URL_SIZE / 4},
    {"secret", .type = JSON_FIELD_STRING, .offset = offsetof(struct request, secret), .least = 1,
     .most = 120},
    {"states", .type = JSON_FIELD_RAW, .offset = offsetof(struct request, states)},
    {"all", .type = JSON_FIELD_BOOL, .offset = offsetof(struct request, all)},
};
#define FIELDS (sizeof fields / sizeof *fields)

struct cJSON *native_webhook_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, FIELDS);
    cJSON_ReplaceItemInObjectCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(schema, "properties"), "states",
        json_text_constant("{\"type\": \"array\", \"minItems\": 1, \"items\": {\"enum\": "
                           "[\"done\", \"failed\", \"cancelled\"]}}"));
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

static cJSON *webhook_json(const struct store_webhook *w)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", w->id);
    cJSON_AddStringToObject(json, "url", w->url);
    cJSON *states = cJSON_AddArrayToObject(json, "states");
    for (enum job_state s = JOB_DONE; s <= JOB_CANCELLED; s++)
        if (strstr(w->states, job_state_name(s)))
            cJSON_AddItemToArray(states, cJSON_CreateString(job_state_name(s)));
    cJSON_AddBoolToObject(json, "all", w->every);
    cJSON_AddNumberToObject(json, "created_at", (double)w->created_ms);
    cJSON_AddNumberToObject(json, "told", (double)w->told);
    cJSON_AddNumberToObject(json, "pending", w->pending);
    cJSON_AddNumberToObject(json, "failed", w->failed);
    cJSON_AddItemToObject(json, "last_at", w->last_ms ? cJSON_CreateNumber((double)w->last_ms)
                                                      : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "last_error", *w->last_error ? cJSON_CreateString(w->last_error)
                                                             : cJSON_CreateNull());
    return json;
}

/* ---- what is asked for ---- */

/* Where it leads is looked at when it is connected to. */
static bool check_url(const char *url, struct err *err)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
                    : strncasecmp(url, "http://", 7) == 0 ? 7
                                                          : 0;
    bool fine = scheme > 0 && url[scheme] && url[scheme] != '/' && !strchr(url, '@') &&
                strlen(url) < STORE_URL_SIZE;
    for (const char *at = url; *at && fine; at++)
        fine = (unsigned char)*at > ' ' && (unsigned char)*at < 0x7f;
    return fine || err_set(err, ERR_INVALID,
                           "url: wanted an address of http or https in ASCII, without a name and "
                           "password, got \"%.60s\"",
                           url);
}

static bool read_states(const cJSON *list, struct store_webhook *w, struct err *err)
{
    const cJSON *item;
    enum job_state state;
    if (!list) {
        snprintf(w->states, sizeof w->states, "done failed cancelled");
        return true;
    }
    bool fine = cJSON_IsArray(list) && list->child;
    cJSON_ArrayForEach(item, list)
    {
        fine = fine && cJSON_IsString(item) && job_state_of(item->valuestring, &state) &&
               job_state_is_final(state);
        if (fine && !strstr(w->states, item->valuestring))
            snprintf(w->states + strlen(w->states), sizeof w->states - strlen(w->states), "%s%s",
                     *w->states ? " " : "", item->valuestring);
    }
    return fine || err_set(err, ERR_INVALID,
                           "states: wanted a list of done, failed and cancelled, one at least");
}

static bool read_secret(const char *given, struct store_webhook *w, struct err *err)
{
    uint8_t random[SECRET_BYTES], *key = NULL;
    size_t size = 0;
    if (!given) {
        if (getrandom(random, sizeof random, 0) != sizeof random)
            return err_set(err, ERR_INTERNAL, "no random secret");
        char *end = base64_encode_to(w->secret + sprintf(w->secret, PREFIX), random, sizeof random);
        *end = '\0';
        return true;
    }
    bool fine = strncmp(given, PREFIX, strlen(PREFIX)) == 0 && strlen(given) < sizeof w->secret &&
                base64_decode(given + strlen(PREFIX), strlen(given) - strlen(PREFIX), &key, &size,
                              NULL) &&
                size >= 24 && size <= 64;
    free(key);
    snprintf(w->secret, sizeof w->secret, "%s", given);
    return fine || err_set(err, ERR_INVALID,
                           "secret: wanted \"" PREFIX "\" and 24 to 64 bytes in base64");
}

static bool read_request(struct http_request *req, const cJSON *body, struct store_webhook *w,
                         char param[64], struct err *err)
{
    struct request r;
    struct json_problem problem;
    if (!json_fields_parse(fields, FIELDS, (cJSON *)body, JSON_FIELDS_STRICT, &r, &problem)) {
        snprintf(param, 64, "%s", problem.name);
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    snprintf(param, 64, "all");
    if (r.all && !http_is_admin(req))
        return err_set(err, ERR_DENIED, "all takes a key with the right to administer");
    snprintf(param, 64, "url");
    if (!check_url(r.url, err))
        return false;
    snprintf(param, 64, "states");
    if (!read_states(r.states, w, err))
        return false;
    snprintf(param, 64, "secret");
    if (!read_secret(r.secret, w, err))
        return false;
    param[0] = '\0';
    w->every = r.all;
    snprintf(w->url, sizeof w->url, "%s", r.url);
    snprintf(w->key_id, sizeof w->key_id, "%s", http_key_id(req));
    w->created_ms = now_unix_ms();
    return ids_random(w->id, JOB_ID_SIZE - 1, err);
}

static bool has_room(struct http_request *req, struct err *err)
{
    struct store_webhook *rows;
    size_t count;
    if (!store_webhook_list(http_app(req)->store, NULL, http_key_id(req), &rows, &count, err))
        return false;
    free(rows);
    return count < OF_KEY ||
           err_set(err, ERR_BUSY, "a key has at most %d webhooks: remove one", OF_KEY);
}

/* ---- the routes ---- */

void native_webhook_add(struct http_request *req)
{
    struct store_webhook w = {0};
    struct err err;
    char param[64] = "";
    cJSON *body = http_json(req, &err);
    if (body && read_request(req, body, &w, param, &err) && has_room(req, &err) &&
        store_webhook_put(http_app(req)->store, &w, &err)) {
        cJSON *json = webhook_json(&w);
        cJSON_AddStringToObject(json, "secret", w.secret); /* this once */
        http_reply_json(req, 201, json);
    } else {
        http_reply_error(req, &err, param);
    }
    cJSON_Delete(body);
}

void native_webhook_list(struct http_request *req)
{
    struct store_webhook *rows;
    size_t count;
    struct err err;
    if (!store_webhook_list(http_app(req)->store, NULL, http_visible_key(req), &rows, &count,
                            &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "webhooks");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, webhook_json(&rows[i]));
    free(rows);
    http_reply_json(req, 200, json);
}

void native_webhook_delete(struct http_request *req)
{
    struct err err;
    if (store_webhook_delete(http_app(req)->store, http_param(req, "id"), http_visible_key(req),
                             &err))
        http_reply_empty(req, 204);
    else
        http_reply_error(req, &err, NULL);
}
