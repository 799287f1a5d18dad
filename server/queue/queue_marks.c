/* queue_marks.c: what people say of jobs and their pictures. Under the queue's lock, as every
 * change is that is published. */
#include "server/queue/queue_marks.h"

#include <stdlib.h>
#include <string.h>

#include "server/queue/queue_private.h"

/* Where a mark goes. */
struct target {
    char job_id[JOB_ID_SIZE], key_id[JOB_ID_SIZE];
    const char *image_id; /* NULL: the job itself */
    enum job_state state;
};

static bool find_target(struct queue *q, const char *key_id, const char *job_id,
                        const char *image_id, struct target *out, struct err *err)
{
    struct store_lease lease;
    *out = (struct target){.image_id = image_id};
    if (image_id) {
        if (!store_image_job(q->store, image_id, key_id, out->job_id, err))
            return false;
        job_id = out->job_id;
    }
    if (!queue_find(q, job_id, key_id, &lease, err))
        return false;
    memcpy(out->job_id, job_id, strlen(job_id) + 1);
    memcpy(out->key_id, lease.key_id, sizeof out->key_id);
    out->state = lease.state;
    return true;
}

/* In a transaction. */
static bool change(struct queue *q, const struct target *t, const struct queue_marks *m,
                   struct err *err)
{
    size_t count;
    bool done = m->favourite < 0 ||
                store_mark_put(q->store, t->job_id, t->image_id, "", m->favourite > 0, err);
    for (size_t i = 0; i < m->remove_count && done; i++)
        done = store_mark_put(q->store, t->job_id, t->image_id, m->remove[i], false, err);
    for (size_t i = 0; i < m->add_count && done; i++)
        done = store_mark_put(q->store, t->job_id, t->image_id, m->add[i], true, err);
    if (!done || m->add_count == 0)
        return done;
    return store_mark_count(q->store, t->job_id, t->image_id, &count, err) &&
           (count <= JOB_MARKS_MAX ||
            err_set(err, ERR_INVALID, "a job or a picture has at most %d tags", JOB_MARKS_MAX));
}

/* Each job once. */
static void publish(struct queue *q, const struct target *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t earlier = 0;
        while (earlier < i && strcmp(targets[earlier].job_id, targets[i].job_id) != 0)
            earlier++;
        if (earlier == i)
            queue_publish_state(q, targets[i].job_id, targets[i].key_id, targets[i].state);
    }
}

bool queue_marks_change(struct queue *q, const char *key_id, const struct queue_marks *m,
                        struct err *err)
{
    size_t count = m->job_count + m->image_count;
    struct target *targets = calloc(count + 1, sizeof *targets);
    if (!targets)
        return err_set(err, ERR_INTERNAL, "no memory for a change of tags");
    pthread_mutex_lock(&q->lock);
    bool begun = store_begin(q->store, err), done = begun;
    for (size_t i = 0; i < count && done; i++) {
        const char *image_id = i < m->job_count ? NULL : m->images[i - m->job_count];
        done = find_target(q, key_id, image_id ? NULL : m->jobs[i], image_id, &targets[i], err) &&
               change(q, &targets[i], m, err);
    }
    done = begun && store_end(q->store, done, err);
    if (done)
        publish(q, targets, count);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    free(targets);
    return done;
}

bool queue_marks_tags(struct queue *q, const char *key_id, const atomic_bool *gone,
                      struct store_tag **tags, size_t *count, struct err *err)
{
    return store_mark_tags(q->store, key_id, gone, tags, count, err);
}

bool queue_marks_job_of(struct queue *q, const char *image_id, const char *key_id,
                        char job_id[JOB_ID_SIZE], struct err *err)
{
    return store_image_job(q->store, image_id, key_id, job_id, err);
}
