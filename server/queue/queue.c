/* queue.c: see queue.h.
 *
 * One lock orders all changes of state: it is held from reading a job's row over the commit to the
 * end of its publication, so subscribers hear of changes in the order in which they happened, and
 * a decision is still true when it is written. Files are written and removed outside of it.
 * Reading takes the store's lock only.
 *
 * Leases end on the monotonic clock: a step of the wall clock or a suspended laptop expires none,
 * and a restart gives back every running job anyway, because the data folder has one server. */
#include "server/queue/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/store/blobs.h"
#include "server/store/store.h"

#define SWEEP_MS 1000                 /* how late an expired lease may be seen */
#define RETENTION_MS (10 * 60 * 1000) /* between looks for jobs older than keep_days */
#define RETENTION_BATCH 50
#define PATIENCE_MS 60000
#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

struct queue {
    struct store *store;
    struct events *events;
    const struct settings *settings;
    pthread_mutex_t lock;
    pthread_cond_t ready; /* a job became claimable, or queue_wake */
    pthread_cond_t end;   /* the sweeper shall stop */
    unsigned wakes;
    bool stop;
    pthread_t sweeper;
};

static int64_t lease_end(const struct queue *q)
{
    return now_ms() + (int64_t)q->settings->lease_seconds * 1000;
}

/* Waits under the lock until `deadline` on the monotonic clock; false when it has passed. */
static bool wait_until(struct queue *q, pthread_cond_t *cond, int64_t deadline)
{
    struct timespec t = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    return pthread_cond_timedwait(cond, &q->lock, &t) != ETIMEDOUT;
}

static void publish(struct queue *q, enum event_kind kind, const char *id, const char *key_id,
                    enum job_state state)
{
    struct event event = {.kind = kind, .state = state};
    snprintf(event.job_id, sizeof event.job_id, "%s", id);
    snprintf(event.key_id, sizeof event.key_id, "%s", key_id);
    events_publish(q->events, &event);
}

static void publish_state(struct queue *q, const char *id, const char *key_id, enum job_state state)
{
    publish(q, EVENT_STATE, id, key_id, state);
    if (state == JOB_QUEUED)
        pthread_cond_broadcast(&q->ready);
}

/* ---- changes of state, under the lock ---- */

static bool end_job(struct queue *q, const char *id, const char *key_id, enum job_state state,
                    const struct err *reason, struct err *err)
{
    struct err clean = {0};
    if (reason) { /* it goes into JSON */
        clean = *reason;
        json_text_mend(clean.msg);
    }
    if (!store_job_end(q->store, id, state, reason ? &clean : NULL, now_unix_ms(), err))
        return false;
    publish_state(q, id, key_id, state);
    return true;
}

/* A running job whose runner is gone: queued again, or final if that makes no sense. */
static bool give_back(struct queue *q, const char *id, const struct store_lease *lease,
                      const char *reason, bool counts, struct err *err)
{
    char text[200];
    log_event(LOG_WARN, "job_given_back", "job=%s attempt=%d reason=%s", id, lease->attempts,
              log_quote(text, sizeof text, reason));
    if (lease->interrupted) /* whoever interrupted it does not want it painted from the start */
        return end_job(q, id, lease->key_id, JOB_CANCELLED, NULL, err);
    if (counts && lease->attempts >= q->settings->max_attempts) {
        struct err why;
        err_set(&why, ERR_INTERNAL, "gave up after %d attempts: %s", lease->attempts, reason);
        return end_job(q, id, lease->key_id, JOB_FAILED, &why, err);
    }
    if (!store_job_requeue(q->store, id, counts, err))
        return false;
    publish_state(q, id, lease->key_id, JOB_QUEUED);
    return true;
}

/* Whether the claim still holds its job. */
static bool check_claim(struct queue *q, const struct claim *claim, struct store_lease *lease,
                        struct err *err)
{
    if (!store_job_lease(q->store, claim->job_id, lease, err))
        return false;
    if (lease->token == claim->token && lease->state == JOB_CANCELLED)
        return err_set(err, ERR_CANCELLED, "job %s was cancelled", claim->job_id);
    if (lease->token != claim->token || lease->state != JOB_RUNNING)
        return err_set(err, ERR_NOT_FOUND, "job %s is not held by claim %lld any more",
                       claim->job_id, (long long)claim->token);
    return true;
}

/* The lease of a job that `key_id` (NULL: anybody) may see. */
static bool find_job(struct queue *q, const char *id, const char *key_id, struct store_lease *lease,
                     struct err *err)
{
    if (!store_job_lease(q->store, id, lease, err))
        return false;
    if (key_id && strcmp(key_id, lease->key_id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    return true;
}

/* ---- the sweeper ---- */

static void log_failure(const char *event, const struct err *err)
{
    char text[300];
    log_event(LOG_ERROR, event, "reason=%s", log_quote(text, sizeof text, err->msg));
}

/* A row that cannot be read shall not be in the way of the others. Under the lock. */
static bool fail_damaged(struct queue *q, const char *id, const char *key_id,
                         const struct err *damage, struct err *err)
{
    log_failure("job_damaged", damage);
    return end_job(q, id, key_id, JOB_FAILED, damage, err);
}

/* Gives back the running jobs whose lease ended before `now`. Under the lock. */
static bool give_back_expired(struct queue *q, int64_t now, const char *reason, struct err *err)
{
    struct store_ids expired;
    do {
        if (!store_job_expired(q->store, now, 100, &expired, err))
            return false;
        bool done = true;
        for (size_t i = 0; i < expired.count && done; i++) {
            const char *id = expired.ids[i];
            struct store_lease lease;
            struct err damage = {0};
            if (store_job_lease(q->store, id, &lease, &damage))
                done = give_back(q, id, &lease, reason, true, err);
            else if (damage.code == ERR_INTERNAL)
                done = fail_damaged(q, id, lease.key_id, &damage, err);
            else
                done = err_set(err, damage.code, "%s", damage.msg);
        }
        free(expired.ids);
        if (!done)
            return false;
    } while (expired.count > 0);
    return true;
}

/* Removes one batch of jobs older than keep_days; false when there may be more. Without the
 * lock. */
static bool remove_old(struct queue *q)
{
    struct store_ids old;
    struct err err;
    bool all = true;
    if (q->settings->keep_days == 0)
        return true;
    if (!store_job_finished_before(q->store, now_unix_ms() - q->settings->keep_days * DAY_MS,
                                   RETENTION_BATCH, &old, &err)) {
        log_failure("retention_failed", &err);
        return true;
    }
    for (size_t i = 0; i < old.count; i++) {
        if (!queue_delete(q, old.ids[i], NULL, &err) && err.code != ERR_NOT_FOUND) {
            log_failure("retention_failed", &err);
            break;
        }
        all = old.count < RETENTION_BATCH;
    }
    if (old.count > 0)
        log_event(LOG_INFO, "old_jobs_removed", "count=%zu keep_days=%d", old.count,
                  q->settings->keep_days);
    free(old.ids);
    return all;
}

static void *sweep(void *arg)
{
    struct queue *q = arg;
    struct err err;
    char reason[80];
    int64_t retention = 0;
    snprintf(reason, sizeof reason, "its worker was silent for %d seconds",
             q->settings->lease_seconds);
    pthread_mutex_lock(&q->lock);
    while (!q->stop) {
        int64_t now = now_ms();
        if (!give_back_expired(q, now, reason, &err))
            log_failure("sweep_failed", &err);
        if (now >= retention) {
            pthread_mutex_unlock(&q->lock);
            if (remove_old(q))
                retention = now + RETENTION_MS;
            pthread_mutex_lock(&q->lock);
        }
        int64_t next = now_ms() + SWEEP_MS;
        while (!q->stop && wait_until(q, &q->end, next))
            ;
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

struct queue *queue_new(struct store *store, struct events *events, const struct settings *settings,
                        struct err *err)
{
    if (!blobs_init(store_data(store), err))
        return NULL;
    struct queue *q = calloc(1, sizeof *q);
    if (!q) {
        err_set(err, ERR_INTERNAL, "no memory for the queue");
        return NULL;
    }
    q->store = store;
    q->events = events;
    q->settings = settings;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->ready, &monotonic);
    pthread_cond_init(&q->end, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_lock(&q->lock);
    int nameless;
    bool done = store_job_nameless(store, &nameless, err) &&
                give_back_expired(q, INT64_MAX, "the server stopped while it ran", err);
    if (done && nameless > 0)
        log_event(LOG_ERROR, "jobs_damaged", "count=%d reason=\"their ids are no ids\"", nameless);
    pthread_mutex_unlock(&q->lock);
    if (done && pthread_create(&q->sweeper, NULL, sweep, q) != 0)
        done = err_set(err, ERR_INTERNAL, "no thread for the queue");
    if (done)
        return q;
    pthread_cond_destroy(&q->ready);
    pthread_cond_destroy(&q->end);
    pthread_mutex_destroy(&q->lock);
    free(q);
    return NULL;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_broadcast(&q->end);
    pthread_cond_broadcast(&q->ready);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->sweeper, NULL);
    pthread_cond_destroy(&q->ready);
    pthread_cond_destroy(&q->end);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* ---- the client's side ---- */

static bool check_room(struct queue *q, const char *key_id, struct err *err)
{
    int queued, running;
    if (!store_job_depth(q->store, NULL, &queued, &running, err))
        return false;
    if (queued >= q->settings->max_queue)
        return err_set(err, ERR_BUSY, "the queue is full: %d jobs wait", queued);
    if (!*key_id) /* without keys everybody is the same nobody, who may fill the whole queue */
        return true;
    if (!store_job_depth(q->store, key_id, &queued, &running, err))
        return false;
    if (queued >= q->settings->max_queue_per_key)
        return err_set(err, ERR_BUSY, "this key's share of the queue is full: %d jobs wait",
                       queued);
    return true;
}

static bool check_inputs(const struct job_params *params, const struct job_input *inputs,
                         size_t count, struct err *err)
{
    bool init = false, mask = false;
    for (size_t i = 0; i < count; i++) {
        bool *seen = strcmp(inputs[i].name, "init") == 0   ? &init
                     : strcmp(inputs[i].name, "mask") == 0 ? &mask
                                                           : NULL;
        if (!seen || *seen)
            return err_set(err, ERR_INTERNAL, "input \"%.20s\" is unknown or given twice",
                           inputs[i].name);
        *seen = true;
    }
    if (init != params->has_init || mask != params->has_mask)
        return err_set(err, ERR_INTERNAL, "the job's inputs are not those it says it has");
    return true;
}

static bool insert_job(struct queue *q, const struct job *job, const struct job_input *inputs,
                       size_t input_count, struct err *err)
{
    if (!store_begin(q->store, err))
        return false;
    bool done = check_room(q, job->key_id, err) && store_job_insert(q->store, job, err);
    for (size_t i = 0; i < input_count && done; i++)
        done = store_input_put(q->store, job->id, inputs[i].name, inputs[i].size, err);
    if (done)
        return store_commit(q->store, err);
    store_rollback(q->store);
    return false;
}

static void remove_inputs(struct queue *q, const char *job_id)
{
    static const char *const names[] = {"init", "mask"};
    char path[BLOBS_PATH_SIZE];
    for (int i = 0; i < 2; i++)
        if (blobs_input_path(path, store_data(q->store), job_id, names[i], NULL))
            blobs_remove(path);
}

bool queue_submit(struct queue *q, const char *key_id, int priority,
                  const struct job_params *params, const struct job_input *inputs,
                  size_t input_count, char id[JOB_ID_SIZE], struct err *err)
{
    struct job job = {.priority = priority, .created_ms = now_unix_ms(), .params = *params};
    char path[BLOBS_PATH_SIZE];
    id[0] = '\0';
    if (!key_id || strlen(key_id) >= sizeof job.key_id)
        return err_set(err, ERR_INTERNAL, "a key's id must be at most %zu bytes",
                       sizeof job.key_id - 1);
    strcpy(job.key_id, key_id);
    /* Asked again when it counts; here it saves writing pixels that will not be taken. */
    if (!check_inputs(params, inputs, input_count, err) || !check_room(q, key_id, err) ||
        !ids_random(job.id, JOB_ID_SIZE - 1, err))
        return false;
    bool done = true;
    for (size_t i = 0; i < input_count && done; i++)
        done = blobs_input_path(path, store_data(q->store), job.id, inputs[i].name, err) &&
               blobs_write(path, inputs[i].data, inputs[i].size, err);
    if (done) {
        pthread_mutex_lock(&q->lock);
        done = insert_job(q, &job, inputs, input_count, err);
        if (done)
            publish_state(q, job.id, key_id, JOB_QUEUED);
        pthread_mutex_unlock(&q->lock);
    }
    if (!done && input_count > 0)
        remove_inputs(q, job.id);
    if (done)
        memcpy(id, job.id, JOB_ID_SIZE);
    return done;
}

static void add_progress(struct queue *q, struct job *job)
{
    if (job->state == JOB_RUNNING)
        events_last(q->events, job->id, &job->progress, NULL, NULL);
}

bool queue_get(struct queue *q, const char *id, const char *key_id, struct job *out,
               struct err *err)
{
    if (!store_job_get(q->store, id, key_id, out, err))
        return false;
    add_progress(q, out);
    return true;
}

bool queue_glance(struct queue *q, const char *id, enum job_state *state, int *images,
                  struct err *err)
{
    struct store_lease lease;
    bool done = store_job_lease(q->store, id, &lease, err);
    *state = lease.state;
    *images = lease.images;
    return done;
}

bool queue_ask_again(int64_t *since, const struct err *err)
{
    int64_t now = now_ms();
    if (err->code != ERR_BUSY && err->code != ERR_IO)
        return false;
    if (*since == 0)
        *since = now;
    return now - *since < PATIENCE_MS;
}

bool queue_list(struct queue *q, const struct job_filter *filter, struct job **jobs, size_t *count,
                int64_t *next, struct err *err)
{
    if (!store_job_list(q->store, filter, jobs, count, next, err))
        return false;
    for (size_t i = 0; i < *count; i++)
        add_progress(q, &(*jobs)[i]);
    return true;
}

/* Cancels; or, with `interrupt`, lets a running job end with what is painted. */
static bool stop_job(struct queue *q, const char *id, const char *key_id, bool interrupt,
                     struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = find_job(q, id, key_id, &lease, err);
    if (done && job_state_is_final(lease.state)) {
        done = err_set(err, ERR_INVALID, "the job is already %s", job_state_name(lease.state));
    } else if (done && interrupt && lease.state == JOB_RUNNING) {
        done = store_job_interrupt(q->store, id, err);
        /* Still running, but its runner shall ask now. */
        if (done)
            publish_state(q, id, lease.key_id, JOB_RUNNING);
    } else if (done) {
        done = end_job(q, id, lease.key_id, JOB_CANCELLED, NULL, err);
    }
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_cancel(struct queue *q, const char *id, const char *key_id, struct err *err)
{
    return stop_job(q, id, key_id, false, err);
}

bool queue_interrupt(struct queue *q, const char *id, const char *key_id, struct err *err)
{
    return stop_job(q, id, key_id, true, err);
}

static void remove_image(struct queue *q, const char *id, const char *format)
{
    char path[BLOBS_PATH_SIZE];
    if (blobs_image_path(path, store_data(q->store), id, format, NULL))
        blobs_remove(path);
}

bool queue_delete(struct queue *q, const char *id, const char *key_id, struct err *err)
{
    struct store_lease lease;
    struct job job = {0};
    struct err damage;
    pthread_mutex_lock(&q->lock);
    bool done = find_job(q, id, key_id, &lease, err);
    if (done && !job_state_is_final(lease.state))
        done = err_set(err, ERR_INVALID, "the job is still %s", job_state_name(lease.state));
    /* A job whose request cannot be read can still be removed; fsck finds its pictures. */
    if (done && !store_job_get(q->store, id, NULL, &job, &damage) && damage.code != ERR_INTERNAL)
        done = err_set(err, damage.code, "%s", damage.msg);
    done = done && store_job_delete(q->store, id, err);
    if (done)
        publish(q, EVENT_DELETED, id, lease.key_id, lease.state);
    pthread_mutex_unlock(&q->lock);
    /* The rows are gone first: a crash now leaves files without rows, never rows without files. */
    if (done) {
        for (size_t i = 0; i < job.image_count; i++)
            remove_image(q, job.images[i].id, job.images[i].format);
        remove_inputs(q, id);
    }
    job_free(&job);
    return done;
}

bool queue_depth(struct queue *q, const char *key_id, int *queued, int *running, struct err *err)
{
    return store_job_depth(q->store, key_id, queued, running, err);
}

bool queue_backlog(struct queue *q, struct job_backlog *out, size_t max, size_t *count,
                   struct err *err)
{
    return store_job_backlog(q->store, out, max, count, err);
}

/* ---- the runner's side ---- */

/* Claims the job whose turn it is. False with ERR_NONE when none is there; *again when one was
 * there but could not be read, and has failed for it. Under the lock. */
static bool claim_next(struct queue *q, const char *owner, const char *const *models,
                       size_t model_count, struct job *job, struct claim *claim, bool *again,
                       struct err *err)
{
    struct err damage = {0};
    *again = false;
    if (!store_job_next(q->store, models, model_count, claim->job_id, err))
        return false;
    if (!claim->job_id[0])
        return err_set(err, ERR_NONE, "no job waits");
    if (!store_begin(q->store, err))
        return false;
    if (!store_job_start(q->store, claim->job_id, owner, now_unix_ms(), lease_end(q), &claim->token,
                         err)) {
        store_rollback(q->store);
        return false;
    }
    if (!store_job_get(q->store, claim->job_id, NULL, job, &damage)) {
        store_rollback(q->store);
        if (damage.code != ERR_INTERNAL)
            return err_set(err, damage.code, "%s", damage.msg);
        *again = fail_damaged(q, claim->job_id, job->key_id, &damage, err);
        return false;
    }
    if (!store_commit(q->store, err)) {
        job_free(job);
        return false;
    }
    publish_state(q, job->id, job->key_id, JOB_RUNNING);
    return true;
}

bool queue_claim(struct queue *q, const char *owner, const char *const *models, size_t model_count,
                 int timeout_ms, struct job *job, struct claim *claim, struct err *err)
{
    struct err none;
    int64_t deadline = now_ms() + timeout_ms;
    bool claimed = false, again, waited = true;
    if (!err)
        err = &none;
    *job = (struct job){0};
    *claim = (struct claim){0};
    pthread_mutex_lock(&q->lock);
    unsigned wakes = q->wakes;
    while (!q->stop) {
        err->code = ERR_NONE;
        claimed = claim_next(q, owner, models, model_count, job, claim, &again, err);
        if (again)
            continue;
        if (claimed || err->code != ERR_NONE || !waited || q->wakes != wakes)
            break;
        waited = wait_until(q, &q->ready, deadline);
    }
    pthread_mutex_unlock(&q->lock);
    return claimed;
}

void queue_wake(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->wakes++;
    pthread_cond_broadcast(&q->ready);
    pthread_mutex_unlock(&q->lock);
}

bool queue_heartbeat(struct queue *q, const struct claim *claim, bool *interrupted, struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = check_claim(q, claim, &lease, err) &&
                store_job_renew(q->store, claim->job_id, lease_end(q), err);
    pthread_mutex_unlock(&q->lock);
    *interrupted = done && lease.interrupted;
    return done;
}

bool queue_input(struct queue *q, const char *job_id, const char *name, void **data, size_t *size,
                 struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    *data = NULL;
    return store_input_bytes(q->store, job_id, name, size, err) &&
           blobs_input_path(path, store_data(q->store), job_id, name, err) &&
           blobs_read(path, *size, data, err);
}

/* The row of a picture whose file is on disk. */
static bool commit_image(struct queue *q, const struct claim *claim, const struct job_image *image,
                         struct job_image *replaced, struct err *err)
{
    struct store_lease lease;
    if (!check_claim(q, claim, &lease, err) || !store_begin(q->store, err))
        return false;
    if (!store_image_put(q->store, claim->job_id, image, replaced, err)) {
        store_rollback(q->store);
        return false;
    }
    if (!store_commit(q->store, err))
        return false;
    struct event event = {.kind = EVENT_IMAGE, .state = JOB_RUNNING, .image_index = image->index};
    memcpy(event.job_id, claim->job_id, sizeof event.job_id);
    memcpy(event.key_id, lease.key_id, sizeof event.key_id);
    memcpy(event.image_id, image->id, sizeof event.image_id);
    events_publish(q->events, &event);
    return true;
}

bool queue_store_image(struct queue *q, const struct claim *claim, struct job_image *image,
                       const void *data, size_t size, struct err *err)
{
    struct store_lease lease;
    struct job_image replaced = {0};
    char path[BLOBS_PATH_SIZE];
    pthread_mutex_lock(&q->lock);
    bool done = check_claim(q, claim, &lease, err);
    pthread_mutex_unlock(&q->lock);
    if (!done)
        return false;
    if (image->index < 0 || image->index >= lease.count)
        return err_set(err, ERR_INTERNAL, "picture %d of a job of %d", image->index, lease.count);
    image->bytes = size;
    if (!ids_random(image->id, JOB_ID_SIZE - 1, err) ||
        !blobs_image_path(path, store_data(q->store), image->id, image->format, err) ||
        !blobs_write(path, data, size, err))
        return false;
    pthread_mutex_lock(&q->lock);
    done = commit_image(q, claim, image, &replaced, err);
    pthread_mutex_unlock(&q->lock);
    if (!done)
        blobs_remove(path);
    else if (replaced.id[0])
        remove_image(q, replaced.id, replaced.format);
    return done;
}

bool queue_finish(struct queue *q, const struct claim *claim, struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = check_claim(q, claim, &lease, err);
    if (done && lease.images < lease.count && !lease.interrupted)
        done = err_set(err, ERR_INTERNAL, "job %s has %d of %d pictures", claim->job_id,
                       lease.images, lease.count);
    /* Interrupted before its first picture: there is nothing that it could be done with. */
    enum job_state state = lease.images > 0 ? JOB_DONE : JOB_CANCELLED;
    done = done && end_job(q, claim->job_id, lease.key_id, state, NULL, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_fail(struct queue *q, const struct claim *claim, const struct err *reason,
                struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = check_claim(q, claim, &lease, err) &&
                end_job(q, claim->job_id, lease.key_id, JOB_FAILED, reason, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

static bool release(struct queue *q, const struct claim *claim, const char *reason, bool counts,
                    struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = check_claim(q, claim, &lease, err) &&
                give_back(q, claim->job_id, &lease, reason, counts, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_release(struct queue *q, const struct claim *claim, const char *reason, struct err *err)
{
    return release(q, claim, reason, true, err);
}

bool queue_put_back(struct queue *q, const struct claim *claim, const char *reason, struct err *err)
{
    return release(q, claim, reason, false, err);
}

/* ---- images ---- */

bool queue_image(struct queue *q, const char *image_id, const char *key_id, struct job_image *image,
                 void **data, size_t *size, struct err *err)
{
    struct job_image found;
    char path[BLOBS_PATH_SIZE];
    if (data)
        *data = NULL;
    if (image)
        *image = (struct job_image){0};
    if (!store_image_get(q->store, image_id, key_id, &found, err))
        return false;
    if (data && (!blobs_image_path(path, store_data(q->store), found.id, found.format, err) ||
                 !blobs_read(path, found.bytes, data, err))) {
        free(found.infotext);
        return false;
    }
    if (data)
        *size = found.bytes;
    if (image)
        *image = found;
    else
        free(found.infotext);
    return true;
}
