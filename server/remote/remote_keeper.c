/* remote_keeper.c: one thread, which waits for the network, the worker process and signals alike.
 *
 * A job goes through phases: its order is read, what it needs is fetched, the picture is painted
 * and sent; then comes the next picture, or the end. From the order on a heartbeat stands open at
 * the server, which answers when something is to be known, so a cancel is here at once. What the
 * server says last counts: 404 and 409 mean that the job is not ours any more. All else that goes
 * wrong on the way is tried again, ever more seldom, for as long as it takes. */
#include "server/remote/remote_keeper.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/backoff.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/paint/child.h"
#include "server/paint/child_order.h"
#include "server/paint/fetch.h"
#include "server/paint/pulse.h"
#include "server/remote/remote_fetch.h"
#include "server/remote/remote_self.h"

#define CLAIM_SECONDS 20 /* less than proxies let a request wait */
#define REPLY_MS 30000   /* beyond what was asked to wait */
#define SEND_MS 300000   /* a picture over a slow line */
#define ANSWER_MOST ((size_t)8 << 20)
#define INPUTS_MOST ((size_t)1 << 30)
#define AGAIN_LEAST_MS 200
#define AGAIN_MOST_MS 10000
#define PROGRESS_MS 250 /* between two that are told */
#define BEAT_MOST 10    /* seconds that a heartbeat waits */
#define LONG_LEASE 24   /* of a shorter one none does: a server answers up to 5 seconds late */
#define STOP_MS 3000
#define SERIAL_MAX (INT64_C(1) << 53)
#define READ_AT_ONCE 64
#define IDLE_MS 1000

enum phase {
    IDLE,
    ORDERING, /* the next picture's order is asked for */
    FETCHING,
    PAINTING,
    SENDING, /* the picture */
    ENDING   /* what the job comes to without one is told */
};

struct keeper;

/* A request that is repeated until it is answered. */
struct call {
    struct keeper *keeper;
    struct fetch_transfer *transfer;
    int failures;
    int64_t due; /* when it may be tried (again) */
};

struct keeper {
    const struct settings *settings;
    const struct remote_link *link;
    const struct remote_files *files;
    struct fetch *fetch;
    struct child *child;

    /* The worker process, as in server/paint/painter.c. */
    bool ready;
    int64_t serial, answered, restart;
    int lost; /* how often, since it last finished a picture */
    struct pulse pulse;
    char said[256];
    struct remote_self self;

    enum phase phase;
    struct call claim, main, watch, progress; /* main: of the phase */
    struct remote_order order;                /* of the job that is held */
    struct remote_fetch *fetching;
    int64_t painting; /* serial of the picture; 0: none */
    int64_t told;     /* when progress was told last */
    bool interrupted;
    int skipped;
    struct image_file picture;
    const char *outcome; /* for ENDING */
    struct err why;
};

static void wake(void *ctx)
{
    struct keeper *k = ctx;
    fetch_wake(k->fetch);
}

/* ---- the job ---- */

static void stop_call(struct call *c)
{
    fetch_abort(c->transfer);
    c->transfer = NULL;
    c->failures = 0;
    c->due = 0;
}

/* What is not wanted any more is not painted on. */
static void stop_painting(struct keeper *k)
{
    struct err err;
    if (k->painting && k->answered < k->serial && child_fd(k->child) >= 0)
        child_cancel(k->child, k->serial, &err);
    k->painting = 0;
}

static void drop_job(struct keeper *k, const char *outcome)
{
    if (k->phase == IDLE)
        return;
    log_event(LOG_INFO, "job_ended", "job=%s outcome=%s", k->order.job, outcome);
    stop_painting(k);
    stop_call(&k->main);
    stop_call(&k->watch);
    stop_call(&k->progress);
    remote_fetch_end(k->fetching);
    k->fetching = NULL;
    remote_order_free(&k->order);
    image_file_free(&k->picture);
    k->interrupted = false;
    k->skipped = -1;
    k->phase = IDLE;
}

static void enter(struct keeper *k, enum phase phase)
{
    stop_call(&k->main);
    k->phase = phase;
}

static void end_job(struct keeper *k, const char *outcome, const struct err *why)
{
    stop_painting(k);
    stop_call(&k->watch); /* it is answered by the end */
    stop_call(&k->progress);
    remote_fetch_end(k->fetching);
    k->fetching = NULL;
    k->outcome = outcome;
    k->why = *why;
    enter(k, ENDING);
}

/* ---- requests ---- */

static void job_url(const struct keeper *k, char out[REMOTE_URL_SIZE], const char *what, int index)
{
    remote_link_url(k->link, out, "jobs/%s/%s?token=%lld&worker=%s&index=%d", k->order.job, what,
                    (long long)k->order.token, k->link->name, index);
}

static void start_call(struct call *c, const struct fetch_request *request, fetch_fn *fn)
{
    struct err err;
    struct fetch_request r = *request;
    r.key = c->keeper->link->key;
    r.keep = true;
    if (r.max_answer == 0)
        r.max_answer = ANSWER_MOST;
    c->transfer = fetch_start(c->keeper->fetch, &r, fn, c, &err);
    if (!c->transfer) {
        log_err(LOG_WARN, "worker_request_failed", &err, " ");
        c->due = now_ms() + AGAIN_MOST_MS;
    }
}

enum verdict { TAKEN, AGAIN, REFUSED, GONE };

static void log_answer(const struct call *c, const struct fetch_answer *a, enum verdict verdict)
{
    char said[400];
    struct err err = a->err;
    if (err.code == ERR_NONE)
        err_set(&err, ERR_UPSTREAM, "the server answered %d: %.150s", a->status, a->body);
    log_event(verdict == GONE ? LOG_INFO : LOG_WARN, "worker_request_failed",
              "job=%s failures=%d reason=%s", *c->keeper->order.job ? c->keeper->order.job : "none",
              c->failures, log_quote(said, sizeof said, err.msg));
}

/* What an answer means for its call, which is over. */
static enum verdict judge(struct call *c, const struct fetch_answer *a)
{
    int status = a->err.code == ERR_NONE ? a->status : 0;
    c->transfer = NULL;
    if (status == 200 || status == 204) {
        c->failures = 0;
        c->due = 0;
        return TAKEN;
    }
    bool gone = status == 404 || status == 409 || status == 410;
    /* A key that is refused may be let in again; 408 and 425 are a proxy's. */
    bool refused = status >= 400 && status < 500 && status != 401 && status != 403 &&
                   status != 408 && status != 425 && status != 429;
    enum verdict verdict = gone ? GONE : refused ? REFUSED : AGAIN;
    c->failures++;
    log_answer(c, a, verdict);
    int64_t pause = backoff_ms(c->failures, AGAIN_LEAST_MS, AGAIN_MOST_MS);
    if (a->err.code == ERR_NONE && a->retry_after >= 0 && a->retry_after * 1000 < AGAIN_MOST_MS)
        pause = a->retry_after * 1000;
    c->due = now_ms() + pause;
    return verdict;
}

static bool may_start(const struct call *c, int64_t now)
{
    return !c->transfer && now >= c->due;
}

/* ---- orders ---- */

static void take_order(struct keeper *k, const struct fetch_answer *a)
{
    struct err err;
    struct remote_order order;
    if (!remote_order_read(a->body, a->size, INPUTS_MOST, &order, &err)) {
        log_err(LOG_ERROR, "worker_order_refused", &err, " ");
        if (k->phase == IDLE)
            k->claim.due = now_ms() + AGAIN_MOST_MS; /* its lease ends by itself */
        else
            end_job(k, "released", &err);
        return;
    }
    remote_order_free(&k->order);
    k->order = order;
    if (k->phase == IDLE)
        log_event(LOG_INFO, "job_started", "job=%s", k->order.job);
    enter(k, FETCHING);
    k->fetching = remote_fetch_begin(&k->order, k->link, k->files, wake, k, &err);
    if (!k->fetching)
        end_job(k, "released", &err);
}

static void on_claim(void *ctx, const struct fetch_answer *a)
{
    struct call *c = ctx;
    if (judge(c, a) == TAKEN && a->status == 200)
        take_order(c->keeper, a);
}

static void claim(struct keeper *k)
{
    char url[REMOTE_URL_SIZE];
    remote_link_url(k->link, url, "claim");
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", k->link->name);
    cJSON_AddNumberToObject(json, "protocol", AFAR_PROTOCOL);
    cJSON_AddNumberToObject(json, "wait", CLAIM_SECONDS);
    remote_self_describe(&k->self, k->settings, k->files, json);
    char *text = json_text_print(json);
    struct fetch_request r = {.url = url,
                              .json = text ? text : "{}",
                              .timeout_ms = CLAIM_SECONDS * 1000 + REPLY_MS};
    start_call(&k->claim, &r, on_claim);
    cJSON_Delete(json);
    free(text);
}

static void on_order(void *ctx, const struct fetch_answer *a)
{
    struct call *c = ctx;
    switch (judge(c, a)) {
    case TAKEN:
        if (a->status == 200)
            take_order(c->keeper, a);
        return; /* 204: its files are read; once more */
    case AGAIN:
        return;
    case REFUSED:
    case GONE:
        drop_job(c->keeper, "taken_away");
    }
}

static void ask_order(struct keeper *k)
{
    char url[REMOTE_URL_SIZE];
    job_url(k, url, "order", k->order.index);
    struct fetch_request r = {.url = url, .timeout_ms = REPLY_MS};
    start_call(&k->main, &r, on_order);
}

/* ---- heartbeats ---- */

static void obey(struct keeper *k, const char *text, size_t size)
{
    struct err err;
    struct wire_message m = {.json = json_text_parse(text, size, 4, &err)};
    if (!m.json)
        return;
    bool interrupted = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(m.json, "interrupted"));
    int skipped = (int)wire_integer(&m, "skipped", -1, INT32_MAX, -1);
    bool news = (interrupted && !k->interrupted) ||
                (skipped != k->skipped && skipped == k->order.index);
    k->interrupted = k->interrupted || interrupted;
    k->skipped = skipped;
    if (news && k->phase == PAINTING && child_fd(k->child) >= 0)
        child_interrupt(k->child, k->painting, &err);
    cJSON_Delete(m.json);
}

/* Seconds that the beat that waits does. */
static int beat_wait(const struct keeper *k)
{
    int third = k->order.lease_seconds / 3;
    return k->order.lease_seconds < LONG_LEASE ? 0 : third < BEAT_MOST ? third : BEAT_MOST;
}

/* Of a beat, which waits or tells; both may say that the job is gone. */
static void on_beat(void *ctx, const struct fetch_answer *a)
{
    struct call *c = ctx;
    struct keeper *k = c->keeper;
    switch (judge(c, a)) {
    case TAKEN:
        obey(k, a->body, a->size);
        if (c == &k->watch && beat_wait(k) == 0)
            c->due = now_ms() + k->order.lease_seconds * 1000 / 4;
        return;
    case AGAIN:
    case REFUSED:
        return;
    case GONE:
        drop_job(k, a->status == 409 ? "cancelled" : "taken_away");
    }
}

static void beat(struct keeper *k, struct call *c, cJSON *json, int wait)
{
    char url[REMOTE_URL_SIZE];
    job_url(k, url, "heartbeat", k->order.index);
    cJSON_AddNumberToObject(json, "wait", wait);
    cJSON_AddBoolToObject(json, "interrupted", k->interrupted);
    cJSON_AddNumberToObject(json, "skipped", k->skipped);
    char *text = json_text_print(json);
    struct fetch_request r = {
        .url = url, .json = text ? text : "{}", .timeout_ms = wait * 1000 + REPLY_MS};
    start_call(c, &r, on_beat);
    cJSON_Delete(json);
    free(text);
}

static void watch(struct keeper *k)
{
    beat(k, &k->watch, cJSON_CreateObject(), beat_wait(k));
}

static void tell_progress(struct keeper *k, const struct wire_message *m)
{
    static const char *const numbers[] = {"step",  "steps", "step_seconds", "left",
                                          "whole", "width", "height"};
    int64_t now = now_ms();
    bool last = wire_number(m, "step", -1) == wire_number(m, "steps", 0);
    if (wire_number(m, "step", 0) > 0 && wire_number(m, "step_seconds", 0) > 0)
        gauge_step(&k->self.gauge, wire_number(m, "step_seconds", 0));
    if (!may_start(&k->progress, now) || (now - k->told < PROGRESS_MS && !last))
        return;
    k->told = now;
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double n = wire_number(m, numbers[i], -1);
        if (n >= 0)
            cJSON_AddNumberToObject(json, numbers[i], n);
    }
    char *preview = m->binary_size ? base64_encode(m->binary, m->binary_size) : NULL;
    if (preview)
        cJSON_AddStringToObject(json, "preview", preview);
    free(preview);
    beat(k, &k->progress, json, 0);
}

/* ---- pictures ---- */

static void on_sent(void *ctx, const struct fetch_answer *a)
{
    struct call *c = ctx;
    struct keeper *k = c->keeper;
    struct err err;
    switch (judge(c, a)) {
    case TAKEN:
        break;
    case AGAIN:
        return;
    case REFUSED:
        err_set(&err, ERR_INTERNAL, "the server refused the picture: %.150s", a->body);
        end_job(k, "released", &err);
        return;
    case GONE:
        drop_job(k, a->status == 409 ? "cancelled" : "taken_away");
        return;
    }
    struct wire_message m = {.json = json_text_parse(a->body, a->size, 4, &err)};
    int next = m.json ? (int)wire_integer(&m, "next", 0, INT32_MAX, -1) : -1;
    cJSON_Delete(m.json);
    image_file_free(&k->picture);
    if (next < 0) {
        drop_job(k, "done");
        return;
    }
    k->order.index = next;
    enter(k, ORDERING);
}

static void send_picture(struct keeper *k)
{
    char url[REMOTE_URL_SIZE];
    job_url(k, url, "image", k->order.index);
    struct fetch_request r = {.url = url,
                              .data = k->picture.data,
                              .data_size = k->picture.size,
                              .type = "image/png",
                              .timeout_ms = SEND_MS};
    start_call(&k->main, &r, on_sent);
}

static void on_ended(void *ctx, const struct fetch_answer *a)
{
    struct call *c = ctx;
    if (judge(c, a) != AGAIN)
        drop_job(c->keeper, c->keeper->outcome);
}

static void tell_end(struct keeper *k)
{
    char url[REMOTE_URL_SIZE];
    remote_link_url(k->link, url, "jobs/%s/end?token=%lld&worker=%s", k->order.job,
                    (long long)k->order.token, k->link->name);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "outcome", k->outcome);
    cJSON_AddStringToObject(json, "code", err_name(k->why.code));
    wire_add_text(json, "message", k->why.msg);
    char *text = json_text_print(json);
    struct fetch_request r = {.url = url, .json = text ? text : "{}", .timeout_ms = REPLY_MS};
    start_call(&k->main, &r, on_ended);
    cJSON_Delete(json);
    free(text);
}

/* ---- the worker process ---- */

static void lose_child(struct keeper *k, const char *reason)
{
    char how[64], text[400], quoted[400];
    struct err why;
    child_kill(k->child, how);
    if (!*reason)
        reason = k->said;
    snprintf(text, sizeof text, "the worker %s%s%s", how, *reason ? ": " : "", reason);
    k->ready = false;
    k->answered = k->serial;
    k->pulse = (struct pulse){0};
    k->said[0] = '\0';
    remote_self_warm(&k->self, NULL, false);
    gauge_picture(&k->self.gauge, 0, 0);
    int pause = backoff_ms(++k->lost, AGAIN_LEAST_MS, AGAIN_MOST_MS);
    k->restart = now_ms() + pause;
    log_event(LOG_WARN, "worker_lost", "reason=%s restart_ms=%d",
              log_quote(quoted, sizeof quoted, text), pause);
    stop_call(&k->claim);
    if (k->phase == PAINTING) {
        err_set(&why, ERR_INTERNAL, "%.250s", text);
        end_job(k, "released", &why);
    }
}

static void start_child(struct keeper *k)
{
    struct err err = {0};
    if (child_start(k->child, &err))
        log_event(LOG_INFO, "worker_started", "pid=%d", (int)child_pid(k->child));
    else
        lose_child(k, err.msg);
}

static bool child_idle(const struct keeper *k)
{
    return k->ready && child_fd(k->child) >= 0 && k->answered == k->serial;
}

static void paint(struct keeper *k)
{
    const struct remote_fetched *r = remote_fetch_result(k->fetching);
    struct err err = r->err;
    if (err.code == ERR_NOT_FOUND || err.code == ERR_CANCELLED) {
        drop_job(k, "taken_away");
        return;
    }
    if (err.code != ERR_NONE) {
        log_err(LOG_WARN, "worker_fetch_failed", &err, "job=%s", k->order.job);
        end_job(k, "released", &err);
        return;
    }
    if (!child_idle(k)) /* it is being replaced, or ends what was cancelled */
        return;
    struct child_order order = {.json = k->order.generate,
                                .inputs = r->inputs,
                                .size = k->order.inputs,
                                .fd_count = k->order.file_count};
    memcpy(order.fds, r->fds, order.fd_count * sizeof *order.fds);
    k->painting = ++k->serial;
    gauge_picture(&k->self.gauge, 0, 0);
    cJSON_DeleteItemFromObjectCaseSensitive(order.json, "type");
    cJSON_DeleteItemFromObjectCaseSensitive(order.json, "serial");
    cJSON_AddStringToObject(order.json, "type", "generate");
    cJSON_AddNumberToObject(order.json, "serial", (double)k->painting);
    k->phase = PAINTING;
    if (!child_send(k->child, &order, &err)) {
        lose_child(k, err.msg);
        return;
    }
    remote_fetch_end(k->fetching);
    k->fetching = NULL;
    if (k->interrupted || k->skipped == k->order.index)
        child_interrupt(k->child, k->painting, &err);
}

static bool on_image(struct keeper *k, struct wire_message *m)
{
    struct pictor_image pixels = {0};
    struct err err;
    if (!child_take_pixels(m, &pixels))
        return false;
    k->lost = 0;
    k->painting = 0;
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(k->order.generate, "params");
    struct wire_message asked = {.json = (cJSON *)params};
    gauge_picture(&k->self.gauge, (int)wire_integer(&asked, "width", 1, 65535, 0),
                  (int)wire_integer(&asked, "height", 1, 65535, 0));
    remote_self_learn(&k->self, &k->order);
    bool done = image_encode_png(&pixels, NULL, &k->picture, &err);
    pictor_image_free(&pixels);
    if (done)
        enter(k, SENDING);
    else
        end_job(k, "released", &err);
    return true;
}

static bool on_answer(struct keeper *k, struct wire_message *m, const char *type)
{
    int64_t serial = wire_integer(m, "serial", 0, SERIAL_MAX, -1);
    struct err said;
    err_set(&said, err_code_of(wire_string(m, "code")), "%s", wire_string(m, "message"));
    json_text_mend(said.msg);
    bool error = strcmp(type, "error") == 0;
    if (error && serial == 0) {
        log_err(LOG_WARN, "worker_error", &said, " ");
        memcpy(k->said, said.msg, sizeof k->said);
        return true;
    }
    if (serial != k->answered + 1 || serial > k->serial)
        return false; /* answers come in order */
    bool ours = k->phase == PAINTING && serial == k->painting;
    if (strcmp(type, "progress") == 0) {
        if (ours)
            tell_progress(k, m);
        return true;
    }
    if (!error && strcmp(type, "image") != 0)
        return false;
    k->answered = serial;
    if (!ours)
        return true;
    if (!error)
        return on_image(k, m);
    k->painting = 0;
    end_job(k, "failed", &said);
    return true;
}

/* False: it says what no worker of ours would say. */
static bool on_message(struct keeper *k, struct wire_message *m)
{
    char text[300];
    const char *type = wire_type(m);
    if (strcmp(type, "ready") == 0) {
        log_event(LOG_INFO, "worker_ready", "engine=%s",
                  log_quote(text, sizeof text, wire_string(m, "description")));
        k->ready = true;
        snprintf(k->self.device, sizeof k->self.device, "%.120s", wire_string(m, "description"));
        pulse_start(&k->pulse, now_ms());
    } else if (strcmp(type, "alive") == 0) {
        pulse_answer(&k->pulse, wire_integer(m, "beats", 0, SERIAL_MAX, 0),
                     k->answered < k->serial);
    } else if (strcmp(type, "opened") == 0 || strcmp(type, "closed") == 0) {
        remote_self_warm(&k->self, wire_string(m, "model"), type[0] == 'o');
        log_event(LOG_INFO, type[0] == 'o' ? "model_opened" : "model_closed", "model=%s",
                  log_quote(text, sizeof text, wire_string(m, "model")));
    } else {
        return on_answer(k, m, type);
    }
    return true;
}

static void read_child(struct keeper *k)
{
    for (int i = 0; i < READ_AT_ONCE && child_fd(k->child) >= 0; i++) {
        struct wire_message m;
        struct err err = {0};
        enum wire_result result = child_read(k->child, &m, &err);
        if (result == WIRE_AGAIN)
            return;
        if (result != WIRE_MESSAGE) {
            lose_child(k, err.msg);
            return;
        }
        bool sane = on_message(k, &m);
        wire_message_free(&m);
        if (!sane && child_fd(k->child) >= 0)
            lose_child(k, "it sent a message that makes no sense");
    }
}

static void feel_pulse(struct keeper *k, int64_t now)
{
    struct err err;
    switch (pulse_look(&k->pulse, now)) {
    case PULSE_WAIT:
        return;
    case PULSE_ASK_LATE:
    case PULSE_ASK:
        if (!child_ask(k->child, &err))
            lose_child(k, err.msg);
        return;
    case PULSE_IS_LOST:
        lose_child(k, "it did not answer any more");
        return;
    case PULSE_IS_STUCK:
        lose_child(k, "its engine did not get on any more");
    }
}

/* ---- the loop ---- */

static void advance(struct keeper *k, int64_t now)
{
    if (k->phase != IDLE && k->phase != ENDING && may_start(&k->watch, now))
        watch(k);
    switch (k->phase) {
    case IDLE:
        if (child_idle(k) && may_start(&k->claim, now))
            claim(k);
        return;
    case FETCHING:
        if (remote_fetch_done(k->fetching))
            paint(k);
        return;
    case PAINTING:
        return;
    case ORDERING:
        if (may_start(&k->main, now))
            ask_order(k);
        return;
    case SENDING:
        if (may_start(&k->main, now))
            send_picture(k);
        return;
    case ENDING:
        if (may_start(&k->main, now))
            tell_end(k);
    }
}

static int64_t sooner(int64_t until, const struct call *c, int64_t now)
{
    return !c->transfer && c->due > now && c->due < until ? c->due : until;
}

static void wait_for_news(struct keeper *k, int signals, int64_t now)
{
    struct pollfd fds[3] = {{.fd = signals, .events = POLLIN}};
    size_t count = 1;
    if (child_fd(k->child) >= 0) {
        fds[count++] = (struct pollfd){.fd = child_fd(k->child), .events = POLLIN};
        fds[count++] = (struct pollfd){.fd = child_log_fd(k->child), .events = POLLIN};
    }
    int64_t until = now + IDLE_MS;
    until = sooner(until, k->phase == IDLE ? &k->claim : &k->main, now);
    until = sooner(until, &k->watch, now);
    if (child_fd(k->child) < 0 && k->restart < until)
        until = k->restart;
    if (pulse_due(&k->pulse) < until)
        until = pulse_due(&k->pulse);
    fetch_run_beside(k->fetch, fds, count, until > now ? (int)(until - now) : 0);
}

static bool is_asked_to_stop(int signals)
{
    struct pollfd p = {.fd = signals, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* The job goes to somebody else, without an attempt. */
static void give_back(struct keeper *k)
{
    struct err why;
    int64_t until = now_ms() + STOP_MS;
    stop_call(&k->claim);
    if (k->phase == IDLE)
        return;
    err_set(&why, ERR_INTERNAL, "its worker stops");
    if (k->phase != SENDING && k->phase != ENDING)
        end_job(k, "put_back", &why);
    for (int64_t now; k->phase != IDLE && (now = now_ms()) < until;) {
        advance(k, now);
        fetch_run(k->fetch, 50);
    }
    drop_job(k, "left");
}

bool remote_keeper_run(const struct settings *settings, const struct remote_link *link,
                       const struct remote_files *files, int signals, struct err *err)
{
    struct keeper k = {.settings = settings, .link = link, .files = files, .skipped = -1};
    k.claim.keeper = k.main.keeper = k.watch.keeper = k.progress.keeper = &k;
    if (!(k.fetch = fetch_new(err)) || !(k.child = child_new(settings, err))) {
        fetch_free(k.fetch);
        return false;
    }
    while (!is_asked_to_stop(signals)) {
        int64_t now = now_ms();
        if (child_fd(k.child) < 0 && now >= k.restart)
            start_child(&k);
        read_child(&k);
        child_relay_log(k.child);
        feel_pulse(&k, now);
        advance(&k, now_ms());
        wait_for_news(&k, signals, now_ms());
    }
    log_event(LOG_INFO, "stopping", " ");
    give_back(&k);
    child_free(k.child);
    fetch_free(k.fetch);
    return true;
}
