/* native_worker.c: gives jobs out: a claim waits for one, and the order says what is to be painted.
 *
 * To say it, files are opened, and the first time read for their SHA-256, which for a large model
 * takes longer than a lease. So a job whose files are not known is put back, without an attempt,
 * and the worker that asked comes again when they are. */
#include "server/api/native/native_worker.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/api/native/native_workers.h"
#include "server/base/json_fields.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/job/registry.h"
#include "server/paint/fit.h"
#include "server/paint/result.h"
#include "server/paint/task.h"
#include "server/queue/events.h"
#include "server/queue/roster.h"

#define WAIT_MOST 60
#define BYTES_MOST 9007199254740992.0
#define SECONDS_MOST 1e9

void native_worker_parts(const struct app *app, struct dispatch_parts *out)
{
    *out = (struct dispatch_parts){.settings = app->settings,
                                   .queue = app->queue,
                                   .events = app->events,
                                   .registry = app->registry,
                                   .codec = app->codec,
                                   .tally = app->tally,
                                   .roster = app->roster};
}

/* ---- what is to be painted ---- */

struct order {
    struct native_worker_call call;
    struct job job; /* of a claim, until a task takes it */
    struct task *task;
    bool claimed; /* now, and not given out yet: it goes back unless it is */
    bool hashing;
    struct cJSON *json;
    struct err err;
};

static void order_free(void *ctx)
{
    struct order *o = ctx;
    if (o->claimed)
        queue_put_back(o->call.parts.queue, &o->call.claim, "its worker did not take it", NULL);
    job_free(&o->job);
    if (o->task)
        task_free(o->task);
    cJSON_Delete(o->json);
    free(o);
}

/* The job cannot be painted, by anybody: as the painter beside the server says it. */
static void fail(struct order *o)
{
    struct err err;
    log_err(LOG_WARN, "job_failed", &o->err, "job=%s", o->call.claim.job_id);
    queue_fail(o->call.parts.queue, &o->call.claim, &o->err, &err);
    o->claimed = false;
}

static void make(struct order *o)
{
    const struct dispatch_parts *parts = &o->call.parts;
    struct err err;
    o->json = afar_order(parts, o->task, &o->err);
    if (o->json || o->err.code != ERR_BUSY)
        return;
    if (afar_unreadable(parts, o->task, &o->err)) {
        fail(o);
        return;
    }
    o->hashing = true;
    if (o->claimed &&
        queue_put_back(parts->queue, &o->call.claim, "its files are read first", &err))
        o->claimed = false;
}

static bool work(void *ctx, const atomic_bool *gone)
{
    struct order *o = ctx;
    const struct dispatch_parts *parts = &o->call.parts;
    (void)gone; /* what was read is remembered for the next */
    o->err.code = ERR_NONE;
    if (o->hashing)
        return afar_hash(parts, o->task, &o->err);
    if (o->claimed) {
        o->task = afar_open(parts, &o->call.claim, &o->job, -1, &o->err);
        if (!o->task) {
            fail(o);
            return false;
        }
        if (o->task->index < 0) { /* a server ended between the last picture and saying so */
            queue_finish(parts->queue, &o->call.claim, &o->err);
            o->claimed = false;
            return false;
        }
    } else if (!(o->task = native_worker_open(&o->call, &o->err))) {
        return false;
    }
    make(o);
    return o->hashing;
}

static void reply(struct http_request *req, void *ctx)
{
    struct order *o = ctx;
    if (o->json) {
        o->claimed = false;
        http_reply_json(req, 200, o->json);
        o->json = NULL;
    } else if (o->task && o->hashing && o->err.code == ERR_NONE) {
        http_reply_empty(req, 204);
    } else if (o->call.index == -1 && !o->hashing) { /* of a claim: the next may have more luck */
        http_reply_empty(req, 204);
    } else {
        http_reply_error(req, &o->err, NULL);
    }
}

/* ---- claims ---- */

struct given {
    const char *name;
    int protocol, wait;
    struct native_worker_about about;
};

#define AT(member) .offset = offsetof(struct given, about.member)
static const struct json_field fields[] = {
    {"name",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct given, name),
     .required = true,
     .least = 1,
     .most = AFAR_NAME_MAX},
    {"protocol",
     .type = JSON_FIELD_INT,
     .offset = offsetof(struct given, protocol),
     .required = true,
     .least = 1,
     .most = INT32_MAX},
    {"wait", .type = JSON_FIELD_INT, .offset = offsetof(struct given, wait), .most = WAIT_MOST},
    {"version", .type = JSON_FIELD_STRING, AT(version), .most = 31},
    {"host", .type = JSON_FIELD_STRING, AT(host), .most = 63},
    {"device", .type = JSON_FIELD_STRING, AT(device), .most = 127},
    {"memory", .type = JSON_FIELD_DOUBLE, AT(memory), .most = BYTES_MOST},
    {"disk", .type = JSON_FIELD_DOUBLE, AT(disk), .most = BYTES_MOST},
    {"step_seconds", .type = JSON_FIELD_DOUBLE, AT(step_seconds), .most = SECONDS_MOST},
    {"pace", .type = JSON_FIELD_DOUBLE, AT(pace), .most = SECONDS_MOST},
    {"families", .type = JSON_FIELD_RAW, AT(families)},
    {"files", .type = JSON_FIELD_RAW, AT(files)},
    {"models", .type = JSON_FIELD_RAW, AT(models)},
    {"warm", .type = JSON_FIELD_RAW, AT(warm)},
};
#undef AT

struct cJSON *native_worker_claim_schema(const struct settings *settings)
{
    (void)settings;
    cJSON *schema = json_fields_schema(fields, sizeof fields / sizeof *fields);
    native_workers_schema(cJSON_GetObjectItemCaseSensitive(schema, "properties"));
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

struct waiting {
    const struct app *app;
    struct http_request *req;
    struct subscription *subscription;
    char owner[AFAR_OWNER_SIZE];
    int64_t until;
    bool answered;
    struct fit *fit;
    struct queue_taste taste;
    atomic_bool left; /* a job was left to another worker */
};

static void waiting_free(void *ctx)
{
    struct waiting *w = ctx;
    if (!w->answered) /* it is gone, or this server stops */
        roster_doing(w->app->roster, w->owner, ROSTER_AWAY, NULL);
    events_unsubscribe(w->subscription);
    fit_free(w->fit);
    free(w);
}

static bool claim(struct waiting *w, struct order *o)
{
    const char **names;
    size_t count;
    if (!fit_names(w->fit, &names, &count, &o->err))
        return false;
    roster_refresh(w->app->roster);
    o->claimed = queue_claim_taste(w->app->queue, w->owner, names, count, &w->taste, &o->job,
                                   &o->call.claim, &o->err);
    free(names);
    atomic_store(&w->left, w->taste.left);
    if (o->claimed)
        roster_passing(w->app->roster, w->owner, &w->taste.passing_ms);
    return o->claimed;
}

/* 1: there is a job, and the request waits for its order; 0: none; -1: it has replied. */
static int try(struct http_request *req, struct waiting *w)
{
    char model[300];
    struct order *o = calloc(1, sizeof *o);
    if (!o)
        return 0;
    o->call.index = -1;
    o->call.app = w->app;
    native_worker_parts(w->app, &o->call.parts);
    memcpy(o->call.owner, w->owner, sizeof o->call.owner);
    if (!claim(w, o)) {
        bool none = o->err.code == ERR_NONE || err_is_passing(o->err.code);
        if (!none)
            http_reply_error(req, &o->err, NULL);
        order_free(o);
        return none ? 0 : -1;
    }
    roster_doing(w->app->roster, w->owner, ROSTER_PAINTING, o->job.id);
    log_event(LOG_INFO, "job_started", "job=%s attempt=%d model=%s owner=%s", o->job.id,
              o->job.attempts, log_quote(model, sizeof model, o->job.params.model), w->owner);
    http_work_far_on(req, work, reply, o, order_free); /* a model is read for minutes */
    return 1;
}

static bool look(struct http_request *req, void *ctx)
{
    struct waiting *w = ctx;
    w->answered = try(req, w) != 0;
    if (w->answered)
        return true;
    if (now_ms() < w->until)
        return false;
    http_reply_empty(req, 204);
    w->answered = true;
    return true;
}

static void on_event(void *ctx, const struct event *event)
{
    struct waiting *w = ctx;
    if ((event->kind == EVENT_STATE &&
         (event->state == JOB_QUEUED || (event->state == JOB_RUNNING && atomic_load(&w->left)))) ||
        event->kind == EVENT_TROUBLE || event->kind == EVENT_QUEUE)
        http_wait_wake(w->req);
}

void native_worker_claim(struct http_request *req)
{
    static const struct http_waiter waiter = {look, NULL, waiting_free};
    const struct app *app = http_app(req);
    struct given g;
    struct err err;
    cJSON *body = native_body(req, fields, sizeof fields / sizeof *fields, &g);
    if (!body)
        return;
    if (g.protocol < AFAR_PROTOCOL_LEAST || g.protocol > AFAR_PROTOCOL) {
        err_set(&err, ERR_INVALID,
                "worker and server are of different versions: wanted protocol %d to %d, got %d",
                AFAR_PROTOCOL_LEAST, AFAR_PROTOCOL, g.protocol);
        http_reply_error(req, &err, "protocol");
        cJSON_Delete(body);
        return;
    }
    const char *param = NULL;
    struct roster_worker self = {0};
    struct waiting *w = calloc(1, sizeof *w);
    if (w)
        w->req = req;
    if (!w)
        err_set(&err, ERR_UNAVAILABLE, "no memory for a request");
    param = "name";
    if (w && afar_owner(w->owner, http_key_id(req), g.name, &err) &&
        native_workers_about(&g.about, w->owner, &self, &param, &err) &&
        (w->fit = fit_new(app->roster, app->registry, &self, &err)) &&
        (w->subscription = events_subscribe(app->events, NULL, on_event, w, &err))) {
        fit_taste(w->fit, &w->taste);
        w->app = app;
        w->until = now_ms() + (int64_t)g.wait * 1000;
        roster_tell(app->roster, &self);
        roster_passed(app->roster, w->owner, &w->taste.passing_ms);
        http_wait(req, &waiter, w);
    } else {
        http_reply_error(req, &err, err.code == ERR_INVALID ? param : NULL);
        if (w)
            fit_free(w->fit);
        free(w);
    }
    roster_worker_free(&self);
    cJSON_Delete(body);
}

/* ---- a job that is held ---- */

bool native_worker_call(struct http_request *req, struct native_worker_call *out)
{
    struct err err;
    int64_t token, index;
    const char *worker = http_query(req, "worker"), *param = "token", *job = http_query(req, "job");
    const char *id = *http_param(req, "id") ? http_param(req, "id") : job ? job : "";
    *out = (struct native_worker_call){.app = http_app(req)};
    native_worker_parts(out->app, &out->parts);
    bool good = http_query_number(req, "token", 1, INT64_MAX, 0, &token, &err);
    good = good &&
           (token > 0 || err_set(&err, ERR_INVALID, "token is missing: the claim's number"));
    if (good)
        good = http_query_number(req, param = "index", 0, INT32_MAX, 0, &index, &err);
    param = good ? "worker" : param;
    good = good && afar_owner(out->owner, http_key_id(req), worker ? worker : "", &err);
    if (good) {
        snprintf(out->claim.job_id, sizeof out->claim.job_id, "%s", id);
        out->claim.token = token;
        out->claim.afar = true;
        out->index = (int)index;
        good = queue_hold(out->parts.queue, &out->claim, out->owner, &out->held, &err);
        if (!good && (err.code == ERR_CANCELLED || err.code == ERR_NOT_FOUND))
            roster_lost(out->app->roster, out->owner, id);
        param = NULL;
    }
    if (good && out->index >= out->held.count) {
        good = err_set(&err, ERR_INVALID, "index: the job has %d pictures, got %d", out->held.count,
                       out->index);
        param = "index";
    }
    if (!good)
        http_reply_error(req, &err, param);
    return good;
}

struct task *native_worker_open(const struct native_worker_call *call, struct err *err)
{
    struct job job;
    struct queue_held held;
    if (!queue_hold(call->parts.queue, &call->claim, call->owner, &held, err) ||
        !queue_get(call->parts.queue, call->claim.job_id, NULL, &job, err))
        return NULL;
    return afar_open(&call->parts, &call->claim, &job, call->index, err);
}

void native_worker_order(struct http_request *req)
{
    struct native_worker_call call;
    struct err err;
    if (!native_worker_call(req, &call))
        return;
    struct order *o = calloc(1, sizeof *o);
    if (!o) {
        err_set(&err, ERR_UNAVAILABLE, "no memory for a request");
        http_reply_error(req, &err, NULL);
        return;
    }
    o->call = call;
    http_work_far_on(req, work, reply, o, order_free);
}
