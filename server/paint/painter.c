/* painter.c: the loop around one worker.
 *
 * The next picture of a job is requested before the one that arrived is encoded and stored, so the
 * engine does not wait for the disk. Requests carry serials; answers to requests of a job that was
 * given up are recognised by them and dropped.
 *
 * `lock` covers what other threads touch and is never held while the queue or the events hub is
 * called: they call back into on_event under locks of their own. */
#include "server/paint/painter_private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/base/backoff.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/registry.h"
#include "server/paint/child.h"
#include "server/paint/fit.h"
#include "server/paint/dispatch.h"
#include "server/paint/pulse.h"
#include "server/paint/result.h"
#include "server/paint/tally.h"
#include "server/paint/task.h"
#include "server/queue/queue.h"

#define RESTART_LEAST_MS 100
#define RESTART_MOST_MS 10000
#define IDLE_MS 1000   /* looks at the queue at least so often, should an event get lost */
#define SWEEP_MS 10000 /* between looks for jobs whose model is gone */
#define STEP_SECONDS_MAX 86400.0
#define SERIAL_MAX (INT64_C(1) << 53)
#define READ_AT_ONCE 64

const struct painter_patience painter_patience_default = {
    .first_ms = 15 * 60 * 1000, /* several GB from a slow disk, then a first step of minutes */
    .least_ms = 2 * 60 * 1000,
    .pulse = true,
};

static void log_failure(const char *event, const char *job_id, const struct err *err)
{
    log_err(LOG_WARN, event, err, "job=%s", *job_id ? job_id : "none");
}

/* ---- the task ---- */

static void set_job_id(struct painter *p, const char *id)
{
    child_about(p->child, id);
    pthread_mutex_lock(&p->lock);
    snprintf(p->job_id, sizeof p->job_id, "%s", id);
    p->ask = *id != '\0'; /* what happened before we listened for this id */
    pthread_mutex_unlock(&p->lock);
    painter_tell(p, true);
}

static void drop_task(struct painter *p)
{
    struct task *t = p->task;
    p->task = NULL;
    set_job_id(p, "");
    task_free(t);
}

/* The outcome was told, or could not be told, to the queue; in the latter case the lease ends by
 * itself and the job runs again. */
static void finish_task(struct painter *p, const char *outcome, bool told, const struct err *err)
{
    const struct task *t = p->task;
    const char *how = told ? outcome : "taken_away";
    int64_t took = now_ms() - t->started;
    char text[300];
    if (!told && err->code != ERR_CANCELLED && err->code != ERR_NOT_FOUND)
        log_failure("job_outcome_lost", t->job.id, err);
    log_event(LOG_INFO, "job_ended", "job=%s outcome=%s model=%s pictures=%d ms=%lld", t->job.id,
              how, log_quote(text, sizeof text, t->model.name), t->pictures, (long long)took);
    tally_add(p->parts.tally, "local", t->model.name, t->job.key_id, how, t->pictures, took);
    drop_task(p);
}

static void release_task(struct painter *p, const char *reason)
{
    struct err err = {0};
    bool told = queue_release(p->parts.queue, &p->task->claim, reason, &err);
    finish_task(p, "released", told, &err);
}

static void fail_task(struct painter *p, const struct err *reason)
{
    struct err err = {0};
    log_failure("job_failed", p->task->job.id, reason);
    bool told = queue_fail(p->parts.queue, &p->task->claim, reason, &err);
    finish_task(p, "failed", told, &err);
}

static void put_back_task(struct painter *p)
{
    struct err err = {0};
    bool told = queue_put_back(p->parts.queue, &p->task->claim, "the server stops", &err);
    finish_task(p, "put_back", told, &err);
}

/* ---- the worker ---- */

static void set_ready(struct painter *p, bool ready, const struct err *trouble)
{
    pthread_mutex_lock(&p->lock);
    p->ready = ready;
    if (trouble)
        p->trouble = *trouble;
    pthread_mutex_unlock(&p->lock);
}

static void set_pid(struct painter *p, pid_t pid)
{
    pthread_mutex_lock(&p->lock);
    p->pid = pid;
    pthread_mutex_unlock(&p->lock);
}

/* The worker is gone or useless: a new one after a pause, the job back into the queue. */
static void lose_worker(struct painter *p, const char *reason)
{
    char how[64], text[400], quoted[400];
    child_kill(p->child, how);
    if (!*reason)
        reason = p->said; /* its last words, if it had any */
    snprintf(text, sizeof text, "the worker %s%s%s", how, *reason ? ": " : "", reason);
    struct err trouble;
    err_set(&trouble, ERR_INTERNAL, "%s", text);
    set_ready(p, false, &trouble);
    p->failures++;
    int pause = backoff_ms(p->failures, RESTART_LEAST_MS, RESTART_MOST_MS);
    p->restart = now_ms() + pause;
    p->answered = p->serial;
    p->pulse = (struct pulse){0};
    p->slowest = 0;
    p->said[0] = '\0';
    painter_warm(p, NULL, false);
    set_pid(p, 0);
    registry_set_unloaded(p->parts.registry);
    log_event(LOG_WARN, "worker_lost", "reason=%s restart_ms=%d",
              log_quote(quoted, sizeof quoted, text), pause);
    if (p->task)
        release_task(p, text);
}

/* After something was said to the worker. */
static bool still_there(struct painter *p, bool done, const struct err *err)
{
    if (!done)
        lose_worker(p, err->msg);
    return done;
}

/* A model is opened before anybody paints with it, who would wait for it; NULL: the default one. */
static void load_model(struct painter *p, const char *name)
{
    struct err err = {0};
    if (!child_load(p->child, p->parts.registry, name, &err) && err.code != ERR_NONE)
        lose_worker(p, err.msg);
}

static void start_worker(struct painter *p)
{
    struct err err = {0};
    pthread_mutex_lock(&p->lock);
    p->stats.worker_starts++;
    pthread_mutex_unlock(&p->lock);
    p->heard = now_ms();
    p->pulse = (struct pulse){0};
    if (child_start(p->child, &err)) {
        set_pid(p, child_pid(p->child));
        log_event(LOG_INFO, "worker_started", "pid=%d", (int)child_pid(p->child));
        load_model(p, NULL);
    } else {
        lose_worker(p, err.msg);
    }
}

/* Stops everything that was requested so far. */
static bool cancel_requests(struct painter *p)
{
    struct err err;
    return still_there(p, child_cancel(p->child, p->serial, &err), &err);
}

static bool idle(const struct painter *p)
{
    return p->answered == p->serial;
}

/* Requests picture `index` of the task; false: that was the task's end. */
static bool request(struct painter *p, int index)
{
    struct task *t = p->task;
    struct err err;
    if (!task_choose(t, &p->parts, index, &err)) {
        fail_task(p, &err);
        return false;
    }
    if (idle(p))
        p->heard = now_ms();
    t->index = index;
    struct child_request r;
    task_request(t, ++p->serial, index, &r);
    return still_there(p, child_generate(p->child, &r, &err), &err);
}

/* ---- what the worker says ---- */

/* Of the whole job. The parts of a picture that are no steps make an estimate low; one that was
 * given is never taken back. */
static double left_of(struct task *t, double left, double whole)
{
    double eta = result_eta(&t->job, t->index, t->interrupted, left, whole);
    if (eta >= 0)
        t->left = t->told && t->left < eta ? t->left : eta;
    t->told = t->told || eta >= 0;
    return t->told ? t->left : -1;
}

static bool on_progress(struct painter *p, struct wire_message *m)
{
    struct task *t = p->task;
    int steps = (int)wire_integer(m, "steps", 1, 1000000, 0);
    int step = (int)wire_integer(m, "step", 0, steps, -1);
    double seconds = wire_number(m, "step_seconds", 0);
    double left = wire_number(m, "left", -1), whole = wire_number(m, "whole", -1);
    if (step < 0 || seconds < 0 || seconds > STEP_SECONDS_MAX)
        return false;
    struct pictor_image latent = {0};
    if (m->binary_size > 0 && !child_take_pixels(m, &latent))
        return false;
    if (step > 0 && seconds > 0) { /* of none it is a sign of life */
        if (seconds > p->slowest)
            p->slowest = seconds;
        gauge_step(&p->gauge, seconds);
        pthread_mutex_lock(&p->lock);
        p->stats.steps++;
        p->stats.step_seconds += seconds;
        pthread_mutex_unlock(&p->lock);
    }
    struct job_progress progress = {
        .image = t->index,
        .step = step,
        .steps = steps,
        .eta_seconds = left_of(t, left, whole)};
    result_progress(&p->parts, &t->job, &progress, &latent);
    pictor_image_free(&latent);
    return true;
}

/* The queue said no: the job is somebody else's or nobody's now. */
static void give_up_task(struct painter *p, const struct err *err)
{
    if (!idle(p) && !cancel_requests(p))
        return; /* losing the worker has ended the task, too */
    finish_task(p, "", false, err);
}

static bool on_image(struct painter *p, struct wire_message *m)
{
    struct task *t = p->task;
    struct pictor_image pixels = {0};
    struct err err = {0};
    if (!child_take_pixels(m, &pixels))
        return false;
    p->failures = 0;
    gauge_picture(&p->gauge, t->job.params.width, t->job.params.height);
    int index = t->index, next = t->interrupted ? -1 : result_missing(&t->job, index + 1);
    bool varies = t->job.params.variants; /* the next one has other prompts: first this is told */
    if (next >= 0 && !varies && !request(p, next)) {
        pictor_image_free(&pixels); /* the task is over; it will be painted again */
        return true;
    }
    bool stored =
        result_store(&p->parts, &t->claim, &t->job, &t->model, NULL, index, &pixels, &err);
    pictor_image_free(&pixels);
    if (!stored && (err.code == ERR_CANCELLED || err.code == ERR_NOT_FOUND)) {
        give_up_task(p, &err);
    } else if (!stored) {
        if (idle(p) || cancel_requests(p))
            fail_task(p, &err);
    } else {
        t->pictures++;
        pthread_mutex_lock(&p->lock);
        p->stats.pictures++;
        pthread_mutex_unlock(&p->lock);
        if (next < 0) {
            bool told = queue_finish(p->parts.queue, &t->claim, &err);
            finish_task(p, "done", told, &err);
        } else if (varies) {
            request(p, next);
        }
    }
    return true;
}

static void on_opened(struct painter *p, const struct wire_message *m)
{
    char name[300];
    registry_set_loaded(p->parts.registry, wire_string(m, "model"), true);
    painter_warm(p, wire_string(m, "model"), true);
    log_event(LOG_INFO, "model_opened", "model=%s mib=%lld",
              log_quote(name, sizeof name, wire_string(m, "model")),
              (long long)wire_integer(m, "bytes", 0, INT64_C(1) << 50, 0) >> 20);
}

static void on_ready(struct painter *p, const struct wire_message *m)
{
    char text[300];
    log_event(LOG_INFO, "worker_ready", "engine=%s",
              log_quote(text, sizeof text, wire_string(m, "description")));
    snprintf(p->self.device, sizeof p->self.device, "%.120s", wire_string(m, "description"));
    set_ready(p, true, NULL);
    if (p->patience.pulse)
        pulse_start(&p->pulse, now_ms());
}

static void on_alive(struct painter *p, const struct wire_message *m)
{
    if (pulse_answer(&p->pulse, wire_integer(m, "beats", 0, SERIAL_MAX, 0), !idle(p)))
        set_ready(p, true, NULL);
}

static void feel_pulse(struct painter *p, int64_t now)
{
    struct err err;
    switch (pulse_look(&p->pulse, now)) {
    case PULSE_WAIT:
        break;
    case PULSE_ASK_LATE:
        log_event(LOG_WARN, "worker_late", "pid=%d", (int)child_pid(p->child));
        err_set(&err, ERR_BUSY, "the worker does not answer");
        set_ready(p, false, &err);
        still_there(p, child_ask(p->child, &err), &err);
        break;
    case PULSE_ASK:
        still_there(p, child_ask(p->child, &err), &err);
        break;
    case PULSE_IS_LOST:
        lose_worker(p, "it did not answer any more");
        break;
    case PULSE_IS_STUCK:
        lose_worker(p, "its engine did not get on any more");
        break;
    }
}

/* False: it says what no worker of ours would say. */
static bool on_message(struct painter *p, struct wire_message *m)
{
    const char *type = wire_type(m);
    if (strcmp(type, "ready") == 0) {
        on_ready(p, m);
        return true;
    }
    if (strcmp(type, "opened") == 0) {
        on_opened(p, m);
        return true;
    }
    if (strcmp(type, "closed") == 0) {
        registry_set_loaded(p->parts.registry, wire_string(m, "model"), false);
        painter_warm(p, wire_string(m, "model"), false);
        return true;
    }
    if (strcmp(type, "alive") == 0) {
        on_alive(p, m);
        return true;
    }
    int64_t serial = wire_integer(m, "serial", 0, SERIAL_MAX, -1);
    struct err said;
    char where[PATH_MAX] = "";
    if (*wire_string(m, "where") && p->task)
        registry_path(p->parts.registry, task_model(p->task, wire_string(m, "where")), where);
    err_at(&said, where, err_code_of(wire_string(m, "code")), "%s", wire_string(m, "message"));
    json_text_mend(said.msg);
    if (strcmp(type, "error") == 0 && serial == 0) {
        log_failure("worker_error", "", &said);
        memcpy(p->said, said.msg, sizeof p->said);
        return true;
    }
    if (serial != p->answered + 1 || serial > p->serial)
        return false; /* answers come in order */
    bool ours = p->task && serial == p->serial;
    if (strcmp(type, "progress") == 0)
        return !ours || on_progress(p, m);
    if (strcmp(type, "image") != 0 && strcmp(type, "error") != 0)
        return false;
    p->answered = serial;
    p->slowest = 0;
    if (strcmp(type, "image") != 0 || !ours)
        gauge_picture(&p->gauge, 0, 0);
    if (!ours)
        return true;
    if (strcmp(type, "image") == 0)
        return on_image(p, m);
    if (said.code == ERR_CANCELLED || said.code == ERR_NONE || err_is_passing(said.code))
        said.code = ERR_INTERNAL; /* we did not cancel it, and the trouble was ours to see */
    fail_task(p, &said);
    return true;
}

static void read_worker(struct painter *p)
{
    /* Not for ever: one that never stops talking must not keep us from everything else. */
    for (int i = 0; i < READ_AT_ONCE && child_fd(p->child) >= 0; i++) {
        struct wire_message m;
        struct err err = {0};
        enum wire_result result = child_read(p->child, &m, &err);
        if (result == WIRE_AGAIN)
            return;
        if (result != WIRE_MESSAGE) {
            lose_worker(p, err.msg);
            return;
        }
        /* Progress of a job that was given up does not count: it should have stopped. Nor does
         * that it is alive. */
        const char *type = wire_type(&m);
        if (strcmp(type, "alive") != 0 && (p->task || strcmp(type, "progress") != 0))
            p->heard = now_ms();
        bool sane = on_message(p, &m);
        wire_message_free(&m);
        if (!sane && child_fd(p->child) >= 0)
            lose_worker(p, "it sent a message that makes no sense");
    }
}

/* ---- jobs ---- */

static void begin_task(struct painter *p)
{
    struct task *t = p->task;
    struct err err = {0};
    char text[300];
    t->started = now_ms();
    p->heartbeat = t->started;
    set_job_id(p, t->job.id);
    if (!result_check(&t->job, &err)) {
        fail_task(p, &err);
        return;
    }
    log_event(LOG_INFO, "job_started", "job=%s attempt=%d model=%s", t->job.id, t->job.attempts,
              log_quote(text, sizeof text, t->job.params.model));
    int index = result_missing(&t->job, 0);
    if (index < 0) { /* the server ended between the last picture and saying so */
        bool told = queue_finish(p->parts.queue, &t->claim, &err);
        finish_task(p, "done", told, &err);
        return;
    }
    if (!task_open(t, &p->parts, &err)) {
        fail_task(p, &err);
        return;
    }
    request(p, index);
}

/* NULL: it takes what is due. */
static struct fit *fit_of(struct painter *p)
{
    struct err err;
    if (!p->parts.roster)
        return NULL;
    roster_refresh(p->parts.roster);
    return fit_new(p->parts.roster, p->parts.registry, &p->self, &err);
}

/* `taste`: whether it may choose. */
static bool claim(struct painter *p, const char *const *names, size_t count, bool taste)
{
    struct err err = {0};
    struct task *t = calloc(1, sizeof *t);
    struct fit *fit = taste ? fit_of(p) : NULL;
    if (fit)
        fit_taste(fit, &p->taste);
    bool claimed = t && queue_claim_taste(p->parts.queue, "local", names, count,
                                          fit ? &p->taste : NULL, &t->job, &t->claim,
                                          &err);
    fit_free(fit);
    if (claimed) {
        p->task = t;
        return true;
    }
    free(t);
    if (err.code != ERR_NONE)
        log_failure("claim_failed", "", &err);
    return false;
}

/* Whether nothing here or at an upstream can paint jobs of this model any more. */
static bool is_gone(struct painter *p, const char *name)
{
    struct registry_model model;
    struct err err = {0};
    return registry_resolve(p->parts.registry, name, &model, &err) ? strcmp(model.name, name) != 0
                                                                   : err.code == ERR_NOT_FOUND;
}

/* Fails the jobs of models that are gone: nobody would claim them. */
static void sweep(struct painter *p)
{
    size_t most = (size_t)p->parts.settings->max_queue, count;
    struct job_backlog *models = malloc(most * sizeof *models);
    struct err err = {0};
    p->sweep = now_ms() + SWEEP_MS;
    if (!models || !queue_backlog(p->parts.queue, models, most, &count, &err)) {
        log_failure("sweep_failed", "", &err);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = models[i].model;
        while (is_gone(p, name) && claim(p, &name, 1, false)) {
            err_set(&err, ERR_NOT_FOUND, "there is no model \"%.150s\" any more", name);
            fail_task(p, &err);
        }
    }
    free(models);
}

/* Whether there was one. */
static bool look_for_job(struct painter *p)
{
    const char **names;
    size_t count;
    struct err err = {0};
    if (now_ms() >= p->sweep)
        sweep(p);
    if (!registry_names(p->parts.registry, REGISTRY_LOCAL, &names, &count, &err)) {
        log_failure("claim_failed", "", &err);
        return false;
    }
    bool claimed = claim(p, names, count, true);
    free(names);
    if (claimed)
        begin_task(p);
    return claimed;
}

/* Keeps the lease, and learns what became of the job. */
static void heartbeat(struct painter *p)
{
    struct err err = {0};
    bool interrupted;
    p->heartbeat = now_ms() + p->parts.settings->lease_seconds * 1000 / 3;
    if (!queue_heartbeat(p->parts.queue, &p->task->claim, &interrupted, &err)) {
        if (err.code == ERR_CANCELLED || err.code == ERR_NOT_FOUND)
            give_up_task(p, &err);
        else
            log_failure("heartbeat_failed", p->task->job.id, &err);
        return;
    }
    struct task *t = p->task;
    if (!interrupted && t->skipped <= t->index &&
        queue_skipped(p->parts.queue, t->job.id) == t->index) {
        t->skipped = t->index + 1;
        still_there(p, child_interrupt(p->child, p->serial, &err), &err);
        return;
    }
    if (interrupted && !p->task->interrupted) {
        p->task->interrupted = true;
        still_there(p, child_interrupt(p->child, p->serial, &err), &err);
    }
}

/* ---- the loop ---- */

/* When the worker has been silent for too long; INT64_MAX when it owes nothing. */
static int64_t hangs_at(struct painter *p)
{
    bool ready = painter_ready(p, NULL);
    if (child_fd(p->child) < 0 || (ready && idle(p)))
        return INT64_MAX;
    if (p->slowest == 0)
        return p->heard + p->patience.first_ms;
    double ms = p->slowest * 1000 * PAINTER_SLOWEST;
    return p->heard + (ms > p->patience.least_ms ? (int64_t)ms : p->patience.least_ms);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void wait_for_news(struct painter *p, int64_t until)
{
    struct pollfd fds[3] = {{.fd = p->wake, .events = POLLIN},
                            {.fd = child_fd(p->child), .events = POLLIN},
                            {.fd = child_log_fd(p->child), .events = POLLIN}};
    int64_t ms = until - now_ms();
    poll(fds, 3, ms < 0 ? 0 : ms > IDLE_MS ? IDLE_MS : (int)ms);
    uint64_t count;
    ssize_t ignored = read(p->wake, &count, sizeof count);
    (void)ignored;
}

static void *run(void *arg)
{
    struct painter *p = arg;
    struct err err;
    bool wanted = true; /* there may be a job */
    int64_t looked = 0;
    for (;;) {
        char load[REGISTRY_NAME_SIZE];
        pthread_mutex_lock(&p->lock);
        bool stop = p->stop, unload = p->unload, ask = p->ask;
        memcpy(load, p->load, sizeof load);
        p->load[0] = '\0';
        int64_t stop_at = p->stop_at, now = now_ms();
        wanted = wanted || p->look;
        p->unload = p->look = p->ask = false;
        pthread_mutex_unlock(&p->lock);

        if (stop && (!p->task || now >= stop_at))
            break;
        if (p->paints && child_fd(p->child) < 0 && now >= p->restart)
            start_worker(p);
        if (unload && child_fd(p->child) >= 0)
            still_there(p, child_unload(p->child, &err), &err);
        if (*load && child_fd(p->child) >= 0)
            load_model(p, load);
        read_worker(p);
        child_relay_log(p->child);
        feel_pulse(p, now);
        painter_tell(p, false);
        if (p->task && (ask || now >= p->heartbeat))
            heartbeat(p);
        if (now >= hangs_at(p))
            lose_worker(p, "it was silent for too long");

        if (!p->paints && now >= p->sweep)
            sweep(p);
        bool free_hands = p->paints && !stop && !p->task && idle(p) && painter_ready(p, NULL);
        if (free_hands && (wanted || now - looked >= IDLE_MS)) {
            wanted = look_for_job(p);
            looked = now;
        }
        int64_t until = p->task                ? p->heartbeat
                        : free_hands && wanted ? now
                        : free_hands           ? looked + IDLE_MS
                                               : now + IDLE_MS;
        if (p->paints && child_fd(p->child) < 0)
            until = least(until, p->restart);
        if (stop)
            until = least(until, stop_at);
        wait_for_news(p, least(until, least(hangs_at(p), pulse_due(&p->pulse))));
    }
    if (p->task)
        put_back_task(p);
    child_kill(p->child, NULL);
    set_pid(p, 0);
    struct err trouble;
    err_set(&trouble, ERR_BUSY, "the server stops");
    set_ready(p, false, &trouble);
    return NULL;
}

/* ---- what other threads call ---- */

static void on_event(void *ctx, const struct event *event)
{
    struct painter *p = ctx;
    if (event->kind != EVENT_STATE && event->kind != EVENT_TROUBLE && event->kind != EVENT_QUEUE)
        return;
    pthread_mutex_lock(&p->lock);
    bool look = event->state == JOB_QUEUED;
    bool ask = p->job_id[0] && strcmp(p->job_id, event->job_id) == 0;
    p->look = p->look || look;
    p->ask = p->ask || ask;
    pthread_mutex_unlock(&p->lock);
    if (look || ask)
        painter_wake(p);
}

void painter_free(struct painter *p)
{
    if (!p)
        return;
    events_unsubscribe(p->subscription);
    child_free(p->child);
    roster_worker_free(&p->self);
    if (p->wake >= 0)
        close(p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct painter *painter_new(const struct dispatch_parts *parts,
                            const struct painter_patience *patience, struct err *err)
{
    struct painter *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, ERR_INTERNAL, "no memory for the painter");
        return NULL;
    }
    p->parts = *parts;
    p->patience = *patience;
    err_set(&p->trouble, ERR_BUSY, "the worker is starting");
    p->paints = parts->settings->workers > 0;
    p->ready = !p->paints; /* nothing here has to start first */
    pthread_mutex_init(&p->lock, NULL);
    p->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    p->child = child_new(parts->settings, err);
    if (p->wake < 0)
        err_set(err, ERR_IO, "no eventfd: %s", strerror(errno));
    else if (p->child)
        p->subscription = events_subscribe(parts->events, NULL, on_event, p, err);
    if (!p->subscription)
        goto fail;
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        err_set(err, ERR_INTERNAL, "no thread for the painter");
        goto fail;
    }
    return p;

fail:
    painter_free(p);
    return NULL;
}

void painter_stop(struct painter *p, int timeout_ms)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    p->stop_at = now_ms() + timeout_ms;
    pthread_mutex_unlock(&p->lock);
    painter_wake(p);
    pthread_join(p->thread, NULL);
}
