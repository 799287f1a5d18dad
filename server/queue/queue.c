/* queue.c: accepting jobs, asking for them, stopping and removing them.
 *
 * One lock orders all changes of state: it is held from reading a job's row over the commit to the
 * end of its publication, so subscribers hear of changes in the order in which they happened, and
 * a decision is still true when it is written. Files are written and removed outside of it.
 * Reading takes the store's lock only.
 *
 * Leases end on the store's clock, which a step of the wall clock does not move where one server
 * has the store alone; a restart gives back what this server ran. Other servers may share the
 * store: what they change between a look and a write is found by the write (a claim's token). */
#include "server/queue/queue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/queue/queue_line.h"
#include "server/store/blobs.h"

#define PATIENCE_MS 60000

struct queue *queue_new(struct store *store, struct blobs *blobs, struct events *events,
                        const struct settings *settings, struct err *err)
{
    if (!blobs_init(blobs, err))
        return NULL;
    struct queue *q = calloc(1, sizeof *q);
    if (!q || !(q->line = queue_line_new(store, err))) {
        if (!q)
            err_set(err, ERR_INTERNAL, "no memory for the queue");
        free(q);
        return NULL;
    }
    q->store = store;
    q->blobs = blobs;
    q->events = events;
    q->settings = settings;
    now_cond_init(&q->end);
    now_cond_init(&q->well);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->files, NULL);
    q->started = time(NULL);
    pthread_mutex_lock(&q->lock);
    bool done = queue_take_over(q, err) && blobs_reserve(store_data(store), err);
    if (!done && err_is_passing(err->code)) {
        queue_note(q, false, err);
        done = true;
    }
    pthread_mutex_unlock(&q->lock);
    if (done && pthread_create(&q->sweeper, NULL, queue_sweep, q) != 0)
        done = err_set(err, ERR_INTERNAL, "no thread for the queue");
    if (done && queue_news_start(q, err))
        return q;
    if (done) {
        queue_free(q);
        return NULL;
    }
    pthread_cond_destroy(&q->end);
    pthread_cond_destroy(&q->well);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->files);
    queue_line_free(q->line);
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
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->sweeper, NULL);
    queue_news_stop(q);
    pthread_cond_destroy(&q->end);
    pthread_cond_destroy(&q->well);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->files);
    queue_line_free(q->line);
    free(q->abandoned);
    free(q);
}

bool queue_find(struct queue *q, const char *id, const char *key_id, struct store_lease *lease,
                struct err *err)
{
    if (!store_job_lease(q->store, id, lease, err))
        return false;
    if (key_id && strcmp(key_id, lease->key_id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    return true;
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
    if (queue_line_place(q->line, out, 1, err))
        return true;
    job_free(out);
    return false;
}

bool queue_get_tagged(struct queue *q, const char *tag, const char *key_id, struct job *out,
                      struct err *err)
{
    char id[JOB_ID_SIZE];
    return store_job_tagged(q->store, tag, key_id, id, err) && queue_get(q, id, key_id, out, err);
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
    if (!err_is_passing(err->code) && err->code != ERR_IO)
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
    if (queue_line_place(q->line, *jobs, *count, err))
        return true;
    for (size_t i = 0; i < *count; i++)
        job_free(&(*jobs)[i]);
    free(*jobs);
    *jobs = NULL;
    *count = 0;
    return false;
}

/* Cancels; or, with `interrupt`, lets a running job end with what is painted. Under the lock. */
static bool stop_found(struct queue *q, const char *id, const struct store_lease *lease,
                       bool interrupt, struct err *err)
{
    if (job_state_is_final(lease->state))
        return err_set(err, ERR_INVALID, "the job is already %s", job_state_name(lease->state));
    if (!interrupt || lease->state != JOB_RUNNING)
        return queue_end_job(q, id, lease->key_id, JOB_CANCELLED, NULL, err);
    if (!store_job_interrupt(q->store, id, err))
        return false;
    /* Still running; the event makes its runner ask (queue_heartbeat). */
    queue_publish_state(q, id, lease->key_id, JOB_RUNNING);
    return true;
}

static bool stop_job(struct queue *q, const char *id, const char *key_id, bool interrupt,
                     struct err *err)
{
    struct store_lease lease;
    bool done = false, found = true;
    pthread_mutex_lock(&q->lock);
    /* Twice: another server may have changed it between the look and the write. */
    for (int i = 0; i < 2 && found && !done && (i == 0 || err->code == ERR_NOT_FOUND); i++) {
        found = queue_find(q, id, key_id, &lease, err);
        done = found && stop_found(q, id, &lease, interrupt, err);
    }
    queue_note(q, done, err);
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

bool queue_was_interrupted(struct queue *q, const char *id)
{
    struct store_lease lease;
    struct err err;
    pthread_mutex_lock(&q->lock);
    bool known = store_job_lease(q->store, id, &lease, &err);
    pthread_mutex_unlock(&q->lock);
    return known && lease.interrupted;
}

#define SKIPS (sizeof q->skips / sizeof *q->skips)

void queue_note_skip(struct queue *q, const char *id, int image)
{
    size_t at = q->skip_count++ % SKIPS;
    snprintf(q->skips[at].id, sizeof q->skips[at].id, "%s", id);
    q->skips[at].image = image;
}

bool queue_skip(struct queue *q, const char *id, const char *key_id, int image, struct err *err)
{
    struct store_lease lease;
    pthread_mutex_lock(&q->lock);
    bool done = queue_find(q, id, key_id, &lease, err) &&
                (lease.state == JOB_RUNNING ||
                 err_set(err, ERR_INVALID, "the job is %s", job_state_name(lease.state)));
    if (done && store_tells(q->store)) { /* whichever server runs it */
        struct store_news news = {.kind = STORE_NEWS_SKIP, .index = image};
        snprintf(news.job_id, sizeof news.job_id, "%s", id);
        snprintf(news.key_id, sizeof news.key_id, "%s", lease.key_id);
        done = queue_note(q, store_report(q->store, &news, err), err);
    } else if (done) {
        queue_note_skip(q, id, image);
        queue_publish_state(q, id, lease.key_id, JOB_RUNNING);
    }
    pthread_mutex_unlock(&q->lock);
    return done;
}

int queue_skipped(struct queue *q, const char *id)
{
    int image = -1;
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < SKIPS; i++)
        if (strcmp(q->skips[i].id, id) == 0 && q->skips[i].image > image)
            image = q->skips[i].image;
    pthread_mutex_unlock(&q->lock);
    return image;
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

bool queue_image(struct queue *q, const char *image_id, const char *key_id, struct job_image *image,
                 struct err *err)
{
    *image = (struct job_image){0};
    return store_image_get(q->store, image_id, key_id, image, err);
}

int queue_image_open(struct queue *q, const struct job_image *image, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    return blobs_image_path(path, store_data(q->store), image->id, image->format, err)
               ? blobs_open(q->blobs, path, image->bytes, err)
               : -1;
}

char *queue_image_path(struct queue *q, const struct job_image *image, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    return blobs_image_path(path, store_data(q->store), image->id, image->format, err)
               ? blobs_path(q->blobs, path, image->bytes, err)
               : NULL;
}
