/* queue_line.c: the ids of the queued jobs, sorted, each with its place.
 *
 * A line that took long to read, because it is long, is read again only after a multiple of that
 * time: in a long line nobody sees whether he is the 8,000th or the 8,003rd. */
#include "server/queue/queue_line.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/now.h"
#include "server/store/store.h"

#define LONG_MS 5      /* some thousands of jobs */
#define LONG_LINE 1000 /* a shorter one is slow because the machine or the database is busy */
#define REST 10        /* times what reading took */

struct place {
    char id[JOB_ID_SIZE];
    int position;
};

struct queue_line {
    struct store *store;
    atomic_uint changes;
    pthread_mutex_t lock; /* what follows; held while the store is read, so that it is read once */
    bool read;
    bool whole;         /* everybody who waits is in it (SQL_JOB_LINE) */
    unsigned read_at;   /* changes before it was read */
    int64_t rest_until; /* now_ms */
    struct place *places;
    size_t count;
};

struct queue_line *queue_line_new(struct store *store, struct err *err)
{
    struct queue_line *line = calloc(1, sizeof *line);
    if (!line) {
        err_set(err, ERR_INTERNAL, "no memory for the queue's line");
        return NULL;
    }
    line->store = store;
    pthread_mutex_init(&line->lock, NULL);
    return line;
}

void queue_line_free(struct queue_line *line)
{
    if (!line)
        return;
    pthread_mutex_destroy(&line->lock);
    free(line->places);
    free(line);
}

void queue_line_changed(struct queue_line *line)
{
    atomic_fetch_add(&line->changes, 1);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->id, ((const struct place *)b)->id);
}

/* Under the lock. */
static bool read_line(struct queue_line *line, struct err *err)
{
    unsigned changes = atomic_load(&line->changes); /* before: what changes now is read again */
    struct store_ids ids;
    int queued, running;
    int64_t began = now_ms();
    if (line->read && (line->read_at == changes || began < line->rest_until))
        return true;
    if (!store_job_depth(line->store, NULL, &queued, &running, err) ||
        !store_job_line(line->store, &ids, err))
        return false;
    struct place *places = malloc((ids.count ? ids.count : 1) * sizeof *places);
    for (size_t i = 0; places && i < ids.count; i++) {
        memcpy(places[i].id, ids.ids[i], sizeof places[i].id);
        places[i].position = (int)i;
    }
    size_t count = ids.count;
    free(ids.ids);
    if (!places)
        return err_set(err, ERR_INTERNAL, "no memory for the queue's line");
    qsort(places, count, sizeof *places, compare);
    free(line->places);
    line->places = places;
    line->count = count;
    line->read = true;
    line->whole = count >= (size_t)queued;
    line->read_at = changes;
    int64_t took = now_ms() - began;
    line->rest_until = took > LONG_MS && count >= LONG_LINE ? began + took * REST : 0;
    return true;
}

bool queue_line_place(struct queue_line *line, struct job *jobs, size_t count, struct err *err)
{
    bool queued = false;
    for (size_t i = 0; i < count; i++)
        queued = queued || jobs[i].state == JOB_QUEUED;
    if (!queued)
        return true;
    pthread_mutex_lock(&line->lock);
    bool done = read_line(line, err);
    for (size_t i = 0; i < count && done; i++) {
        struct place key;
        memcpy(key.id, jobs[i].id, sizeof key.id);
        const struct place *found =
            jobs[i].state == JOB_QUEUED
                ? bsearch(&key, line->places, line->count, sizeof key, compare)
                : NULL;
        /* Who is not in it has joined since it was read, is behind the first of very many, or has
         * just left its head. */
        bool behind = line->rest_until || !line->whole;
        if (jobs[i].state == JOB_QUEUED)
            jobs[i].position = found ? found->position : behind ? (int)line->count : 0;
    }
    pthread_mutex_unlock(&line->lock);
    return done;
}
