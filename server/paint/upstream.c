/* upstream.c: the loop around all transfers.
 *
 * A job is a struct task, which has at most one transfer at a time: the request for its missing
 * pictures, or the download of one that was answered as an address. All tasks belong to the thread;
 * other threads only leave flags under `lock` and wake it. */
#include "server/paint/upstream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/backoff.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/paint/breaker.h"
#include "server/paint/dispatch.h"
#include "server/paint/fetch.h"
#include "server/paint/result.h"
#include "server/paint/upstream_request.h"
#include "server/queue/queue.h"
#include "server/worker/codec.h"

#define IDLE_MS 1000
#define RETRY_LEAST_MS 500
#define RETRY_MOST_MS 8000
#define RETRY_AFTER_MOST 60             /* seconds; who says more gets no second request */
#define ANSWER_BYTES ((size_t)32 << 20) /* of one picture in an answer */
#define ANSWER_MOST ((size_t)256 << 20)
#define ANSWER_DEPTH 16

/* Something that may be well or not, and why it was not. */
struct health {
    struct breaker breaker;
    char last_error[256];
};

/* A model that cannot be loaded there says nothing about its neighbours, so each has a breaker of
 * its own; the server's is for what concerns all: it cannot be reached, or refuses our key. */
struct server {
    const struct settings_upstream *settings;
    struct health health, *models; /* as many as settings->models, and one more for no model */
    int running;
};

struct task {
    struct upstream *upstream;
    struct task *next;
    struct job job;
    struct claim claim;
    struct server *server;
    struct health *model; /* of the server's models; never NULL when server is not */
    char remote[REGISTRY_NAME_SIZE];
    void *init, *mask;
    size_t init_size, mask_size;
    struct fetch_transfer *transfer;
    struct cJSON *answer; /* whose pictures are being taken */
    int item;             /* the next of them */
    int index;            /* of the next picture */
    int pictures;         /* stored by us */
    int retries;
    int64_t retry_at; /* 0: no retry is due */
    int64_t started, heartbeat;
    bool asking; /* the breaker let it through and waits to hear how it went */
    bool over;   /* its outcome is told; freed by the loop */
};

struct upstream {
    struct dispatch_parts parts;
    struct fetch *fetch;
    pthread_t thread;
    struct subscription *subscription;
    struct server *servers;
    size_t server_count;
    struct task *tasks; /* changed by the thread under `lock`; others may look for ids */

    pthread_mutex_t lock;
    bool stop, look, ask;
    int64_t stop_at;
    int running; /* tasks */
    struct dispatch_stats stats;
};

static void log_failure(const char *event, const struct task *t, const struct err *err)
{
    log_err(LOG_WARN, event, err, "job=%s upstream=%s", t ? t->job.id : "none",
            t && t->server ? t->server->settings->name : "none");
}

/* ---- how a task ends ---- */

/* The loop frees it: its caller may still be at work with it. */
static void end_task(struct task *t, const char *outcome, bool told, const struct err *err)
{
    struct upstream *u = t->upstream;
    char text[300];
    if (!told && err->code != ERR_CANCELLED && err->code != ERR_NOT_FOUND)
        log_failure("job_outcome_lost", t, err);
    log_event(LOG_INFO, "job_ended", "job=%s outcome=%s model=%s upstream=%s pictures=%d ms=%lld",
              t->job.id, told ? outcome : "taken_away",
              log_quote(text, sizeof text, t->job.params.model ? t->job.params.model : ""),
              t->server ? t->server->settings->name : "none", t->pictures,
              (long long)(now_ms() - t->started));
    fetch_abort(t->transfer);
    t->transfer = NULL;
    if (t->server) {
        t->server->running--;
        if (t->asking) {
            breaker_unknown(&t->server->health.breaker);
            breaker_unknown(&t->model->breaker);
        }
    }
    t->over = true;
    pthread_mutex_lock(&u->lock);
    u->running--;
    u->look = true; /* there is room for another one */
    pthread_mutex_unlock(&u->lock);
}

/* `refusal` NULL: the upstream did not say anything. */
static void refuse_task(struct task *t, const struct err *why, const struct refusal *refusal)
{
    struct err err = {0};
    log_failure("job_failed", t, why);
    bool told = queue_refuse(t->upstream->parts.queue, &t->claim, why, refusal, &err);
    end_task(t, "failed", told, &err);
}

static void fail_task(struct task *t, const struct err *why)
{
    refuse_task(t, why, NULL);
}

static void finish_task(struct task *t)
{
    struct err err = {0};
    bool told = queue_finish(t->upstream->parts.queue, &t->claim, &err);
    if (!told && err.code == ERR_INTERNAL) { /* pictures are missing: say so, do not hang */
        fail_task(t, &err);
        return;
    }
    end_task(t, "done", told, &err);
}

static void put_back_task(struct task *t)
{
    struct err err = {0};
    bool told = queue_put_back(t->upstream->parts.queue, &t->claim, "the server stops", &err);
    end_task(t, "put_back", told, &err);
}

static void free_ended(struct upstream *u)
{
    for (struct task **place = &u->tasks; *place;) {
        struct task *t = *place;
        if (!t->over) {
            place = &t->next;
            continue;
        }
        pthread_mutex_lock(&u->lock);
        *place = t->next;
        pthread_mutex_unlock(&u->lock);
        job_free(&t->job);
        cJSON_Delete(t->answer);
        free(t->init);
        free(t->mask);
        free(t);
    }
}

/* The server, or the model, itself failed, not this request. */
static void count_failure(struct task *t, struct health *h, const struct err *err)
{
    struct upstream *u = t->upstream;
    bool was_open = h->breaker.failures >= BREAKER_FAILURES;
    breaker_failure(&h->breaker, now_ms());
    snprintf(h->last_error, sizeof h->last_error, "%s", err->msg);
    if (!was_open && h->breaker.failures >= BREAKER_FAILURES)
        log_event(LOG_ERROR, "upstream_left_alone", "upstream=%s model=%s failures=%d",
                  t->server->settings->name, h == t->model ? t->remote : "all",
                  h->breaker.failures);
    pthread_mutex_lock(&u->lock);
    u->stats.upstream_failures++;
    pthread_mutex_unlock(&u->lock);
}

/* Whether neither the server nor the model is left alone now; else `err` says so. */
static bool may_ask(struct task *t, struct err *err)
{
    struct health *h = t->model;
    if (breaker_allows(&h->breaker, now_ms())) {
        h = &t->server->health;
        if (breaker_allows(&h->breaker, now_ms()))
            return true;
        breaker_unknown(&t->model->breaker);
    }
    int64_t left = h->breaker.open_until - now_ms();
    return err_set(
        err, ERR_UPSTREAM, "%s%s%.60s failed %d times in a row and is left alone for %lld s: %s",
        t->server->settings->name, h == t->model ? "'s model " : "", h == t->model ? t->remote : "",
        h->breaker.failures, left > 0 ? (long long)(left / 1000 + 1) : 1, h->last_error);
}

/* What an answer, or its absence, says of the server and of the model. */
static void judge(struct task *t, const struct fetch_answer *answer, const struct err *err)
{
    struct breaker *server = &t->server->health.breaker, *model = &t->model->breaker;
    bool answered = answer->err.code == ERR_NONE;
    if (err->code == ERR_NONE) {
        breaker_success(server);
        breaker_success(model);
    } else if ((!answered && !answer->sent) || (answered && answer->status == 401)) {
        count_failure(t, &t->server->health, err); /* not reached, or it does not take our key */
        breaker_unknown(model);
    } else if (answered && answer->status >= 400 && answer->status < 500 && answer->status != 403) {
        breaker_success(server); /* it is about the request: whoever answers it is well */
        breaker_success(model);
    } else {
        count_failure(t, t->model, err);
        if (answered)
            breaker_success(server);
        else
            breaker_unknown(server);
    }
}

/* ---- pictures ---- */

static void request_pictures(struct task *t);
static void take_pictures(struct task *t);
static bool is_success(int status)
{
    return status >= 200 && status < 300;
}

static void on_download(void *ctx, const struct fetch_answer *answer);

static bool store(struct task *t, const void *data, size_t size, struct err *err)
{
    struct upstream *u = t->upstream;
    struct pictor_image pixels;
    if (!codec_decode(u->parts.codec, data, size, intake_pixels_max(u->parts.settings), &pixels,
                      err)) {
        if (err->code != ERR_BUSY)
            err->code = ERR_UPSTREAM;
        return err_prefix(err, "%s answered a picture that cannot be read",
                          t->server->settings->name);
    }
    bool done = result_store(&u->parts, &t->claim, &t->job, t->index, &pixels, err);
    pictor_image_free(&pixels);
    if (!done)
        return false;
    t->pictures++;
    t->index = result_missing(&t->job, t->index + 1);
    pthread_mutex_lock(&u->lock);
    u->stats.pictures++;
    pthread_mutex_unlock(&u->lock);
    return true;
}

/* What could not be stored ends the task; one that was taken away from us needs no verdict. */
static void end_badly(struct task *t, const struct err *err)
{
    if (err->code == ERR_CANCELLED || err->code == ERR_NOT_FOUND)
        end_task(t, "", false, err);
    else
        fail_task(t, err);
}

static bool start_download(struct task *t, const char *address, struct err *err)
{
    const struct settings_upstream *s = t->server->settings;
    char *url = fetch_url_within(s->base_url, address, err);
    if (!url)
        return false;
    struct fetch_request r = {.url = url,
                              .key = s->key,
                              .timeout_ms = s->timeout_seconds * 1000,
                              .max_answer = ANSWER_BYTES};
    t->transfer = fetch_start(t->upstream->fetch, &r, on_download, t, err);
    free(url);
    return t->transfer != NULL;
}

/* One item of the answer's data. *later: its picture is being downloaded. */
static bool take_item(struct task *t, const cJSON *item, bool *later, struct err *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "b64_json"));
    const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "url"));
    uint8_t *data;
    size_t size;
    if (text && !*text) /* Go writes fields that it does not use as empty strings */
        text = NULL;
    if (url && !*url)
        url = NULL;
    if (!text && url && strncmp(url, "data:", 5) == 0)
        text = url;
    if (!text && url) {
        *later = true;
        return start_download(t, url, err);
    }
    if (!text)
        return err_set(err, ERR_UPSTREAM, "%s answered neither a picture nor an address",
                       t->server->settings->name);
    if (!base64_decode(text, strlen(text), &data, &size, err)) {
        err->code = ERR_UPSTREAM;
        return false;
    }
    bool done = store(t, data, size, err);
    free(data);
    return done;
}

/* The answer's pictures, from t->item on; then the job is done, or more are requested. */
static void take_pictures(struct task *t)
{
    struct err err = {0};
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(t->answer, "data"), *item;
    while (t->index >= 0 && (item = cJSON_GetArrayItem(data, t->item))) {
        bool later = false;
        t->item++;
        if (!take_item(t, item, &later, &err)) {
            end_badly(t, &err);
            return;
        }
        if (later)
            return;
    }
    cJSON_Delete(t->answer);
    t->answer = NULL;
    if (t->index < 0)
        finish_task(t);
    else
        request_pictures(t);
}

static void on_download(void *ctx, const struct fetch_answer *answer)
{
    struct task *t = ctx;
    struct err err = answer->err;
    t->transfer = NULL;
    if (err.code == ERR_NONE && !is_success(answer->status))
        err_set(&err, ERR_UPSTREAM, "status %d", answer->status);
    if (err.code != ERR_NONE) {
        err_prefix(&err, "%s does not hand out its picture", t->server->settings->name);
        fail_task(t, &err);
    } else if (!store(t, answer->body, answer->size, &err)) {
        end_badly(t, &err);
    } else {
        take_pictures(t);
    }
}

/* ---- requests ---- */

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What is wrong in its own words, or NULL: {"error": {"message"}}, {"error": "..."},
 * {"detail": "..."}, {"detail": [{"msg"}]}, {"message": "..."}. */
static const char *message_of(const cJSON *json)
{
    const cJSON *places[] = {
        member(member(json, "error"), "message"),
        member(json, "error"),
        member(json, "detail"),
        member(cJSON_GetArrayItem(member(json, "detail"), 0), "msg"),
        member(json, "message"),
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (cJSON_IsString(places[i]) && *places[i]->valuestring)
            return places[i]->valuestring;
    return NULL;
}

/* Whether a text shows our key, or parts of it with asterisks between. */
static bool shows_key(const struct task *t, const char *text)
{
    return upstream_request_leaks(text, t->server->settings->key) || (text && strstr(text, "***"));
}

static void explain(const struct task *t, const struct fetch_answer *answer,
                    struct refusal *refusal, struct err *err)
{
    const char *name = t->server->settings->name;
    cJSON *json = json_text_parse(answer->body, answer->size, ANSWER_DEPTH, NULL);
    const char *message = message_of(json);
    bool secret = shows_key(t, message);
    int status = answer->status;
    refusal_set(refusal, status, answer->retry_after, member(json, "error"));
    char *text = refusal_to_text(refusal);
    if (shows_key(t, text))
        refusal_set(refusal, status, answer->retry_after, NULL);
    free(text);
    if (status >= 300 && status < 400)
        err_set(err, ERR_UPSTREAM,
                "%s answered status %d, a redirect, which is not followed: its base_url is wrong",
                name, status);
    else
        err_set(err, ERR_UPSTREAM, "%s %s status %d%s%s%.150s", name,
                status == 401 ? "refused this server's key with" : "answered", status,
                secret ? " (its message shows our key)" : "", message && !secret ? ": " : "",
                message && !secret ? message : "");
    cJSON_Delete(json);
}

/* Whether the request is to be sent again, and when. */
static bool retry(struct task *t, const struct fetch_answer *answer, const struct refusal *refusal)
{
    int status = answer->err.code == ERR_NONE ? answer->status : 0;
    bool later = status == 429 || (status == 503 && answer->retry_after >= 0);
    bool unsent = answer->err.code != ERR_NONE && !answer->sent;
    if (strcmp(refusal->code, "insufficient_quota") == 0) /* waiting does not fill an account */
        later = false;
    if ((!later && !unsent) || t->retries >= t->server->settings->max_retries ||
        answer->retry_after > RETRY_AFTER_MOST)
        return false;
    int pause = backoff_ms(++t->retries, RETRY_LEAST_MS, RETRY_MOST_MS);
    if (answer->retry_after >= 0 && answer->retry_after * 1000 > pause)
        pause = answer->retry_after * 1000;
    t->retry_at = now_ms() + pause;
    log_event(LOG_INFO, "upstream_retry", "job=%s upstream=%s status=%d pause_ms=%d", t->job.id,
              t->server->settings->name, status, pause);
    return true;
}

static void on_answer(void *ctx, const struct fetch_answer *answer)
{
    struct task *t = ctx;
    struct err err = answer->err;
    struct refusal refusal = {0};
    t->transfer = NULL;
    t->asking = false;
    if (err.code != ERR_NONE)
        err_prefix(&err, "%s", t->server->settings->name);
    else if (!is_success(answer->status))
        explain(t, answer, &refusal, &err);
    else if (!(t->answer = json_text_parse(answer->body, answer->size, ANSWER_DEPTH, &err)))
        err_prefix(&err, "%s answered status %d and no JSON", t->server->settings->name,
                   answer->status);
    else if (cJSON_GetArraySize(member(t->answer, "data")) == 0)
        err_set(&err, ERR_UPSTREAM, "%s answered no picture", t->server->settings->name);
    judge(t, answer, &err);
    if (err.code == ERR_NONE) {
        t->item = 0;
        t->retries = 0;
        take_pictures(t);
        return;
    }
    err.code = ERR_UPSTREAM;
    cJSON_Delete(t->answer);
    t->answer = NULL;
    if (!retry(t, answer, &refusal))
        refuse_task(t, &err, &refusal);
}

/* Asks for the missing pictures from t->index on, as many as are missing in a row. */
static void request_pictures(struct task *t)
{
    struct upstream *u = t->upstream;
    const struct settings_upstream *s = t->server->settings;
    struct upstream_request body = {0};
    struct job_progress progress = {
        .image = t->index, .steps = job_steps(&t->job.params), .eta_seconds = -1};
    struct err err = {0};
    result_progress(&u->parts, &t->job, &progress, NULL);
    if (!may_ask(t, &err)) {
        fail_task(t, &err);
        return;
    }
    t->asking = true;
    int count = 1;
    while (count < UPSTREAM_REQUEST_COUNT_MAX &&
           result_missing(&t->job, t->index + count) == t->index + count)
        count++;
    if (!upstream_request_make(&body, u->parts.codec, &t->job.params, t->index, count, t->remote,
                               s->extensions, t->init, t->init_size, t->mask, t->mask_size, &err)) {
        fail_task(t, &err);
        return;
    }
    char *url;
    size_t most = ANSWER_BYTES * (size_t)count;
    if (asprintf(&url, "%s%s", s->base_url, body.path) < 0) {
        url = NULL;
        err_set(&err, ERR_INTERNAL, "no memory for a request");
    } else {
        struct fetch_request r = {.url = url,
                                  .key = s->key,
                                  .json = body.json,
                                  .parts = body.part_count ? body.parts : NULL,
                                  .part_count = body.part_count,
                                  .timeout_ms = s->timeout_seconds * 1000,
                                  .max_answer = most < ANSWER_MOST ? most : ANSWER_MOST};
        t->transfer = fetch_start(u->fetch, &r, on_answer, t, &err);
    }
    free(url);
    upstream_request_free(&body);
    if (!t->transfer) {
        fail_task(t, &err);
        return;
    }
    pthread_mutex_lock(&u->lock);
    u->stats.upstream_requests++;
    pthread_mutex_unlock(&u->lock);
}

/* ---- claiming ---- */

/* The names of the models of servers with room, NULL-terminated; free(names). */
static size_t open_names(const struct upstream *u, const char ***names)
{
    size_t count = 0, most = 0;
    for (size_t i = 0; i < u->server_count; i++)
        most += u->servers[i].settings->model_count;
    *names = malloc((most + 1) * sizeof **names);
    for (size_t i = 0; *names && i < u->server_count; i++) {
        const struct settings_upstream *s = u->servers[i].settings;
        for (size_t j = 0; u->servers[i].running < s->concurrency && j < s->model_count; j++)
            (*names)[count++] = s->models[j].local;
    }
    return count;
}

static struct server *server_named(struct upstream *u, const char *name)
{
    for (size_t i = 0; i < u->server_count; i++)
        if (strcmp(u->servers[i].settings->name, name) == 0)
            return &u->servers[i];
    return NULL;
}

static struct health *health_of(struct server *s, const char *model)
{
    for (size_t i = 0; i < s->settings->model_count; i++)
        if (strcmp(s->settings->models[i].local, model) == 0)
            return &s->models[i];
    return &s->models[s->settings->model_count];
}

static bool read_input(struct task *t, const char *name, bool wanted, void **data, size_t *size,
                       struct err *err)
{
    return !wanted || queue_input(t->upstream->parts.queue, t->job.id, name, data, size, err);
}

static void begin_task(struct task *t)
{
    struct upstream *u = t->upstream;
    const struct job_params *p = &t->job.params;
    struct registry_model model;
    struct err err = {0};
    char text[300];
    t->started = now_ms();
    log_event(LOG_INFO, "job_started", "job=%s attempt=%d model=%s", t->job.id, t->job.attempts,
              log_quote(text, sizeof text, p->model ? p->model : ""));
    pthread_mutex_lock(&u->lock);
    t->next = u->tasks;
    u->tasks = t;
    u->running++;
    u->ask = true; /* what happened to it before it was in the list */
    pthread_mutex_unlock(&u->lock);
    if (!result_check(&t->job, &err) ||
        !registry_resolve(u->parts.registry, p->model, &model, &err)) {
        fail_task(t, &err);
        return;
    }
    t->server = server_named(u, model.upstream);
    if (!t->server) {
        err_set(&err, ERR_INTERNAL, "\"%.100s\" is no model of an upstream", p->model);
        fail_task(t, &err);
        return;
    }
    t->model = health_of(t->server, p->model);
    t->server->running++;
    memcpy(t->remote, model.remote, sizeof t->remote);
    t->index = result_missing(&t->job, 0);
    if (t->index < 0)
        finish_task(t);
    else if (!read_input(t, "init", p->has_init, &t->init, &t->init_size, &err) ||
             !read_input(t, "mask", p->has_mask, &t->mask, &t->mask_size, &err))
        fail_task(t, &err);
    else
        request_pictures(t);
}

static void claim_jobs(struct upstream *u)
{
    for (bool claimed = true; claimed;) {
        const char **names;
        struct err err = {0};
        struct task *t = calloc(1, sizeof *t);
        size_t count = open_names(u, &names);
        claimed = t && count > 0 &&
                  queue_claim(u->parts.queue, "upstream", names, count, &t->job, &t->claim, &err);
        if (claimed) {
            t->upstream = u;
            begin_task(t);
        } else {
            free(t);
        }
        if (err.code != ERR_NONE)
            log_failure("claim_failed", NULL, &err);
        free(names);
    }
}

/* ---- the loop ---- */

/* Keeps the lease, and learns what became of the job. */
static void heartbeat(struct task *t)
{
    struct err err = {0};
    bool interrupted;
    t->heartbeat = now_ms() + t->upstream->parts.settings->lease_seconds * 1000 / 3;
    if (!queue_heartbeat(t->upstream->parts.queue, &t->claim, &interrupted, &err)) {
        if (err.code == ERR_CANCELLED || err.code == ERR_NOT_FOUND)
            end_task(t, "", false, &err);
        else
            log_failure("heartbeat_failed", t, &err);
    } else if (interrupted) {
        finish_task(t); /* with the pictures there are */
    }
}

/* Does what is due; returns when the next thing is. */
static int64_t look_after(struct upstream *u, bool ask)
{
    int64_t now = now_ms(), next = now + IDLE_MS;
    for (struct task *t = u->tasks; t; t = t->next) {
        if (!t->over && (ask || now >= t->heartbeat))
            heartbeat(t);
        if (!t->over && t->retry_at && now >= t->retry_at) {
            t->retry_at = 0;
            request_pictures(t);
        }
        if (!t->over && t->heartbeat < next)
            next = t->heartbeat;
        if (!t->over && t->retry_at && t->retry_at < next)
            next = t->retry_at;
    }
    return next;
}

static void *run(void *arg)
{
    struct upstream *u = arg;
    int64_t looked = 0;
    for (;;) {
        pthread_mutex_lock(&u->lock);
        bool stop = u->stop, look = u->look, ask = u->ask;
        int64_t stop_at = u->stop_at, now = now_ms();
        u->look = u->ask = false;
        pthread_mutex_unlock(&u->lock);

        if (stop && (!u->tasks || now >= stop_at))
            break;
        int64_t next = look_after(u, ask);
        if (!stop && (look || now - looked >= IDLE_MS)) {
            claim_jobs(u);
            looked = now;
        }
        free_ended(u);
        if (stop && stop_at < next)
            next = stop_at;
        pthread_mutex_lock(&u->lock);
        bool news = u->ask || (u->look && !stop);
        pthread_mutex_unlock(&u->lock);
        int64_t wait = next - now_ms();
        fetch_run(u->fetch, news || wait < 0 ? 0 : (int)wait);
        free_ended(u);
    }
    for (struct task *t = u->tasks; t; t = t->next)
        if (!t->over)
            put_back_task(t);
    free_ended(u);
    return NULL;
}

/* ---- what other threads call ---- */

static void on_event(void *ctx, const struct event *event)
{
    struct upstream *u = ctx;
    if (event->kind != EVENT_STATE && event->kind != EVENT_TROUBLE)
        return;
    pthread_mutex_lock(&u->lock);
    bool look = event->state == JOB_QUEUED, ask = false;
    for (const struct task *t = u->tasks; t; t = t->next)
        ask = ask || strcmp(t->job.id, event->job_id) == 0;
    u->look = u->look || look;
    u->ask = u->ask || ask;
    pthread_mutex_unlock(&u->lock);
    if (look || ask)
        fetch_wake(u->fetch);
}

bool upstream_busy(struct upstream *u)
{
    if (!u)
        return false;
    pthread_mutex_lock(&u->lock);
    bool busy = u->running > 0;
    pthread_mutex_unlock(&u->lock);
    return busy;
}

void upstream_stats(struct upstream *u, struct dispatch_stats *out)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    out->pictures += u->stats.pictures;
    out->upstream_requests += u->stats.upstream_requests;
    out->upstream_failures += u->stats.upstream_failures;
    pthread_mutex_unlock(&u->lock);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    events_unsubscribe(u->subscription);
    fetch_free(u->fetch);
    pthread_mutex_destroy(&u->lock);
    for (size_t i = 0; i < u->server_count; i++)
        free(u->servers[i].models);
    free(u->servers);
    free(u);
}

struct upstream *upstream_new(const struct dispatch_parts *parts, struct err *err)
{
    const struct settings *s = parts->settings;
    struct upstream *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, ERR_INTERNAL, "no memory for the upstreams");
        return NULL;
    }
    u->parts = *parts;
    pthread_mutex_init(&u->lock, NULL);
    u->servers = calloc(s->upstream_count, sizeof *u->servers);
    u->fetch = fetch_new(err);
    if (!u->servers || !u->fetch) {
        err_set(err, ERR_INTERNAL, "no memory for the upstreams");
        goto fail;
    }
    for (size_t i = 0; i < s->upstream_count; i++) {
        struct server *server = &u->servers[u->server_count++];
        server->settings = &s->upstreams[i];
        server->models = calloc(server->settings->model_count + 1, sizeof *server->models);
        if (!server->models) {
            err_set(err, ERR_INTERNAL, "no memory for the upstreams");
            goto fail;
        }
    }
    u->subscription = events_subscribe(parts->events, NULL, on_event, u, err);
    if (!u->subscription)
        goto fail;
    if (pthread_create(&u->thread, NULL, run, u) != 0) {
        err_set(err, ERR_INTERNAL, "no thread for the upstreams");
        goto fail;
    }
    return u;

fail:
    upstream_free(u);
    return NULL;
}

void upstream_drain(struct upstream *u, int timeout_ms)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    u->stop = true;
    u->stop_at = now_ms() + timeout_ms;
    pthread_mutex_unlock(&u->lock);
    fetch_wake(u->fetch);
}

void upstream_stop(struct upstream *u)
{
    if (!u)
        return;
    pthread_join(u->thread, NULL);
}
