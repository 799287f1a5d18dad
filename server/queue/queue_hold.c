/* queue_hold.c: see queue_hold.h. An order by hand is a number of each job that has one, the
 * greater first: to move a job before another, all jobs up to there get numbers. */
#include "server/queue/queue_hold.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/queue/queue_private.h"

#define AHEAD_MOST 10000 /* each gets a number of its own when one is moved behind them */

#define OPTION "queue_paused"

bool queue_hold_read(struct queue *q, struct err *err)
{
    char *value;
    if (!store_option_get(q->store, OPTION, &value, err))
        return false;
    bool paused = value && strcmp(value, "1") == 0;
    free(value);
    if (paused != q->paused)
        log_event(LOG_WARN, paused ? "queue_paused" : "queue_resumed", "by=\"the store\"");
    q->paused = paused;
    return true;
}

bool queue_hold_pause(struct queue *q, bool paused, struct err *err)
{
    pthread_mutex_lock(&q->lock);
    bool done = store_option_set(q->store, OPTION, paused ? "1" : "0", err);
    if (done && paused != q->paused) {
        q->paused = paused;
        log_event(LOG_WARN, paused ? "queue_paused" : "queue_resumed", " ");
        queue_publish(q, EVENT_QUEUE, "", "", JOB_QUEUED);
    }
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_hold_is_paused(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    bool paused = q->paused;
    pthread_mutex_unlock(&q->lock);
    return paused;
}

/* Where `id` is in the line, or its length. */
static size_t place_of(const struct store_ids *line, const char *id)
{
    size_t at = 0;
    while (at < line->count && strcmp(line->ids[at], id) != 0)
        at++;
    return at;
}

/* In a transaction. */
static bool move(struct queue *q, const char *id, const char *before, struct err *err)
{
    struct store_ids line = {0};
    int64_t most;
    if (!store_job_line(q->store, &line, err) || !store_job_rank_most(q->store, &most, err)) {
        free(line.ids);
        return false;
    }
    size_t ahead = before ? place_of(&line, before) : 0; /* those that stay before it */
    if (ahead > AHEAD_MOST) {
        free(line.ids);
        return err_set(err, ERR_INVALID, "more than %d jobs are before that one: take another",
                       AHEAD_MOST);
    }
    if (before && ahead == line.count) { /* the line has the first alone of very many */
        free(line.ids);
        return err_set(err, ERR_INVALID,
                       "so many jobs are before that one that it has no place yet: take another");
    }
    int64_t rank = most + (int64_t)ahead + 2;            /* `before` gets one above all, too */
    bool done = true;
    for (size_t i = 0; i < ahead && i < line.count && done; i++)
        if (strcmp(line.ids[i], id) != 0)
            done = store_job_rank(q->store, line.ids[i], rank--, err) ||
                   err->code == ERR_NOT_FOUND; /* another server runs it by now */
    done = done && store_job_rank(q->store, id, rank--, err) &&
           (!before || store_job_rank(q->store, before, rank, err));
    free(line.ids);
    return done;
}

static bool is_queued(struct queue *q, const char *id, struct err *err)
{
    struct store_lease lease;
    return queue_find(q, id, NULL, &lease, err) &&
           (lease.state == JOB_QUEUED ||
            err_set(err, ERR_INVALID, "the job is %s, not queued", job_state_name(lease.state)));
}

bool queue_hold_move(struct queue *q, const char *id, const char *before, bool *blamed,
                     struct err *err)
{
    bool sound = true;
    pthread_mutex_lock(&q->lock);
    bool done = is_queued(q, id, err);
    if (done && before)
        done = sound = strcmp(id, before) == 0
                           ? err_set(err, ERR_INVALID, "a job cannot be moved before itself")
                           : is_queued(q, before, err);
    done = done && store_begin(q->store, err) &&
           store_end(q->store, move(q, id, before, err), err);
    if (done)
        queue_publish(q, EVENT_QUEUE, "", "", JOB_QUEUED);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    if (blamed)
        *blamed = !sound;
    return done;
}
