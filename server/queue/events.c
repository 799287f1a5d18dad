/* events.c: the subscriptions, and the last progress of running jobs.
 *
 * The subscriptions are lists under the hub's lock: one of those to all jobs, and the others by
 * their job's id, because a thousand may wait, each for a job of its own. A publisher walks the two
 * lists that concern its job, without holding that lock during callbacks: it counts itself in at
 * the subscription it stands on, and one that is counted in stays linked, so its successor is still
 * right afterwards. The user that counts out last unlinks a cancelled one. A subscription's own
 * lock is held during its callback; unsubscribing takes it, so it waits for a callback that runs
 * and none follows.
 *
 * What is known of running jobs is a second list: jobs enter it when they are published as running
 * and leave it with the next state. */
#include "server/queue/events.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

struct subscription {
    struct events *hub;
    char job_id[JOB_ID_SIZE]; /* "": all */
    struct subscription **list;
    events_fn *fn;
    void *ctx;
    pthread_mutex_t lock;
    bool active;                          /* under lock */
    struct subscription *next, *previous; /* the rest under the hub's lock */
    int users;                            /* publishers on it, and its owner */
};

struct running {
    char job_id[JOB_ID_SIZE];
    struct job_progress progress;
    uint8_t *preview;
    size_t preview_size;
    struct running *next;
};

struct events {
    pthread_mutex_t lock;
    struct subscription *lists[1 + BUCKETS]; /* of all jobs; by id */
    struct running *running;
};

struct events *events_new(struct err *err)
{
    struct events *hub = calloc(1, sizeof *hub);
    if (!hub) {
        err_set(err, ERR_INTERNAL, "no memory for the events hub");
        return NULL;
    }
    pthread_mutex_init(&hub->lock, NULL);
    return hub;
}

static void running_free(struct running *r)
{
    free(r->preview);
    free(r);
}

void events_free(struct events *hub)
{
    if (!hub)
        return;
    while (hub->running) {
        struct running *r = hub->running;
        hub->running = r->next;
        running_free(r);
    }
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static struct subscription **list_of(struct events *hub, const char *job_id)
{
    unsigned hash = 5381;
    while (*job_id)
        hash = hash * 33 + (unsigned char)*job_id++;
    return &hub->lists[1 + hash % BUCKETS];
}

struct subscription *events_subscribe(struct events *hub, const char *job_id, events_fn *fn,
                                      void *ctx, struct err *err)
{
    if (job_id && strlen(job_id) >= JOB_ID_SIZE) {
        err_set(err, ERR_INVALID, "a job id has %d digits", JOB_ID_SIZE - 1);
        return NULL;
    }
    struct subscription *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_INTERNAL, "no memory for a subscription");
        return NULL;
    }
    s->hub = hub;
    s->fn = fn;
    s->ctx = ctx;
    s->active = true;
    s->users = 1;
    if (job_id)
        strcpy(s->job_id, job_id);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&hub->lock);
    s->list = job_id ? list_of(hub, job_id) : &hub->lists[0];
    s->next = *s->list;
    if (s->next)
        s->next->previous = s;
    *s->list = s;
    pthread_mutex_unlock(&hub->lock);
    return s;
}

/* Counts one user out; the last one takes it off the list. Under the hub's lock; the subscription
 * to free, or NULL. */
static struct subscription *leave(struct subscription *s)
{
    if (--s->users > 0)
        return NULL;
    if (s->previous)
        s->previous->next = s->next;
    else
        *s->list = s->next;
    if (s->next)
        s->next->previous = s->previous;
    return s;
}

static void subscription_free(struct subscription *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void events_unsubscribe(struct subscription *s)
{
    if (!s)
        return;
    struct events *hub = s->hub;
    pthread_mutex_lock(&s->lock);
    s->active = false;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&hub->lock);
    struct subscription *dead = leave(s);
    pthread_mutex_unlock(&hub->lock);
    subscription_free(dead);
}

static struct running **find_running(struct events *hub, const char *job_id)
{
    struct running **r = &hub->running;
    while (*r && strcmp((*r)->job_id, job_id) != 0)
        r = &(*r)->next;
    return r;
}

/* Keeps what events_last will be asked for. False: progress of a job that does not run any more,
 * which nobody needs to hear. Without memory only that is lost. */
static bool remember(struct events *hub, const struct event *event)
{
    struct running **place = find_running(hub, event->job_id), *r = *place;
    if (event->kind == EVENT_STATE && event->state == JOB_RUNNING && !r) {
        r = calloc(1, sizeof *r);
        if (r) {
            memcpy(r->job_id, event->job_id, sizeof r->job_id);
            r->progress.eta_seconds = -1;
            r->next = hub->running;
            hub->running = r;
        }
    } else if (event->kind == EVENT_STATE && event->state != JOB_RUNNING && r) {
        *place = r->next;
        running_free(r);
    } else if (event->kind == EVENT_PROGRESS) {
        if (!r)
            return false;
        r->progress = event->progress;
        uint8_t *copy =
            event->preview ? malloc(event->preview_size ? event->preview_size : 1) : NULL;
        if (copy) {
            memcpy(copy, event->preview, event->preview_size);
            free(r->preview);
            r->preview = copy;
            r->preview_size = event->preview_size;
        }
    }
    return true;
}

static void deliver(struct subscription *s, const struct event *event)
{
    if (s->job_id[0] && event->kind != EVENT_TROUBLE && strcmp(s->job_id, event->job_id) != 0)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->active)
        s->fn(s->ctx, event);
    /* A final state is a job's last event, also when its progress is on the way in another
     * thread. */
    if (s->job_id[0] && event->kind == EVENT_STATE && job_state_is_final(event->state))
        s->active = false;
    pthread_mutex_unlock(&s->lock);
}

static void publish_to(struct events *hub, struct subscription **list, const struct event *event)
{
    pthread_mutex_lock(&hub->lock);
    struct subscription *s = *list;
    if (s)
        s->users++;
    pthread_mutex_unlock(&hub->lock);
    while (s) {
        deliver(s, event);
        pthread_mutex_lock(&hub->lock);
        struct subscription *next = s->next;
        if (next)
            next->users++;
        struct subscription *dead = leave(s);
        pthread_mutex_unlock(&hub->lock);
        subscription_free(dead);
        s = next;
    }
}

void events_publish(struct events *hub, const struct event *event)
{
    pthread_mutex_lock(&hub->lock);
    bool wanted = remember(hub, event);
    pthread_mutex_unlock(&hub->lock);
    if (!wanted)
        return;
    publish_to(hub, &hub->lists[0], event);
    for (size_t i = 1; i <= BUCKETS && event->kind == EVENT_TROUBLE; i++)
        publish_to(hub, &hub->lists[i], event);
    if (event->kind != EVENT_TROUBLE)
        publish_to(hub, list_of(hub, event->job_id), event);
}

bool events_last(struct events *hub, const char *job_id, struct job_progress *progress,
                 uint8_t **preview, size_t *preview_size)
{
    bool found = false;
    if (preview) {
        *preview = NULL;
        *preview_size = 0;
    }
    pthread_mutex_lock(&hub->lock);
    struct running *r = *find_running(hub, job_id);
    if (r) {
        found = true;
        *progress = r->progress;
        if (preview && r->preview && (*preview = malloc(r->preview_size ? r->preview_size : 1))) {
            memcpy(*preview, r->preview, r->preview_size);
            *preview_size = r->preview_size;
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return found;
}
