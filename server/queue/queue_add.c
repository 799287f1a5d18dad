/* queue_add.c: a picture more. The file is written without the lock of the queue, but under the one
 * of the files, so that nobody takes it for an orphan before its row is there. */
#include "server/queue/queue_add.h"

#include <string.h>

#include "server/base/ids.h"
#include "server/queue/queue_private.h"
#include "server/store/blobs.h"

/* Under the lock. */
static bool find_done(struct queue *q, const char *job_id, const char *key_id,
                      struct store_lease *lease, struct err *err)
{
    return queue_find(q, job_id, key_id, lease, err) &&
           (lease->state == JOB_DONE ||
            err_set(err, ERR_INVALID, "the job is %s, not done", job_state_name(lease->state)));
}

/* In a transaction, under the lock. */
static bool put_row(struct queue *q, const char *job_id, struct job_image *image, struct err *err)
{
    struct job job;
    struct job_image replaced;
    if (!store_job_get(q->store, job_id, NULL, &job, err))
        return false;
    image->index = job.params.count;
    for (size_t i = 0; i < job.image_count; i++)
        if (job.images[i].index >= image->index)
            image->index = job.images[i].index + 1;
    job_free(&job);
    return store_image_put(q->store, job_id, image, &replaced, err);
}

static bool put(struct queue *q, const char *job_id, const char *key_id, struct store_lease *lease,
                struct job_image *image, struct err *err)
{
    /* The job may be gone by now. */
    return store_begin(q->store, err) &&
           store_end(q->store, find_done(q, job_id, key_id, lease, err) &&
                                   put_row(q, job_id, image, err), err);
}

bool queue_add_image(struct queue *q, const char *job_id, const char *key_id,
                     struct job_image *image, const void *data, size_t size, struct err *err)
{
    struct store_lease lease;
    char path[BLOBS_PATH_SIZE];
    pthread_mutex_lock(&q->lock);
    bool done = find_done(q, job_id, key_id, &lease, err);
    pthread_mutex_unlock(&q->lock);
    image->bytes = size;
    if (!done || !ids_random(image->id, JOB_ID_SIZE - 1, err) ||
        !blobs_image_path(path, store_data(q->store), image->id, image->format, err))
        return false;
    if (!blobs_write(q->blobs, path, data, size, err)) { /* may wait for a bucket */
        queue_note_file(q, size, err);
        return false;
    }
    pthread_mutex_lock(&q->files);
    pthread_mutex_lock(&q->lock);
    done = queue_note(q, put(q, job_id, key_id, &lease, image, err), err);
    if (done)
        queue_publish(q, EVENT_STATE, job_id, lease.key_id, lease.state);
    pthread_mutex_unlock(&q->lock);
    if (!done && !queue_may_be_written(q, err))
        blobs_remove(q->blobs, path);
    pthread_mutex_unlock(&q->files);
    return done;
}
