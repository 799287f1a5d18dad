/* queue_run.c: a runner's side of the queue: claims, pictures, and how it ended. */
#include "server/queue/queue_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/base/now.h"
#include "server/store/blobs.h"

static bool has(const char *const *models, size_t count, const char *model)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(models[i], model) == 0)
            return true;
    return false;
}

static int class_of(int64_t priority)
{
    return (priority > 0) - (priority < 0);
}

/* Whether `other` may go before the job whose turn it is. */
static bool may_pass(const struct store_turn *due, const struct store_turn *other)
{
    bool same_key = strcmp(due->key_id, other->key_id) == 0;
    return other->id[0] && due->rank == 0 && other->rank == 0 &&
           class_of(due->priority) == class_of(other->priority) &&
           (!same_key || due->priority == other->priority);
}

/* Puts what the runner would rather have in place of *turn, which is due. Under the lock, in a
 * transaction. */
static bool prefer(struct queue *q, struct queue_taste *t, struct store_turn *turn, struct err *err)
{
    int64_t now = now_ms(), waited = now_unix_ms() - turn->created_ms;
    bool patient = waited < QUEUE_PASS_MS || !t->passing_ms || now < t->passing_ms + QUEUE_PASS_MS;
    bool passed = false;
    for (size_t i = 0; i < QUEUE_LISTS && patient && !passed; i++) {
        struct store_turn other;
        if (has(t->lists[i].models, t->lists[i].count, turn->model))
            break;
        if (t->lists[i].count == 0)
            continue;
        if (!store_job_turn(q->store, t->lists[i].models, t->lists[i].count, &other, err))
            return false;
        passed = may_pass(turn, &other);
        if (passed)
            *turn = other;
    }
    waited = now_unix_ms() - turn->created_ms;
    t->left = !passed && t->leave && waited < QUEUE_LEAVE_MS && t->leave(t->ctx, turn->model);
    if (t->left)
        return true;
    t->passing_ms = !passed ? 0 : t->passing_ms ? t->passing_ms : now;
    return true;
}

/* Claims the job whose turn it is. False with ERR_NONE when none is there; *again when one was
 * there but could not be read, and has failed for it. Under the lock. */
static bool claim_next(struct queue *q, const char *owner, const char *const *models,
                       size_t model_count, struct queue_taste *taste, struct job *job,
                       struct claim *claim, bool *again, struct err *err)
{
    struct err damage = {0};
    struct store_turn turn;
    *again = false;
    if (q->trouble.code != ERR_NONE)
        return err_set(err, ERR_NONE, "nothing is claimed that could not be stored");
    if (q->paused)
        return err_set(err, ERR_NONE, "the queue is paused");
    /* What is found is held: another server finds the one behind it. */
    if (!store_begin(q->store, err))
        return false;
    bool found = store_job_turn(q->store, models, model_count, &turn, err);
    if (found && taste && turn.id[0])
        found = prefer(q, taste, &turn, err);
    if (found && (!turn.id[0] || (taste && taste->left)))
        found = err_set(err, ERR_NONE, "no job waits");
    memcpy(claim->job_id, turn.id, sizeof claim->job_id);
    if (!found || !store_job_start(q->store, claim->job_id, owner, now_unix_ms(), queue_lease_ms(q),
                                   &claim->token, err)) {
        store_rollback(q->store);
        return false;
    }
    if (!store_job_get(q->store, claim->job_id, NULL, job, &damage)) {
        store_rollback(q->store);
        if (damage.code != ERR_INTERNAL)
            return err_copy(err, &damage);
        *again = queue_fail_damaged(q, claim->job_id, job->key_id, &damage, err);
        return false;
    }
    if (!store_commit(q->store, err)) {
        job_free(job);
        return false;
    }
    queue_publish_state(q, job->id, job->key_id, JOB_RUNNING);
    return true;
}

bool queue_claim_taste(struct queue *q, const char *owner, const char *const *models,
                       size_t model_count, struct queue_taste *taste, struct job *job,
                       struct claim *claim, struct err *err)
{
    bool claimed, again;
    *job = (struct job){0};
    *claim = (struct claim){
        .afar = strncmp(owner, STORE_OWNER_AFAR, sizeof STORE_OWNER_AFAR - 1) == 0};
    if (taste)
        taste->left = false;
    pthread_mutex_lock(&q->lock);
    do {
        err->code = ERR_NONE;
        claimed = claim_next(q, owner, models, model_count, taste, job, claim, &again, err);
        queue_note(q, claimed, err);
    } while (again);
    pthread_mutex_unlock(&q->lock);
    return claimed;
}

bool queue_claim(struct queue *q, const char *owner, const char *const *models, size_t model_count,
                 struct job *job, struct claim *claim, struct err *err)
{
    return queue_claim_taste(q, owner, models, model_count, NULL, job, claim, err);
}

/* Under the lock. */
static bool hold(struct queue *q, const struct claim *claim, const char *owner,
                 struct queue_held *out, struct err *err)
{
    struct store_lease lease;
    if (!queue_note(q, store_job_lease(q->store, claim->job_id, &lease, err), err))
        return false;
    out->count = lease.count;
    out->images = lease.images;
    memcpy(out->key_id, lease.key_id, sizeof out->key_id);
    bool mine = lease.token == claim->token && strcmp(lease.owner, owner) == 0;
    if (!mine || lease.state != JOB_QUEUED)
        return queue_check_claim(q, claim, &lease, err) &&
               (mine || err_set(err, ERR_NOT_FOUND, "job %s is held by somebody else",
                                claim->job_id));
    if (!queue_note(q, store_job_resume(q->store, claim->job_id, claim->token, owner,
                                        queue_lease_ms(q), err), err))
        return false;
    log_event(LOG_INFO, "job_resumed", "job=%s", claim->job_id);
    queue_publish_state(q, claim->job_id, lease.key_id, JOB_RUNNING);
    return true;
}

bool queue_hold(struct queue *q, const struct claim *claim, const char *owner,
                struct queue_held *out, struct err *err)
{
    pthread_mutex_lock(&q->lock);
    bool held = hold(q, claim, owner, out, err);
    pthread_mutex_unlock(&q->lock);
    return held;
}

bool queue_heartbeat(struct queue *q, const struct claim *claim, bool *interrupted, struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done =
        queue_check_claim(q, claim, &lease, err) &&
        queue_note(
            q, store_job_renew(q->store, claim->job_id, claim->token, queue_lease_ms(q), err), err);
    pthread_mutex_unlock(&q->lock);
    *interrupted = done && lease.interrupted;
    return done;
}

bool queue_input(struct queue *q, const char *job_id, const char *name, void **data, size_t *size,
                 struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    *data = NULL;
    bool done = store_input_bytes(q->store, job_id, name, size, err) &&
                blobs_input_path(path, store_data(q->store), job_id, name, err) &&
                blobs_read(q->blobs, path, *size, data, err);
    if (!done)
        queue_note_file(q, 0, err);
    return done;
}

bool queue_order_note(struct queue *q, const struct claim *claim, const struct job_order *order,
                      struct err *err)
{
    struct store_lease lease;
    bool done;
    pthread_mutex_lock(&q->lock);
    do
        done = queue_check_claim(q, claim, &lease, err) &&
               queue_note(q, store_order_put(q->store, claim->job_id, order, err), err);
    while (!done && queue_wait_until_well(q, claim, err));
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_order_forget(struct queue *q, const struct claim *claim, struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = queue_check_claim(q, claim, &lease, err) &&
                queue_note(q, store_order_delete(q->store, claim->job_id, err), err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_order_find(struct queue *q, const struct claim *claim, struct job_order *order,
                      struct err *err)
{
    bool done = store_order_get(q->store, claim->job_id, order, err);
    if (!done)
        queue_note_file(q, 0, err);
    return done;
}

bool queue_spend(struct queue *q, const struct claim *claim, double money, struct err *err)
{
    return store_job_spend(q->store, claim->job_id, claim->token, llround(money * 1e6), err);
}

/* The row of a picture whose file is on disk. */
static bool commit_image(struct queue *q, const struct claim *claim, const struct job_image *image,
                         struct job_image *replaced, struct err *err)
{
    struct store_lease lease;
    if (!store_begin(q->store, err) ||
        !store_end(q->store,
                   queue_check_claim(q, claim, &lease, err) &&
                       store_image_put(q->store, claim->job_id, image, replaced, err),
                   err))
        return false;
    struct event event = {.kind = EVENT_IMAGE, .state = JOB_RUNNING, .image_index = image->index};
    memcpy(event.job_id, claim->job_id, sizeof event.job_id);
    memcpy(event.key_id, lease.key_id, sizeof event.key_id);
    memcpy(event.image_id, image->id, sizeof event.image_id);
    if (!store_tells(q->store))
        events_publish(q->events, &event);
    return true;
}

static bool store_image(struct queue *q, const struct claim *claim, struct job_image *image,
                        const void *data, size_t size, struct err *err)
{
    struct store_lease lease;
    struct job_image replaced = {0};
    char path[BLOBS_PATH_SIZE];
    pthread_mutex_lock(&q->lock);
    bool done = queue_check_claim(q, claim, &lease, err);
    pthread_mutex_unlock(&q->lock);
    if (!done)
        return false;
    if (image->index < 0 || image->index >= lease.count)
        return err_set(err, ERR_INTERNAL, "picture %d of a job of %d", image->index, lease.count);
    image->bytes = size;
    if (!ids_random(image->id, JOB_ID_SIZE - 1, err) ||
        !blobs_image_path(path, store_data(q->store), image->id, image->format, err))
        return false;
    if (!blobs_write(q->blobs, path, data, size, err)) {
        queue_note_file(q, size, err);
        return false;
    }
    pthread_mutex_lock(&q->lock);
    done = queue_note(q, commit_image(q, claim, image, &replaced, err), err);
    pthread_mutex_unlock(&q->lock);
    if (!done && !queue_may_be_written(q, err))
        blobs_remove(q->blobs, path);
    else if (done && replaced.id[0])
        blobs_remove_image(q->blobs, replaced.id, replaced.format);
    return done;
}

bool queue_store_image(struct queue *q, const struct claim *claim, struct job_image *image,
                       const void *data, size_t size, struct err *err)
{
    while (!store_image(q, claim, image, data, size, err)) {
        pthread_mutex_lock(&q->lock);
        bool again = queue_wait_until_well(q, claim, err);
        pthread_mutex_unlock(&q->lock);
        if (!again)
            return false;
    }
    return true;
}

/* What a runner says at the end, said until it is written. */
enum verdict { FINISHED, FAILED, RELEASED, PUT_BACK };

static bool finish(struct queue *q, const struct claim *claim, const struct store_lease *lease,
                   const char *said, struct err *err)
{
    if (lease->images < lease->count && !lease->interrupted)
        return err_set(err, ERR_INTERNAL, "job %s has %d of %d pictures", claim->job_id,
                       lease->images, lease->count);
    /* Interrupted before its first picture: there is nothing that it could be done with. */
    enum job_state state = lease->images > 0 ? JOB_DONE : JOB_CANCELLED;
    return queue_end_refused(q, claim->job_id, lease->key_id, claim->token, state, NULL, said, err);
}

static bool conclude(struct queue *q, const struct claim *claim, enum verdict verdict,
                     const struct err *why, const char *said, struct err *err)
{
    struct store_lease lease;
    struct err own;
    bool done;
    if (!err)
        err = &own;
    pthread_mutex_lock(&q->lock);
    /* Whoever met the trouble may not have noted it: the job would be claimed again at once. */
    if (verdict == FAILED)
        queue_note(q, false, why);
    do {
        done = queue_check_claim(q, claim, &lease, err);
        if (done && verdict == FINISHED)
            done = finish(q, claim, &lease, said, err);
        else if (done && verdict == FAILED && !err_is_passing(why->code))
            done = queue_end_refused(q, claim->job_id, lease.key_id, claim->token, JOB_FAILED, why,
                                     said, err);
        else if (done)
            done = queue_give_back(q, claim->job_id, &lease, why->msg,
                                   verdict == RELEASED ? STORE_REQUEUE_COUNTED
                                                       : STORE_REQUEUE_UNCOUNTED,
                                   err);
        queue_note(q, done, err);
    } while (!done && queue_wait_until_well(q, claim, err));
    pthread_mutex_unlock(&q->lock);
    return done;
}

bool queue_finish(struct queue *q, const struct claim *claim, struct err *err)
{
    return conclude(q, claim, FINISHED, NULL, NULL, err);
}

bool queue_answer(struct queue *q, const struct claim *claim, const char *said, struct err *err)
{
    return conclude(q, claim, FINISHED, NULL, said, err);
}

bool queue_fail(struct queue *q, const struct claim *claim, const struct err *reason,
                struct err *err)
{
    return conclude(q, claim, FAILED, reason, NULL, err);
}

bool queue_refuse(struct queue *q, const struct claim *claim, const struct err *reason,
                  const struct refusal *refusal, struct err *err)
{
    char *text = refusal ? refusal_to_text(refusal) : NULL;
    bool done = conclude(q, claim, FAILED, reason, text, err);
    free(text);
    return done;
}

bool queue_release(struct queue *q, const struct claim *claim, const char *reason, struct err *err)
{
    struct err why;
    err_set(&why, ERR_INTERNAL, "%s", reason);
    return conclude(q, claim, RELEASED, &why, NULL, err);
}

bool queue_put_back(struct queue *q, const struct claim *claim, const char *reason, struct err *err)
{
    struct err why;
    err_set(&why, ERR_INTERNAL, "%s", reason);
    return conclude(q, claim, PUT_BACK, &why, NULL, err);
}
