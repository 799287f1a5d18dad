/* native_worker_run.c: see native_worker_run.h. A picture that comes is read by a codec process, as
 * clients' are, and encoded again as the job says, so what is kept is what the worker beside the
 * server would have made of the same pixels. */
#include "server/api/native/native_worker_run.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/native/native.h"
#include "server/api/native/native_worker.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/job/intake.h"
#include "server/paint/result.h"
#include "server/paint/tally.h"
#include "server/paint/task.h"
#include "server/queue/events.h"
#include "server/queue/roster.h"
#include "server/worker/codec.h"

#define WAIT_MOST 60
#define SIDE_MAX 16384
#define SECONDS_MAX 86400.0

static void no_memory(struct http_request *req)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "no memory for a request");
    http_reply_error(req, &err, NULL);
}

/* ---- heartbeats ---- */

struct beat {
    int wait;
    bool interrupted; /* that it was is known there */
    int skipped;      /* the picture that is known to be skipped */
    int step, steps;  /* steps 0: nothing is said of progress */
    double step_seconds, left, whole;
    int width, height;
    const char *preview;
};

#define AT(member) .offset = offsetof(struct beat, member)
static const struct json_field beat_fields[] = {
    {"wait", .type = JSON_FIELD_INT, AT(wait), .most = WAIT_MOST},
    {"interrupted", .type = JSON_FIELD_BOOL, AT(interrupted)},
    {"skipped", .type = JSON_FIELD_INT, AT(skipped), .least = -1, .most = INT32_MAX, .number = -1},
    {"step", .type = JSON_FIELD_INT, AT(step), .most = 1000000},
    {"steps", .type = JSON_FIELD_INT, AT(steps), .most = 1000000},
    {"step_seconds", .type = JSON_FIELD_DOUBLE, AT(step_seconds), .most = SECONDS_MAX},
    {"left", .type = JSON_FIELD_DOUBLE, AT(left), .least = -1, .most = 1e9, .number = -1},
    {"whole", .type = JSON_FIELD_DOUBLE, AT(whole), .least = -1, .most = 1e9, .number = -1},
    {"width", .type = JSON_FIELD_INT, AT(width), .most = SIDE_MAX},
    {"height", .type = JSON_FIELD_INT, AT(height), .most = SIDE_MAX},
    {"preview", .type = JSON_FIELD_STRING, AT(preview)},
};
#undef AT
#define BEAT_FIELDS (sizeof beat_fields / sizeof *beat_fields)

struct heartbeat {
    struct native_worker_call call;
    struct beat beat;
    struct pictor_image latent;
    struct subscription *subscription;
    atomic_bool woken;
    struct http_request *req;
    int64_t until;
};

static void heartbeat_free(void *ctx)
{
    struct heartbeat *h = ctx;
    events_unsubscribe(h->subscription);
    pictor_image_free(&h->latent);
    free(h);
}

/* Renews the lease. True: there is an answer, and it was given. */
static bool beat(struct http_request *req, struct heartbeat *h, bool at_once)
{
    struct err err;
    bool interrupted;
    const struct native_worker_call *c = &h->call;
    struct queue_held held;
    if (!queue_hold(c->parts.queue, &c->claim, c->owner, &held, &err) ||
        !queue_heartbeat(c->parts.queue, &c->claim, &interrupted, &err)) {
        http_reply_error(req, &err, NULL);
        return true;
    }
    int skipped = queue_skipped(c->parts.queue, c->claim.job_id);
    if (!at_once && interrupted == h->beat.interrupted && skipped == h->beat.skipped)
        return false;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "interrupted", interrupted);
    cJSON_AddNumberToObject(json, "skipped", skipped);
    http_reply_json(req, 200, json);
    return true;
}

static bool look(struct http_request *req, void *ctx)
{
    struct heartbeat *h = ctx;
    bool due = now_ms() >= h->until;
    return (due || atomic_exchange(&h->woken, false)) && beat(req, h, due);
}

static void on_event(void *ctx, const struct event *event)
{
    struct heartbeat *h = ctx;
    if (event->kind == EVENT_PROGRESS || event->kind == EVENT_IMAGE)
        return;
    atomic_store(&h->woken, true);
    http_wait_wake(h->req);
}

/* Of the whole job, while the job itself is not read for each step. */
static double left_of(const struct heartbeat *h)
{
    const struct beat *b = &h->beat;
    int more = h->call.held.count - h->call.held.images - 1;
    if (!(b->left >= 0 && b->whole >= b->left))
        return -1;
    return b->left + (more > 0 && !b->interrupted ? b->whole * more : 0);
}

static bool tell(void *ctx, const atomic_bool *gone)
{
    struct heartbeat *h = ctx;
    struct job job = {.state = JOB_RUNNING};
    struct job_progress progress = {.image = h->call.index,
                                    .step = h->beat.step,
                                    .steps = h->beat.steps,
                                    .eta_seconds = left_of(h)};
    (void)gone;
    snprintf(job.id, sizeof job.id, "%s", h->call.claim.job_id);
    snprintf(job.key_id, sizeof job.key_id, "%s", h->call.held.key_id);
    result_progress(&h->call.parts, &job, &progress, &h->latent);
    return false;
}

static void told(struct http_request *req, void *ctx)
{
    beat(req, ctx, true);
}

static bool take_preview(struct heartbeat *h, struct err *err)
{
    const struct beat *b = &h->beat;
    uint8_t *pixels;
    size_t size;
    if (!b->preview)
        return true;
    if (!base64_decode(b->preview, strlen(b->preview), &pixels, &size, err))
        return false;
    if (size == 0 || size != (size_t)b->width * (size_t)b->height * 3) {
        free(pixels);
        return err_set(err, ERR_INVALID, "preview: wanted %d x %d pixels of RGB, got %zu bytes",
                       b->width, b->height, size);
    }
    h->latent = (struct pictor_image){b->width, b->height, 3, pixels};
    return true;
}

void native_worker_run_heartbeat(struct http_request *req)
{
    static const struct http_waiter waiter = {look, NULL, heartbeat_free};
    struct native_worker_call call;
    struct beat b;
    struct err err;
    cJSON *body = native_body(req, beat_fields, BEAT_FIELDS, &b);
    if (!body)
        return;
    if (!native_worker_call(req, &call)) {
        cJSON_Delete(body);
        return;
    }
    roster_doing(call.parts.roster, call.owner, ROSTER_PAINTING, call.claim.job_id);
    struct heartbeat *h = calloc(1, sizeof *h);
    if (!h) {
        no_memory(req);
        cJSON_Delete(body);
        return;
    }
    *h = (struct heartbeat){.call = call, .beat = b, .req = req};
    bool good = take_preview(h, &err);
    h->beat.preview = NULL;
    cJSON_Delete(body);
    if (!good || b.step > b.steps) {
        if (good)
            err_set(&err, ERR_INVALID, "step: wanted at most %d, got %d", b.steps, b.step);
        http_reply_error(req, &err, good ? "step" : "preview");
        heartbeat_free(h);
    } else if (b.steps > 0) {
        http_work_on(req, tell, told, h, heartbeat_free);
    } else if (b.wait > 0 && !(h->subscription = events_subscribe(
                                   call.parts.events, call.claim.job_id, on_event, h, &err))) {
        http_reply_error(req, &err, NULL);
        heartbeat_free(h);
    } else if (beat(req, h, b.wait == 0)) {
        heartbeat_free(h);
    } else {
        h->until = now_ms() + (int64_t)b.wait * 1000;
        http_wait(req, &waiter, h);
    }
}

struct cJSON *native_worker_run_schema_heartbeat(const struct settings *settings)
{
    (void)settings;
    return json_fields_schema(beat_fields, BEAT_FIELDS);
}

/* ---- pictures ---- */

struct upload {
    struct native_worker_call call;
    void *data;
    size_t size;
    int next; /* -1: none */
    bool done;
    struct err err;
};

static void upload_free(void *ctx)
{
    struct upload *u = ctx;
    free(u->data);
    free(u);
}

/* The worker has no job any more: counted, as what is painted beside the server is. */
static void count(const struct native_worker_call *call, const struct job *job, const char *outcome,
                  enum roster_state state)
{
    char worker[AFAR_OWNER_SIZE];
    const char *name = strrchr(call->owner, ':');
    snprintf(worker, sizeof worker, "worker%s", name ? name : "");
    roster_doing(call->parts.roster, call->owner, state, NULL);
    tally_add(call->parts.tally, worker, job->params.model, job->key_id, outcome,
              (int)job->image_count, now_unix_ms() - job->started_ms);
}

/* Says what is missing now; the job is done when nothing is, or it was interrupted. */
static bool settle(struct upload *u)
{
    struct queue *queue = u->call.parts.queue;
    struct job job;
    bool interrupted;
    if (!queue_heartbeat(queue, &u->call.claim, &interrupted, &u->err) ||
        !queue_get(queue, u->call.claim.job_id, NULL, &job, &u->err))
        return false;
    u->next = interrupted ? -1 : result_missing(&job, 0);
    if (u->next < 0)
        log_event(LOG_INFO, "job_ended", "job=%s outcome=done owner=%s", job.id, u->call.owner);
    bool done = u->next >= 0 || queue_finish(queue, &u->call.claim, &u->err);
    if (done && u->next < 0)
        count(&u->call, &job, "done", ROSTER_IDLE);
    job_free(&job);
    return done;
}

static bool store(void *ctx, const atomic_bool *gone)
{
    struct upload *u = ctx;
    const struct dispatch_parts *parts = &u->call.parts;
    struct pictor_image image = {0}, pixels = {0};
    struct task *t = NULL;
    (void)gone; /* what was painted is kept */
    bool well = queue_well(parts->queue, &u->err); /* the worker waits, not a thread of ours */
    u->done =
        well &&
        codec_decode(parts->codec, u->data, u->size, intake_pixels_max(parts->settings), &image,
                     &u->err) &&
        image_convert(&image, 3, &pixels, &u->err) &&
        (t = native_worker_open(&u->call, &u->err)) &&
        result_store(parts, &u->call.claim, &t->job, &t->model, NULL, u->call.index, &pixels,
                     &u->err) &&
        settle(u);
    if (t)
        task_free(t);
    pictor_image_free(&image);
    pictor_image_free(&pixels);
    return false;
}

static void stored(struct http_request *req, void *ctx)
{
    struct upload *u = ctx;
    if (!u->done) {
        http_reply_error(req, &u->err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "next",
                          u->next < 0 ? cJSON_CreateNull() : cJSON_CreateNumber(u->next));
    http_reply_json(req, 200, json);
}

void native_worker_run_image(struct http_request *req)
{
    struct native_worker_call call;
    size_t size;
    const char *body = http_body(req, &size);
    if (!native_worker_call(req, &call))
        return;
    struct upload *u = calloc(1, sizeof *u);
    if (!u || !(u->data = malloc(size + 1))) {
        free(u);
        no_memory(req);
        return;
    }
    u->call = call;
    memcpy(u->data, body, size);
    u->size = size;
    http_work_stored(req, store, stored, u, upload_free);
}

/* ---- how it ended without one ---- */

struct ending {
    int outcome;
    const char *code, *message;
};

static const char *const outcomes[] = {"failed", "released", "put_back", NULL};
static const struct json_field end_fields[] = {
    {"outcome",
     .type = JSON_FIELD_WORD,
     .offset = offsetof(struct ending, outcome),
     .required = true,
     .words = outcomes},
    {"code", .type = JSON_FIELD_STRING, .offset = offsetof(struct ending, code), .most = 32},
    {"message",
     .type = JSON_FIELD_STRING,
     .offset = offsetof(struct ending, message),
     .most = 1024},
};
#define END_FIELDS (sizeof end_fields / sizeof *end_fields)

struct cJSON *native_worker_run_schema_end(const struct settings *settings)
{
    (void)settings;
    return json_fields_schema(end_fields, END_FIELDS);
}

void native_worker_run_end(struct http_request *req)
{
    struct native_worker_call call;
    struct ending e;
    struct err why, err;
    cJSON *body = native_body(req, end_fields, END_FIELDS, &e);
    if (!body || !native_worker_call(req, &call)) {
        cJSON_Delete(body);
        return;
    }
    struct queue *queue = call.parts.queue;
    err_set(&why, err_code_of(e.code ? e.code : ""), "%.250s", e.message ? e.message : "");
    json_text_mend(why.msg);
    if (why.code == ERR_NONE || why.code == ERR_CANCELLED || err_is_passing(why.code))
        why.code = ERR_INTERNAL; /* as of the worker beside the server */
    struct job job = {0};
    if (!queue_get(queue, call.claim.job_id, NULL, &job, NULL))
        job = (struct job){.params.model = NULL};
    bool told = !queue_well(queue, &err) ? false
                : e.outcome == 0         ? queue_fail(queue, &call.claim, &why, &err)
                : e.outcome == 1         ? queue_release(queue, &call.claim, why.msg, &err)
                                         : queue_put_back(queue, &call.claim, why.msg, &err);
    if (told) {
        log_err(e.outcome == 0 ? LOG_WARN : LOG_INFO, "job_ended", &why,
                "job=%s outcome=%s owner=%s", call.claim.job_id, outcomes[e.outcome], call.owner);
        /* It puts back what it had when it stops. */
        count(&call, &job, outcomes[e.outcome], e.outcome == 2 ? ROSTER_AWAY : ROSTER_IDLE);
        http_reply_json(req, 200, cJSON_CreateObject());
    } else {
        http_reply_error(req, &err, NULL);
    }
    job_free(&job);
    cJSON_Delete(body);
}

/* ---- what it needs ---- */

struct wanted {
    struct native_worker_call call;
    char sha256[65]; /* "": the inputs */
    void *data;
    size_t size;
    int fd;
    struct err err;
};

static void wanted_free(void *ctx)
{
    struct wanted *w = ctx;
    if (w->fd >= 0)
        close(w->fd);
    free(w->data);
    free(w);
}

static bool find(void *ctx, const atomic_bool *gone)
{
    struct wanted *w = ctx;
    (void)gone;
    struct task *t = native_worker_open(&w->call, &w->err);
    if (!t)
        return false;
    if (*w->sha256)
        w->fd = afar_file(&w->call.parts, t, w->sha256, &w->size, &w->err);
    else if (!afar_inputs(t, &w->data, &w->size, &w->err))
        w->size = 0;
    else if (!w->data)
        err_set(&w->err, ERR_NOT_FOUND, "the job has no inputs");
    task_free(t);
    return false;
}

static void reply_file(struct http_request *req, struct wanted *w)
{
    char etag[80];
    snprintf(etag, sizeof etag, "\"%s\"", w->sha256); /* so it is given in parts, too */
    http_reply_header(req, "ETag", etag);
    http_reply_file(req, 200, "application/octet-stream", w->fd, w->size);
    w->fd = -1;
}

static void found(struct http_request *req, void *ctx)
{
    struct wanted *w = ctx;
    if (w->fd >= 0) {
        reply_file(req, w);
    } else if (w->data) {
        http_reply_data(req, 200, "application/octet-stream", w->data, w->size, free);
        w->data = NULL;
    } else {
        http_reply_error(req, &w->err, NULL);
    }
}

static void want(struct http_request *req, const char *sha256)
{
    struct native_worker_call call;
    if (!native_worker_call(req, &call))
        return;
    struct wanted *w = calloc(1, sizeof *w);
    if (!w) {
        no_memory(req);
        return;
    }
    *w = (struct wanted){.call = call, .fd = -1};
    snprintf(w->sha256, sizeof w->sha256, "%s", sha256);
    http_work_on(req, find, found, w, wanted_free);
}

void native_worker_run_inputs(struct http_request *req)
{
    want(req, "");
}

void native_worker_run_file(struct http_request *req)
{
    struct err err;
    const char *sha256 = http_param(req, "sha256");
    if (!ids_sha256(sha256)) {
        err_set(&err, ERR_INVALID, "sha256: wanted 64 hex digits, got \"%.80s\"", sha256);
        http_reply_error(req, &err, "sha256");
        return;
    }
    want(req, sha256);
}
