/* queue_marks.c: what people say of jobs and their pictures. Under the queue's lock, as every
 * change is that is published. */
#include "server/queue/queue_marks.h"

#include <stdlib.h>
#include <string.h>

#include "server/queue/queue_private.h"

#define WRITES_AT_ONCE 1000 /* some 10 ms under the queue's lock */

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

static size_t targets_of(const struct queue_marks *m)
{
    return m->job_count + m->image_count;
}

static size_t piece_of(const struct queue_marks *m)
{
    size_t piece = WRITES_AT_ONCE / (1 + m->add_count + m->remove_count);
    return piece > 0 ? piece : 1;
}

size_t queue_marks_steps(const struct queue_marks *m)
{
    size_t count = targets_of(m), piece = piece_of(m);
    return count <= piece ? 1 : 2 * ((count + piece - 1) / piece);
}

bool queue_marks_over(const struct queue_marks *m, size_t at)
{
    return at >= 2 * targets_of(m);
}

/* Of the targets [from, from + count); `keep` false: as if nothing had been. */
static bool run(struct queue *q, const char *key_id, const struct queue_marks *m, size_t from,
                size_t count, bool keep, struct err *err)
{
    struct target *targets = calloc(count + 1, sizeof *targets);
    if (!targets)
        return err_set(err, ERR_INTERNAL, "no memory for a change of tags");
    pthread_mutex_lock(&q->lock);
    bool begun = store_begin(q->store, err), done = begun;
    for (size_t i = 0; i < count && done; i++) {
        size_t n = from + i;
        const char *image_id = n < m->job_count ? NULL : m->images[n - m->job_count];
        done = find_target(q, key_id, image_id ? NULL : m->jobs[n], image_id, &targets[i], err) &&
               change(q, &targets[i], m, err);
    }
    if (!begun)
        done = false;
    else if (done && !keep)
        store_end(q->store, false, NULL);
    else
        done = store_end(q->store, done, err);
    if (done && keep)
        publish(q, targets, count);
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    free(targets);
    return done;
}

bool queue_marks_step(struct queue *q, const char *key_id, const struct queue_marks *m, size_t *at,
                      struct err *err)
{
    size_t count = targets_of(m), piece = piece_of(m);
    bool keep = *at >= count;
    size_t from = *at - (keep ? count : 0);
    if (count <= piece) {
        *at = 2 * count;
        return run(q, key_id, m, 0, count, true, err);
    }
    piece = piece < count - from ? piece : count - from;
    *at += piece;
    return run(q, key_id, m, from, piece, keep, err);
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
