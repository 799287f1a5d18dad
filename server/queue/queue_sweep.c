/* queue_sweep.c: what happens without anybody asking: leases end, old jobs are removed, jobs of
 * revoked keys end, and trouble passes.
 *
 * Trouble: when this machine cannot write (a full disk, no descriptors, a folder that was taken
 * away), no job pays for it. The first failure is noted (queue_note); until a probe succeeds, soon
 * at first, then ever more seldom, nothing is claimed, no lease ends, what runners have to say
 * waits, and the jobs that somebody gave up meanwhile are kept in mind. */
#include "server/queue/queue_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/store/blobs.h"
#include "server/store/orphans.h"

#define SWEEP_MS 1000                 /* how late an expired lease may be seen */
#define RETENTION_MS (10 * 60 * 1000) /* between looks for jobs older than keep_days */
#define ASIDE_PARTS 10 /* how late of undo_seconds what was deleted may go for good: a tenth */
#define ASIDE_MOST_MS 30000
#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)
#define PROBE_BYTES (64 << 10) /* a small picture */
#define OTHERS_SECONDS 3600    /* longer than a database is away */
#define PROBE_LEAST_MS 50
#define SEEMS_MS 200 /* who asks for signs of life waits for a second */
#define PROBE_MOST_MS 3000

/* 1: the job's lease; 0: its row is damaged, and the job has failed for it; -1: `err`. Under the
 * lock. */
static int lease_of(struct queue *q, const char *id, struct store_lease *lease, struct err *err)
{
    struct err damage = {0};
    if (store_job_lease(q->store, id, lease, &damage))
        return 1;
    if (damage.code == ERR_INTERNAL)
        return queue_fail_damaged(q, id, lease->key_id, &damage, err) ? 0 : -1;
    err_copy(err, &damage);
    return -1;
}

typedef bool list_fn(struct store *st, int limit, struct store_ids *ids, struct err *err);

/* Gives back the jobs of a list. Under the lock. */
static bool give_back_listed(struct queue *q, list_fn *list, const char *reason,
                             enum store_requeue why, struct err *err)
{
    struct store_ids ids;
    do {
        if (!list(q->store, 100, &ids, err))
            return false;
        bool done = true;
        for (size_t i = 0; i < ids.count && done; i++) {
            const char *id = ids.ids[i];
            struct store_lease lease;
            int read = lease_of(q, id, &lease, err);
            done = read > 0 ? queue_give_back(q, id, &lease, reason, why, err) : read == 0;
            done = done || err->code == ERR_NOT_FOUND; /* another server was faster */
        }
        free(ids.ids);
        if (!done)
            return false;
    } while (ids.count > 0);
    return true;
}

/* Cancels the first jobs of a list. Under the lock. */
static bool cancel_listed(struct queue *q, list_fn *list, size_t *count, struct err *err)
{
    struct store_ids ids;
    if (!list(q->store, 100, &ids, err))
        return false;
    bool done = true;
    *count = ids.count;
    for (size_t i = 0; i < ids.count && done; i++) {
        const char *id = ids.ids[i];
        struct store_lease lease;
        int read = lease_of(q, id, &lease, err);
        done = read > 0 ? queue_end_job(q, id, lease.key_id, JOB_CANCELLED, NULL, err) : read == 0;
        done = done || err->code == ERR_NOT_FOUND; /* it has ended meanwhile */
    }
    free(ids.ids);
    return done;
}

/* Jobs of revoked keys: nobody may have their pictures. Under the lock. */
static bool cancel_keyless(struct queue *q, struct err *err)
{
    size_t count;
    return cancel_listed(q, store_job_keyless, &count, err);
}

/* Jobs of an earlier server's clients, whose requests ended with it. Under the lock. */
static bool cancel_waited(struct queue *q, struct err *err)
{
    size_t count, all = 0;
    do {
        if (!cancel_listed(q, store_job_waited, &count, err))
            return false;
        all += count;
    } while (count > 0);
    if (all > 0)
        log_event(LOG_INFO, "jobs_cancelled",
                  "count=%zu reason=\"their clients lost the server that stopped\"", all);
    return true;
}

/* Removes one batch of jobs older than keep_days; false when there may be more. Without the
 * lock. */
static bool remove_old(struct queue *q)
{
    size_t removed;
    bool jumped, believed = steady_believes(&q->clock, now_unix_ms(), now_boot_ms(), &jumped);
    if (q->settings->keep_days == 0 || !store_leads(q->store))
        return true;
    if (jumped)
        log_event(LOG_WARN, "clock_jumped", "keep_days=%d reason=\"nothing is removed for a day\"",
                  q->settings->keep_days);
    if (!believed)
        return true;
    bool all = queue_remove_before(q, store_job_finished_before, queue_remove_job,
                                   now_unix_ms() - q->settings->keep_days * DAY_MS,
                                   "retention_failed", &removed);
    if (removed > 0)
        log_event(LOG_INFO, "old_jobs_removed", "count=%zu keep_days=%d", removed,
                  q->settings->keep_days);
    return all;
}

bool queue_take_over(struct queue *q, struct err *err)
{
    int nameless;
    const char *reason = "the server stopped while it ran";
    q->taken_over = queue_hold_read(q, err) && store_job_nameless(q->store, &nameless, err) &&
                    store_job_spare(q->store, queue_lease_ms(q), err) &&
                    give_back_listed(q, store_job_own, reason, STORE_REQUEUE_UNCOUNTED, err) &&
                    cancel_waited(q, err);
    if (q->taken_over && nameless > 0)
        log_event(LOG_ERROR, "jobs_damaged", "count=%d reason=\"their ids are no ids\"", nameless);
    return q->taken_over;
}

static bool cancel_abandoned(struct queue *q, struct err *err)
{
    while (q->abandoned_count > 0) {
        const char *id = q->abandoned[q->abandoned_count - 1];
        struct store_lease lease;
        if (store_job_lease(q->store, id, &lease, err) && !job_state_is_final(lease.state))
            queue_end_job(q, id, lease.key_id, JOB_CANCELLED, NULL, err);
        if (err_is_passing(err->code))
            return false;
        q->abandoned_count--;
    }
    return true;
}

void queue_probe(struct queue *q)
{
    struct err err = {0};
    size_t room = q->room > PROBE_BYTES ? q->room : PROBE_BYTES;
    if (q->probing) {
        while (q->probing)
            pthread_cond_wait(&q->well, &q->lock);
        return;
    }
    q->probing = true;
    pthread_mutex_unlock(&q->lock);
    const char *data = store_data(q->store);
    bool well = store_probe(q->store, &err) && blobs_reserve(data, &err) &&
                blobs_probe(q->blobs, room, &err);
    pthread_mutex_lock(&q->lock);
    q->probing = false;
    pthread_cond_broadcast(&q->well);
    if (!well || !(q->taken_over || queue_take_over(q, &err)) || !cancel_abandoned(q, &err)) {
        queue_note(q, false, &err);
        return;
    }
    log_event(LOG_WARN, "store_well", " ");
    q->trouble = (struct err){0};
    q->room = 0;
    q->grace = now_ms() + queue_lease_ms(q);
    queue_publish(q, EVENT_TROUBLE, "", "", JOB_QUEUED);
}

static bool stops(void *ctx)
{
    struct queue *q = ctx;
    pthread_mutex_lock(&q->lock);
    bool stop = q->stop;
    pthread_mutex_unlock(&q->lock);
    return stop;
}

/* One without any job is new, or not the one that this folder's files are of. */
static bool knows_jobs(struct store *st, struct err *err)
{
    const struct job_filter any = {.state = -1, .limit = 1};
    struct job *jobs;
    size_t count;
    int64_t next;
    if (!store_job_list(st, &any, &jobs, &count, &next, err))
        return false;
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
    return count > 0;
}

/* Without the lock. */
static void put_orphans_away(struct queue *q)
{
    struct err err = {0};
    size_t count;
    const struct store_place beside = {.data = store_data(q->store)};
    /* A database in the folder itself, not moved into this one yet, may have the rows. */
    if (store_tells(q->store) && store_exists(&beside))
        return;
    if (!knows_jobs(q->store, &err)) {
        if (err.code != ERR_NONE)
            queue_log_failure("orphans_failed", &err);
        return;
    }
    /* Another server may have written a file whose row waits for the database. */
    time_t before = store_tells(q->store) ? q->started - OTHERS_SECONDS : q->started;
    if (!orphans_put_away(q->store, before, &q->files, stops, q, &count, &err))
        queue_log_failure("orphans_failed", &err);
    if (count > 0)
        log_event(LOG_WARN, "orphans_put_away", "count=%zu folder=lost", count);
}

/* Waits under the lock until `deadline` on the monotonic clock; false when it has passed. */
static bool wait_until(struct queue *q, int64_t deadline)
{
    struct timespec t = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    return pthread_cond_timedwait(&q->end, &q->lock, &t) != ETIMEDOUT;
}

/* Without the lock; when to come again. */
static int64_t empty_aside(struct queue *q, bool full)
{
    int64_t wait = q->settings->undo_seconds * (int64_t)1000 / ASIDE_PARTS;
    if (!queue_aside_empty(q, full))
        return 0;
    return now_ms() + (wait < SWEEP_MS ? SWEEP_MS : wait > ASIDE_MOST_MS ? ASIDE_MOST_MS : wait);
}

void *queue_sweep(void *arg)
{
    struct queue *q = arg;
    struct err err;
    char reason[80];
    int64_t retention = 0, aside = 0;
    bool looked = false;
    snprintf(reason, sizeof reason, "its worker was silent for %d seconds",
             q->settings->lease_seconds);
    pthread_mutex_lock(&q->lock);
    while (!q->stop) {
        int64_t now = now_ms();
        queue_note(q, store_present(q->store, &err), &err);
        if (q->trouble.code != ERR_NONE)
            queue_probe(q);
        else if (now >= q->grace &&
                 !queue_note(q,
                             give_back_listed(q, store_job_expired, reason,
                                              STORE_REQUEUE_EXPIRED, &err) &&
                                 cancel_keyless(q, &err),
                             &err))
            queue_log_failure("sweep_failed", &err);
        if (!looked && q->trouble.code == ERR_NONE) {
            looked = true;
            pthread_mutex_unlock(&q->lock);
            put_orphans_away(q);
            pthread_mutex_lock(&q->lock);
        }
        if (now >= retention && q->trouble.code == ERR_NONE) {
            pthread_mutex_unlock(&q->lock);
            if (remove_old(q))
                retention = now + RETENTION_MS;
            pthread_mutex_lock(&q->lock);
        }
        bool full = q->trouble.code == ERR_NO_ROOM;
        if (full || (now >= aside && q->trouble.code == ERR_NONE)) {
            pthread_mutex_unlock(&q->lock);
            aside = empty_aside(q, full);
            pthread_mutex_lock(&q->lock);
        }
        bool trouble = q->trouble.code != ERR_NONE;
        int64_t next = now_ms() + (trouble ? backoff_ms(++q->probes, PROBE_LEAST_MS, PROBE_MOST_MS)
                                           : SWEEP_MS);
        while (!q->stop && wait_until(q, next) && trouble == (q->trouble.code != ERR_NONE))
            ;
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

void queue_abandon(struct queue *q, const char *id)
{
    struct err err;
    if (queue_cancel(q, id, NULL, &err) || err.code == ERR_INVALID || err.code == ERR_NOT_FOUND)
        return;
    queue_log_failure("cancel_later", &err);
    pthread_mutex_lock(&q->lock);
    size_t count = q->abandoned_count + 1;
    void *grown = realloc(q->abandoned, count * sizeof *q->abandoned);
    if (grown) {
        q->abandoned = grown;
        q->abandoned_count = count;
        snprintf(q->abandoned[count - 1], sizeof *q->abandoned, "%s", id);
        queue_note(q, false, &err);
    }
    pthread_cond_broadcast(&q->well);
    pthread_mutex_unlock(&q->lock);
}

bool queue_well(struct queue *q, struct err *err)
{
    pthread_mutex_lock(&q->lock);
    bool well = q->trouble.code == ERR_NONE;
    if (!well && err)
        *err = q->trouble;
    pthread_mutex_unlock(&q->lock);
    return well;
}

bool queue_seems_well(struct queue *q, struct err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SEEMS_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_mutex_timedlock(&q->lock, &until) != 0)
        return true;
    bool well = q->trouble.code == ERR_NONE;
    if (!well)
        *err = q->trouble;
    pthread_mutex_unlock(&q->lock);
    return well;
}

void queue_hurry(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->hurry = true;
    pthread_cond_broadcast(&q->well);
    pthread_mutex_unlock(&q->lock);
}
