/* native_compose.c: as one answer, http_work; as a stream, a thread of its own, which outlives
 * nothing that it was given: it and who reads hold the struct, and the last one frees it. */
#include "server/api/native/native_compose.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/base/json_fields.h"
#include "server/base/json_number.h"
#include "server/http/http.h"
#include "server/http/http_error.h"

struct given {
    const char *theme, *model;
    cJSON *seed;
    bool stream;
};

#define AT(member) .offset = offsetof(struct given, member)

static const struct json_field fields[] = {
    {"theme", .type = JSON_FIELD_STRING, AT(theme), .required = true},
    {"model", .type = JSON_FIELD_STRING, AT(model)},
    {"seed", .type = JSON_FIELD_RAW, AT(seed)},
    {"stream", .type = JSON_FIELD_BOOL, AT(stream)},
};
#define FIELDS (sizeof fields / sizeof *fields)

struct composition {
    struct composer composer;
    char *text;
    struct err err;
    /* of streams */
    pthread_mutex_t lock; /* what follows */
    struct http_stream *stream;
    bool over; /* the thread has told all */
    int holders;
    atomic_bool gone;
};

struct cJSON *native_compose_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, FIELDS);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON *seed = cJSON_CreateObject();
    cJSON_AddStringToObject(seed, "type", "integer");
    cJSON_AddNumberToObject(seed, "minimum", -1); /* any */
    cJSON_ReplaceItemInObjectCaseSensitive(properties, "seed", seed);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

static void release(struct composition *c)
{
    pthread_mutex_lock(&c->lock);
    bool last = --c->holders == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&c->lock);
    composer_free(&c->composer);
    free(c->text);
    free(c);
}

static void composition_free(void *ctx)
{
    release(ctx);
}

static cJSON *answer_of(const struct composition *c)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "text", c->text);
    cJSON_AddStringToObject(json, "by", *c->composer.url ? c->composer.model : "pictor");
    cJSON_AddStringToObject(json, "theme", c->composer.theme);
    cJSON_AddItemToObject(json, "seed", json_number_item(c->composer.seed));
    return json;
}

/* ---- as one answer ---- */

static bool work(void *ctx, const atomic_bool *gone)
{
    struct composition *c = ctx;
    c->text = composer_run(&c->composer, gone, NULL, NULL, &c->err);
    return false;
}

static void reply(struct http_request *req, void *ctx)
{
    struct composition *c = ctx;
    if (c->text)
        http_reply_json(req, 200, answer_of(c));
    else
        http_reply_error(req, &c->err, NULL);
}

/* ---- as a stream ---- */

static void tell(struct composition *c, const char *event, cJSON *json)
{
    pthread_mutex_lock(&c->lock);
    if (c->stream)
        http_stream_json(c->stream, event, json);
    else
        cJSON_Delete(json);
    pthread_mutex_unlock(&c->lock);
}

static void on_piece(void *ctx, const char *text, size_t size)
{
    cJSON *json = cJSON_CreateObject();
    (void)size;
    cJSON_AddStringToObject(json, "text", text);
    tell(ctx, "piece", json);
}

/* Nothing follows what was told. */
static void end(struct composition *c)
{
    pthread_mutex_lock(&c->lock);
    c->over = true;
    if (c->stream)
        http_stream_wake(c->stream);
    pthread_mutex_unlock(&c->lock);
    release(c);
}

static void *run(void *arg)
{
    struct composition *c = arg;
    c->text = composer_run(&c->composer, &c->gone, on_piece, c, &c->err);
    if (c->text) {
        tell(c, "done", answer_of(c));
    } else {
        cJSON *json = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(json, "error");
        cJSON_AddStringToObject(error, "code", err_name(c->err.code));
        cJSON_AddStringToObject(error, "message", c->err.msg);
        tell(c, "error", json);
    }
    end(c);
    return NULL;
}

static bool produce(struct http_stream *stream, void *ctx)
{
    struct composition *c = ctx;
    (void)stream;
    pthread_mutex_lock(&c->lock);
    bool over = c->over;
    pthread_mutex_unlock(&c->lock);
    return !over;
}

static void leave(void *ctx)
{
    struct composition *c = ctx;
    atomic_store(&c->gone, true);
    pthread_mutex_lock(&c->lock);
    c->stream = NULL;
    pthread_mutex_unlock(&c->lock);
    release(c);
}

static void start_stream(struct http_request *req, struct composition *c)
{
    pthread_t thread;
    pthread_attr_t attributes;
    c->holders = 2;
    struct http_stream *stream = http_stream_start(req, HTTP_STREAM_EVENTS, produce, leave, c);
    pthread_mutex_lock(&c->lock);
    c->stream = stream;
    pthread_mutex_unlock(&c->lock);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool begun = stream && pthread_create(&thread, &attributes, run, c) == 0;
    pthread_attr_destroy(&attributes);
    if (begun)
        return;
    end(c);
}

/* ---- the request ---- */

static bool read_request(struct http_request *req, cJSON *body, struct composition *c, bool *stream,
                         char param[64], struct err *err)
{
    struct given g = {0};
    struct json_problem problem;
    uint64_t seed;
    if (!json_fields_parse(fields, FIELDS, body, JSON_FIELDS_STRICT, &g, &problem)) {
        snprintf(param, 64, "%s", problem.name);
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    snprintf(param, 64, "seed");
    bool random = !g.seed || cJSON_IsNull(g.seed) ||
                  (cJSON_IsNumber(g.seed) && g.seed->valuedouble == -1);
    if (!random && !(cJSON_IsNumber(g.seed) && g.seed->valuedouble >= 0))
        return err_set(err, ERR_INVALID, "seed: wanted a whole number from 0 on, or -1 for any");
    if (!composing_seed(random ? NULL : g.seed, &seed, err))
        return false;
    snprintf(param, 64, "theme");
    *stream = g.stream;
    return composing_init(http_app(req), g.theme, g.model, seed, &c->composer, err);
}

void native_compose(struct http_request *req)
{
    char param[64] = "";
    struct err err = {0};
    bool stream = false;
    struct composition *c = calloc(1, sizeof *c);
    cJSON *body = c ? http_json(req, &err) : NULL;
    if (!c)
        err_set(&err, ERR_INTERNAL, "no memory for a request");
    if (!body || !read_request(req, body, c, &stream, param, &err)) {
        http_reply_error(req, &err, param);
        cJSON_Delete(body);
        free(c);
        return;
    }
    cJSON_Delete(body);
    pthread_mutex_init(&c->lock, NULL);
    c->holders = 1;
    if (stream) {
        start_stream(req, c);
    } else if (composer_asks(http_app(req)->settings)) {
        http_work_far(req, work, reply, c, composition_free);
    } else {
        work(c, NULL);
        reply(req, c);
        release(c);
    }
}
