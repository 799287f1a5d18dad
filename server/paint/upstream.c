/* upstream.c: the loop around all transfers: which jobs are out, and how they end.
 *
 * A job is a struct errand, which has at most one transfer at a time (upstream_order.c). All of
 * them belong to the thread; other threads only leave flags under `lock` and wake it. */
#include "server/paint/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/base/now.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/paint/fetch.h"
#include "server/paint/result.h"
#include "server/paint/tally.h"
#include "server/paint/upstream_sdapi.h"

#define NAME_OPTION "upstream-name"
#define IDLE_MS 1000

void upstream_log(const char *event, const struct errand *e, const struct err *err)
{
    log_err(LOG_WARN, event, err, "job=%s upstream=%s", e ? e->job.id : "none",
            e && e->server ? e->server->settings->name : "none");
}

bool upstream_is_success(const struct fetch_answer *answer)
{
    return answer->err.code == ERR_NONE && answer->status >= 200 && answer->status < 300;
}

/* ---- how an errand ends ---- */

void upstream_leave_seat(struct errand *e)
{
    if (e->seated)
        e->server->running--;
    else
        e->server->waiting--;
    e->seated = false;
}

void upstream_end(struct errand *e, const char *outcome, bool told, const struct err *err)
{
    struct upstream *u = e->upstream;
    char text[300];
    if (!told && err->code != ERR_CANCELLED && err->code != ERR_NOT_FOUND)
        upstream_log("job_outcome_lost", e, err);
    log_event(LOG_INFO, "job_ended", "job=%s outcome=%s model=%s upstream=%s pictures=%d ms=%lld",
              e->job.id, told ? outcome : "taken_away",
              log_quote(text, sizeof text, e->job.params.model ? e->job.params.model : ""),
              e->server ? e->server->settings->name : "none", e->pictures,
              (long long)(now_ms() - e->started));
    tally_add(u->parts.tally, e->server ? e->server->settings->name : "none", e->job.params.model,
              e->job.key_id, told ? outcome : "taken_away", e->pictures, now_ms() - e->started);
    upstream_order_interrupt(e);
    fetch_abort(e->transfer);
    fetch_abort(e->watch);
    e->transfer = e->watch = NULL;
    if (e->server)
        upstream_leave_seat(e);
    if (e->server && e->asking) {
        breaker_unknown(&e->server->health.breaker);
        breaker_unknown(&e->model->health.breaker);
    }
    e->over = true;
    pthread_mutex_lock(&u->lock);
    u->running--;
    u->look = true; /* there is room for another one */
    pthread_mutex_unlock(&u->lock);
}

void upstream_refuse(struct errand *e, const struct err *why, const struct refusal *refusal)
{
    struct err err = {0};
    upstream_log("job_failed", e, why);
    bool told = queue_refuse(e->upstream->parts.queue, &e->claim, why, refusal, &err);
    upstream_end(e, "failed", told, &err);
}

void upstream_fail(struct errand *e, const struct err *why)
{
    upstream_refuse(e, why, NULL);
}

void upstream_finish(struct errand *e)
{
    struct err err = {0};
    char *said = NULL;
    if (e->usage) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemReferenceToObject(json, "usage", e->usage);
        said = json_text_print(json);
        cJSON_Delete(json);
    }
    bool told = queue_answer(e->upstream->parts.queue, &e->claim, said, &err);
    free(said);
    if (!told && err.code == ERR_INTERNAL) { /* pictures are missing: say so, do not hang */
        upstream_fail(e, &err);
        return;
    }
    upstream_end(e, "done", told, &err);
}

void upstream_put_back(struct errand *e)
{
    struct err err = {0};
    bool told = queue_put_back(e->upstream->parts.queue, &e->claim, "the server stops", &err);
    upstream_end(e, "put_back", told, &err);
}

bool upstream_stops(struct upstream *u)
{
    pthread_mutex_lock(&u->lock);
    bool stop = u->stop;
    pthread_mutex_unlock(&u->lock);
    return stop;
}

static void free_ended(struct upstream *u)
{
    for (struct errand **place = &u->errands; *place;) {
        struct errand *e = *place;
        if (!e->over) {
            place = &e->next;
            continue;
        }
        pthread_mutex_lock(&u->lock);
        *place = e->next;
        pthread_mutex_unlock(&u->lock);
        job_free(&e->job);
        cJSON_Delete(e->answer);
        free(e->revised);
        cJSON_Delete(e->usage);
        free(e->given.init);
        free(e->given.mask);
        for (int i = 0; i < e->given.more_count; i++)
            free(e->given.more[i].data);
        free(e);
    }
}

/* ---- claiming ---- */

static bool read_pictures(struct errand *e, struct err *err)
{
    const struct dispatch_parts *parts = &e->upstream->parts;
    struct upstream_pictures *p = &e->given;
    bool ok = result_input(parts, &e->job, "init", &p->init, &p->init_size, err) &&
              result_input(parts, &e->job, "mask", &p->mask, &p->mask_size, err);
    for (int i = 0; ok && i < RELAY_IMAGES_MAX && i < e->job.params.more_images; i++) {
        ok = result_input(parts, &e->job, relay_input((size_t)i), &p->more[i].data,
                          &p->more[i].size, err);
        p->more_count += ok;
    }
    return ok;
}

static void begin_errand(struct errand *e)
{
    struct upstream *u = e->upstream;
    const struct job_params *p = &e->job.params;
    struct err err = {0};
    char text[300];
    e->started = now_ms();
    log_event(LOG_INFO, "job_started", "job=%s attempt=%d model=%s", e->job.id, e->job.attempts,
              log_quote(text, sizeof text, p->model ? p->model : ""));
    pthread_mutex_lock(&u->lock);
    e->next = u->errands;
    u->errands = e;
    u->running++;
    u->ask = true; /* what happened to it before it was in the list */
    pthread_mutex_unlock(&u->lock);
    if (!result_check(&e->job, &err)) {
        upstream_fail(e, &err);
        return;
    }
    if (!upstream_choose(u, p->model, NULL, &e->server, &e->model)) {
        err_set(&err, ERR_INTERNAL, "\"%.100s\" is no model of an upstream", p->model);
        upstream_fail(e, &err);
        return;
    }
    e->server->running++;
    e->seated = true;
    e->index = result_missing(&e->job, 0);
    if (e->index < 0)
        upstream_finish(e);
    else if (!upstream_order_allowed(e, &err) || !read_pictures(e, &err))
        upstream_fail(e, &err);
    else
        upstream_order_next(e);
}

static void claim_jobs(struct upstream *u)
{
    for (bool claimed = true; claimed && !upstream_stops(u);) {
        const char **names;
        struct err err = {0};
        struct errand *e = calloc(1, sizeof *e);
        size_t count = upstream_open_names(u, &names);
        claimed = e && count > 0 &&
                  queue_claim(u->parts.queue, "upstream", names, count, &e->job, &e->claim, &err);
        if (claimed) {
            e->upstream = u;
            begin_errand(e);
            claimed = !e->over; /* what it gave back is not ours again before the next turn */
        } else {
            free(e);
        }
        if (err.code != ERR_NONE)
            upstream_log("claim_failed", NULL, &err);
        free(names);
    }
}

/* ---- the loop ---- */

/* Keeps the lease, and learns what became of the job. */
static void heartbeat(struct errand *e)
{
    struct err err = {0};
    bool interrupted;
    e->heartbeat = now_ms() + e->upstream->parts.settings->lease_seconds * 1000 / 3;
    if (!queue_heartbeat(e->upstream->parts.queue, &e->claim, &interrupted, &err)) {
        if (err.code == ERR_CANCELLED || err.code == ERR_NOT_FOUND)
            upstream_end(e, "", false, &err);
        else
            upstream_log("heartbeat_failed", e, &err);
    } else if (interrupted) {
        upstream_finish(e); /* with the pictures there are */
    }
}

void upstream_keep_leases(struct upstream *u)
{
    int64_t now = now_ms();
    for (struct errand *e = u->errands; e; e = e->next) {
        struct err err;
        bool interrupted;
        if (!e->over && now >= e->heartbeat)
            queue_heartbeat(u->parts.queue, &e->claim, &interrupted, &err);
    }
}

/* Does what is due; returns when the next thing is. */
static int64_t look_after(struct upstream *u, bool ask)
{
    int64_t now = now_ms(), next = now + IDLE_MS;
    for (struct errand *e = u->errands; e; e = e->next) {
        if (!e->over && (ask || now >= e->heartbeat))
            heartbeat(e);
        if (!e->over && e->retry_at && now >= e->retry_at) {
            e->retry_at = 0;
            upstream_order_next(e);
        }
        if (!e->over)
            upstream_order_watch(e, now);
        if (!e->over && e->heartbeat < next)
            next = e->heartbeat;
        if (!e->over && e->retry_at && e->retry_at < next)
            next = e->retry_at;
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

        if (stop && (!u->errands || now >= stop_at))
            break;
        int64_t next = look_after(u, ask);
        if (!stop)
            next = upstream_list_next(u, now, next);
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
    for (struct errand *e = u->errands; e; e = e->next)
        if (!e->over)
            upstream_put_back(e);
    free_ended(u);
    return NULL;
}

/* ---- what other threads call ---- */

static void on_event(void *ctx, const struct event *event)
{
    struct upstream *u = ctx;
    if (event->kind != EVENT_STATE && event->kind != EVENT_TROUBLE && event->kind != EVENT_QUEUE)
        return;
    pthread_mutex_lock(&u->lock);
    bool look = event->state == JOB_QUEUED, ask = false;
    for (const struct errand *e = u->errands; e; e = e->next)
        ask = ask || strcmp(e->job.id, event->job_id) == 0;
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

double upstream_price(struct upstream *u, const char *model)
{
    double most = 0;
    if (!u)
        return 0;
    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < u->server_count; i++) {
        if (!upstream_model_any(&u->servers[i], model))
            continue;
        double price = upstream_spend_price(u->servers[i].settings, model);
        most = price > most ? price : most;
    }
    pthread_mutex_unlock(&u->lock);
    return most;
}

bool upstream_spending(struct upstream *u, size_t i, struct dispatch_spending *out)
{
    if (!u || i >= u->server_count)
        return false;
    const struct settings_upstream *s = u->servers[i].settings;
    pthread_mutex_lock(&u->lock);
    struct spend spend = upstream_spend_now(&u->servers[i].spend, now_unix_ms());
    pthread_mutex_unlock(&u->lock);
    *out = (struct dispatch_spending){
        .name = s->name,
        .day = {spend.day.pictures, s->max_pictures_per_day, spend.day.money, s->max_money_per_day},
        .month = {spend.month.pictures, s->max_pictures_per_month, spend.month.money,
                  s->max_money_per_month}};
    return true;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    events_unsubscribe(u->subscription);
    fetch_free(u->fetch);
    pthread_mutex_destroy(&u->lock);
    for (size_t i = 0; i < u->server_count; i++) {
        upstream_models_free(&u->servers[i]);
        cJSON_Delete(u->servers[i].workflow);
    }
    free(u->servers);
    free(u);
}

/* The same over restarts, where something outlives them. */
static bool name_self(struct upstream *u, struct err *err)
{
    const struct registry_hashes *memory = &u->parts.memory;
    char *known = memory->recall ? memory->recall(memory->ctx, NAME_OPTION) : NULL;
    bool good = known && strlen(known) == sizeof u->who - 1 &&
                strspn(known, "0123456789abcdef") == sizeof u->who - 1;
    if (good)
        memcpy(u->who, known, sizeof u->who);
    free(known);
    if (good)
        return true;
    if (!ids_random(u->who, sizeof u->who - 1, err))
        return false;
    if (memory->remember) /* else it has another one the next time */
        memory->remember(memory->ctx, NAME_OPTION, u->who, NULL);
    return true;
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
    if (!name_self(u, err))
        goto fail;
    u->servers = calloc(s->upstream_count, sizeof *u->servers);
    u->fetch = fetch_new(err);
    if (!u->servers || !u->fetch) {
        err_set(err, ERR_INTERNAL, "no memory for the upstreams");
        goto fail;
    }
    for (size_t i = 0; i < s->upstream_count; i++) {
        struct server *server = &u->servers[u->server_count++];
        server->upstream = u;
        server->settings = &s->upstreams[i];
        server->sdapi = strcmp(server->settings->kind, UPSTREAM_SDAPI_KIND) == 0;
        if (strcmp(server->settings->kind, UPSTREAM_COMFY_KIND) == 0 &&
            !(server->workflow = upstream_comfy_read(server->settings->workflow, err))) {
            err_prefix(err, "[upstream %s] workflow", server->settings->name);
            goto fail;
        }
        upstream_spend_recall(&server->spend, server->settings, &parts->memory);
        for (size_t k = 0; k < server->settings->model_count; k++)
            if (!upstream_model_add(server, server->settings->models[k].local,
                                    server->settings->models[k].remote, err))
                goto fail;
        if (!upstream_list_recall(u, server, err))
            goto fail;
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
