/* queue_aside.c: deletion, and its undo.
 *
 * What is deleted goes to rows that nothing else looks at (store.h), and its files stay where they
 * are; the sweeper removes both when the time for second thoughts is over. A full disk does not
 * wait for that, and on one that is nearly full nothing is set aside: room is what deleting is
 * for. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/queue/queue_private.h"
#include "server/store/blobs.h"

#define BATCH 50

/* What is to happen to a job or a picture; the store's functions of it. */
typedef bool change_fn(struct queue *q, const char *id, struct err *err);

static bool job_gone(struct queue *q, const char *id, struct err *err)
{
    return store_job_delete(q->store, id, err);
}

static bool job_aside(struct queue *q, const char *id, struct err *err)
{
    return store_aside_job(q->store, id, now_unix_ms(), err);
}

static bool image_gone(struct queue *q, const char *id, struct err *err)
{
    return store_aside_image_remove(q->store, id, err);
}

static bool image_aside(struct queue *q, const char *id, struct err *err)
{
    return store_aside_image(q->store, id, now_unix_ms(), err);
}

/* A full disk has no room to write that something is gone: then there is what was kept for that,
 * which the end of the trouble gives back. Under the lock. */
static bool change(struct queue *q, change_fn *fn, const char *id, struct err *err)
{
    if (fn(q, id, err))
        return true;
    if (err->code != ERR_NO_ROOM)
        return false;
    while (q->probing) /* a probe fills the disk for a moment, the room kept included */
        pthread_cond_wait(&q->well, &q->lock);
    blobs_reserve_free(store_data(q->store));
    queue_note(q, false, err);
    return fn(q, id, err);
}

static bool is_for_good(const struct queue *q, bool now)
{
    return now || q->settings->undo_seconds == 0 || blobs_is_tight(store_data(q->store));
}

static bool check_final(enum job_state state, struct err *err)
{
    return job_state_is_final(state) ||
           err_set(err, ERR_INVALID, "the job is still %s", job_state_name(state));
}

/* ---- jobs ---- */

/* Its pictures that are aside, then those of `job`. Under both locks. */
static void remove_files(struct queue *q, const struct job *job, const char *id, bool known,
                         const struct job_image *aside, size_t aside_count)
{
    for (size_t i = 0; i < aside_count; i++)
        blobs_remove_image(q->blobs, aside[i].id, aside[i].format);
    for (size_t i = 0; i < job->image_count; i++)
        blobs_remove_image(q->blobs, job->images[i].id, job->images[i].format);
    queue_remove_inputs(q, id, known ? &job->params : NULL);
}

/* The rows are gone first: a crash now leaves files without rows, never rows without files.
 * `known`: whether `job` has been read. Under q->files; takes the other lock's job over. */
static bool remove_job(struct queue *q, const char *id, const char *key_id, enum job_state state,
                       bool aside, struct err *err)
{
    struct job job = {0};
    struct job_image *images = NULL;
    size_t count = 0;
    struct err damage = {0};
    /* A job whose request cannot be read can still be removed; fsck finds its pictures. */
    bool known = aside ? store_aside_job_get(q->store, id, NULL, &job, &damage)
                       : store_job_get(q->store, id, NULL, &job, &damage);
    bool done = known || damage.code == ERR_INTERNAL || err_copy(err, &damage);
    if (done && !store_aside_images_of(q->store, id, &images, &count, &damage))
        done = damage.code == ERR_INTERNAL || err_copy(err, &damage);
    done = done && change(q, job_gone, id, err);
    if (done && !aside)
        queue_publish(q, EVENT_DELETED, id, key_id, state);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    if (done)
        remove_files(q, &job, id, known, images, count);
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < count; i++)
        free(images[i].infotext);
    free(images);
    job_free(&job);
    return done;
}

bool queue_delete(struct queue *q, const char *id, const char *key_id, bool now, struct err *err)
{
    struct store_lease lease;
    struct job job;
    pthread_mutex_lock(&q->files);
    pthread_mutex_lock(&q->lock);
    bool found = queue_find(q, id, key_id, &lease, err), done = false;
    if (found && is_for_good(q, now)) {
        done = check_final(lease.state, err) &&
               remove_job(q, id, lease.key_id, lease.state, false, err);
    } else if (found) {
        done = check_final(lease.state, err) && change(q, job_aside, id, err);
        if (done)
            queue_publish(q, EVENT_DELETED, id, lease.key_id, lease.state);
        queue_note(q, done, err);
    } else if (now && err->code == ERR_NOT_FOUND) {
        struct err damage = {0};
        bool known = store_aside_job_get(q->store, id, key_id, &job, &damage);
        if (known || (damage.code == ERR_INTERNAL && !key_id))
            done = remove_job(q, id, "", JOB_DONE, true, err);
        else if (damage.code != ERR_NOT_FOUND)
            err_copy(err, &damage);
        if (known)
            job_free(&job);
    }
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_unlock(&q->files);
    return done;
}

bool queue_restore(struct queue *q, const char *id, const char *key_id, struct err *err)
{
    struct job job;
    pthread_mutex_lock(&q->lock);
    bool found = store_aside_job_get(q->store, id, key_id, &job, err);
    bool done = found && store_aside_job_back(q->store, id, err);
    if (done)
        queue_publish_state(q, id, job.key_id, job.state);
    queue_note(q, done, err);
    if (found)
        job_free(&job);
    pthread_mutex_unlock(&q->lock);
    return done;
}

/* ---- pictures ---- */

/* A picture of the job `id` (NULL: of any) that is there. */
static bool find_image(struct queue *q, const char *id, const char *image_id, const char *key_id,
                       struct store_lease *lease, struct store_aside_image *out, struct err *err)
{
    if (id && !(queue_find(q, id, key_id, lease, err) && check_final(lease->state, err)))
        return false;
    bool found = store_image_job(q->store, image_id, key_id, out->job_id, err);
    if ((found && id && strcmp(out->job_id, id) != 0) || (!found && err->code == ERR_NOT_FOUND))
        return err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", image_id);
    found = found && queue_find(q, out->job_id, key_id, lease, err) &&
            check_final(lease->state, err) &&
            store_image_get(q->store, image_id, NULL, &out->image, err);
    if (found)
        free(out->image.infotext);
    return found;
}

/* One that is aside. */
static bool find_aside(struct queue *q, const char *id, const char *image_id, const char *key_id,
                       struct store_aside_image *out, struct err *err)
{
    return store_aside_image_get(q->store, image_id, key_id, out, err) &&
           (!id || strcmp(out->job_id, id) == 0 ||
            err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", image_id));
}

bool queue_delete_image(struct queue *q, const char *id, const char *image_id, const char *key_id,
                        bool now, struct err *err)
{
    struct store_lease lease = {0};
    struct store_aside_image found;
    bool good = is_for_good(q, now), gone = false;
    pthread_mutex_lock(&q->files);
    pthread_mutex_lock(&q->lock);
    bool done = find_image(q, id, image_id, key_id, &lease, &found, err);
    if (!done && now && err->code == ERR_NOT_FOUND)
        done = gone = find_aside(q, id, image_id, key_id, &found, err);
    done = done && change(q, good ? image_gone : image_aside, image_id, err);
    if (done && !gone)
        queue_publish_state(q, found.job_id, lease.key_id, lease.state);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    if (done && good)
        blobs_remove_image(q->blobs, found.image.id, found.image.format);
    pthread_mutex_unlock(&q->files);
    return done;
}

bool queue_restore_image(struct queue *q, const char *id, const char *image_id, const char *key_id,
                         struct err *err)
{
    struct store_aside_image aside;
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = find_aside(q, id, image_id, key_id, &aside, err);
    if (done && !queue_find(q, aside.job_id, key_id, &lease, err))
        done = err->code == ERR_NOT_FOUND
                   ? err_set(err, ERR_INVALID, "the picture's job was deleted, too: restore %s",
                             aside.job_id)
                   : false;
    done = done && store_aside_image_back(q->store, image_id, err);
    if (done)
        queue_publish_state(q, aside.job_id, lease.key_id, lease.state);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

/* ---- when the time is over ---- */

bool queue_remove_job(struct queue *q, const char *id, struct err *err)
{
    return queue_delete(q, id, NULL, true, err);
}

static bool empty_image(struct queue *q, const char *id, struct err *err)
{
    struct store_aside_image aside;
    return store_aside_image_get(q->store, id, NULL, &aside, err) &&
           queue_delete_image(q, aside.job_id, id, NULL, true, err);
}

bool queue_remove_before(struct queue *q, queue_list_fn *list, queue_remove_fn *remove,
                         int64_t before_ms, const char *event, size_t *removed)
{
    struct store_ids ids;
    struct err err;
    *removed = 0;
    if (!list(q->store, before_ms, BATCH, &ids, &err)) {
        queue_log_failure(event, &err);
        return true;
    }
    for (size_t i = 0; i < ids.count; i++) {
        bool gone = remove(q, ids.ids[i], &err);
        *removed += gone;
        if (gone || err.code == ERR_NOT_FOUND)
            continue;
        queue_log_failure(event, &err);
        if (err_is_passing(err.code))
            break; /* another one, a damaged row, keeps no other job */
    }
    bool all = ids.count < BATCH || *removed == 0;
    free(ids.ids);
    return all;
}

bool queue_aside_empty(struct queue *q, bool all)
{
    int64_t before = all ? INT64_MAX : now_unix_ms() - q->settings->undo_seconds * (int64_t)1000;
    if (!store_leads(q->store))
        return true;
    const char *event = "deleting_failed";
    size_t removed;
    bool jobs = queue_remove_before(q, store_aside_jobs_before, queue_remove_job, before, event,
                                    &removed);
    return queue_remove_before(q, store_aside_images_before, empty_image, before, event,
                               &removed) &&
           jobs;
}
