/* queue_state.c: every change of a job's state, each under the queue's lock and published under it;
 * and whether this machine can write at all (see queue_sweep.c). */
#include "server/queue/queue_private.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/queue/queue_line.h"

int64_t queue_lease_ms(const struct queue *q)
{
    return (int64_t)q->settings->lease_seconds * 1000;
}

void queue_publish(struct queue *q, enum event_kind kind, const char *id, const char *key_id,
                   enum job_state state)
{
    struct event event = {.kind = kind, .state = state};
    queue_line_changed(q->line);
    if (store_tells(q->store) && kind != EVENT_TROUBLE) /* it comes back as news */
        return;
    snprintf(event.job_id, sizeof event.job_id, "%s", id);
    snprintf(event.key_id, sizeof event.key_id, "%s", key_id);
    events_publish(q->events, &event);
}

void queue_publish_state(struct queue *q, const char *id, const char *key_id, enum job_state state)
{
    queue_publish(q, EVENT_STATE, id, key_id, state);
}

void queue_log_failure(const char *event, const struct err *err)
{
    log_err(LOG_ERROR, event, err, " ");
}

bool queue_note(struct queue *q, bool done, const struct err *err)
{
    if (done || !err || !err_is_passing(err->code))
        return done;
    bool first = q->trouble.code == ERR_NONE;
    q->trouble = *err;
    if (first) {
        queue_log_failure("store_trouble", err);
        q->probes = 0;
        pthread_cond_broadcast(&q->end);
        queue_publish(q, EVENT_TROUBLE, "", "", JOB_QUEUED);
    }
    return false;
}

bool queue_may_be_written(const struct queue *q, const struct err *err)
{
    return store_tells(q->store) && err->code == ERR_UNAVAILABLE;
}

void queue_note_file(struct queue *q, size_t size, const struct err *err)
{
    pthread_mutex_lock(&q->lock);
    if (err && err_is_passing(err->code) && size > q->room)
        q->room = size;
    queue_note(q, false, err);
    pthread_mutex_unlock(&q->lock);
}

static bool is_abandoned(const struct queue *q, const char *id)
{
    for (size_t i = 0; i < q->abandoned_count; i++)
        if (strcmp(q->abandoned[i], id) == 0)
            return true;
    return false;
}

bool queue_wait_until_well(struct queue *q, const struct claim *claim, const struct err *err)
{
    if (!err_is_passing(err->code) || q->hurry || claim->afar)
        return false;
    while (q->trouble.code != ERR_NONE && !q->hurry && !is_abandoned(q, claim->job_id))
        pthread_cond_wait(&q->well, &q->lock);
    return !q->hurry;
}

bool queue_end_refused(struct queue *q, const char *id, const char *key_id, int64_t token,
                       enum job_state state, const struct err *reason, const char *refusal,
                       struct err *err)
{
    struct err clean = {0};
    if (reason) { /* it goes into JSON */
        clean = *reason;
        json_text_mend(clean.msg);
    }
    if (!store_job_end(q->store, id, token, state, reason ? &clean : NULL, refusal, now_unix_ms(),
                       err))
        return false;
    queue_publish_state(q, id, key_id, state);
    return true;
}

bool queue_end_job(struct queue *q, const char *id, const char *key_id, enum job_state state,
                   const struct err *reason, struct err *err)
{
    return queue_end_refused(q, id, key_id, 0, state, reason, NULL, err);
}

bool queue_give_back(struct queue *q, const char *id, const struct store_lease *lease,
                     const char *reason, enum store_requeue how, struct err *err)
{
    char text[200];
    log_event(LOG_WARN, "job_given_back", "job=%s attempt=%d reason=%s", id, lease->attempts,
              log_quote(text, sizeof text, reason));
    if (lease->interrupted) /* who interrupts a job does not want it painted from the start */
        return queue_end_refused(q, id, lease->key_id, lease->token, JOB_CANCELLED, NULL, NULL,
                                 err);
    if (how != STORE_REQUEUE_UNCOUNTED && lease->attempts >= q->settings->max_attempts) {
        struct err why;
        err_set(&why, ERR_INTERNAL, "gave up after %d attempts: %s", lease->attempts, reason);
        return queue_end_refused(q, id, lease->key_id, lease->token, JOB_FAILED, &why, NULL, err);
    }
    if (!store_job_requeue(q->store, id, lease->token, how, err))
        return false;
    queue_publish_state(q, id, lease->key_id, JOB_QUEUED);
    return true;
}

bool queue_check_claim(struct queue *q, const struct claim *claim, struct store_lease *lease,
                       struct err *err)
{
    if (!queue_note(q, store_job_lease(q->store, claim->job_id, lease, err), err))
        return false;
    if (lease->token == claim->token &&
        (lease->state == JOB_CANCELLED || is_abandoned(q, claim->job_id)))
        return err_set(err, ERR_CANCELLED, "job %s was cancelled", claim->job_id);
    if (lease->token != claim->token || lease->state != JOB_RUNNING)
        return err_set(err, ERR_NOT_FOUND, "job %s is not held by claim %lld any more",
                       claim->job_id, (long long)claim->token);
    return true;
}

bool queue_fail_damaged(struct queue *q, const char *id, const char *key_id,
                        const struct err *damage, struct err *err)
{
    queue_log_failure("job_damaged", damage);
    return queue_end_job(q, id, key_id, JOB_FAILED, damage, err);
}
