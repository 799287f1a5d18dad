/* events.h: who wants to know what happens to a job is told, at once, without polling.
 *
 * One hub. Publishers are the queue (state changes) and the dispatcher (progress, previews);
 * subscribers are waiting HTTP connections and event streams. A callback runs on the publisher's
 * thread under no lock of the hub's except the subscription's own, must not block, and must not
 * call back into the hub or the queue; it typically copies what it needs and resumes a suspended
 * connection. After events_unsubscribe returns, its callback does not run and will not run. */
#ifndef PICTOR_SERVER_EVENTS_H
#define PICTOR_SERVER_EVENTS_H

#include "server/job/job.h"

enum event_kind {
    EVENT_STATE,    /* queued, running, done, failed, cancelled */
    EVENT_PROGRESS, /* a step is done; preview may come along */
    EVENT_IMAGE,    /* a picture of the job is stored */
    EVENT_DELETED,  /* the job is no more */
    EVENT_QUEUE,    /* the line was paused, goes on or was put in order; its job_id is "" */
    EVENT_TROUBLE   /* queue_well has changed; everybody hears it, its job_id is "" */
};

struct event {
    enum event_kind kind;
    char job_id[JOB_ID_SIZE];
    char key_id[JOB_ID_SIZE]; /* the job's owner, so that streams can filter */
    enum job_state state;
    struct job_progress progress; /* EVENT_PROGRESS */
    const uint8_t *preview;       /* EVENT_PROGRESS: a JPEG, or NULL; borrowed for the call */
    size_t preview_size;
    const uint8_t *partial; /* EVENT_PROGRESS: the preview as the file that an upstream sent,
                               or NULL; borrowed for the call */
    size_t partial_size;
    bool elsewhere;             /* it happened on another server */
    char image_id[JOB_ID_SIZE]; /* EVENT_IMAGE */
    int image_index;
};

struct events;
struct subscription;
typedef void events_fn(void *ctx, const struct event *event);

struct events *events_new(struct err *err);
void events_free(struct events *hub);

/* `job_id` NULL: all jobs. Returns owned; pass to events_unsubscribe. */
struct subscription *events_subscribe(struct events *hub, const char *job_id, events_fn *fn,
                                      void *ctx, struct err *err);
void events_unsubscribe(struct subscription *s); /* NULL is fine */
void events_publish(struct events *hub, const struct event *event);

/* The last progress and preview of a running job, for those who poll. Returns false when the job
 * is not running. *preview (may be NULL) is malloc'd for the caller, or NULL when there is none. */
bool events_last(struct events *hub, const char *job_id, struct job_progress *progress,
                 uint8_t **preview, size_t *preview_size);

#endif
