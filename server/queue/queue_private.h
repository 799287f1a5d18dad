/* queue_private.h: what the files of the queue share: queue.c (accepting, asking, stopping),
 * queue_run.c (a runner's side), queue_sweep.c (leases that end, old jobs, trouble) and
 * queue_state.c (every change of state). Nobody else includes it. */
#ifndef PICTOR_SERVER_QUEUE_PRIVATE_H
#define PICTOR_SERVER_QUEUE_PRIVATE_H

#include "server/queue/queue.h"

#include <pthread.h>

#include "server/queue/quota.h"
#include "server/queue/steady.h"
#include "server/store/store.h"

struct queue {
    struct store *store;
    struct blobs *blobs;
    struct queue_line *line;
    struct events *events;
    struct subscription *reporter; /* queue_news.c */
    const struct settings *settings;
    quota_price_fn *price; /* NULL: nothing costs money */
    void *price_ctx;
    pthread_mutex_t lock;
    pthread_cond_t end;        /* the sweeper is to stop, or to look at a trouble */
    pthread_cond_t well;       /* the trouble is over, or nobody is to wait for that any more */
    bool stop, hurry, probing; /* hurry: see queue_hurry */
    struct err trouble;        /* ERR_NONE: there is none */
    int probes;                /* of this trouble */
    size_t room;               /* bytes of the largest file that could not be written */
    char (*abandoned)[JOB_ID_SIZE]; /* to be cancelled as soon as that can be written */
    size_t abandoned_count;
    struct {
        char id[JOB_ID_SIZE];
        int image;
    } skips[16];         /* the last ones */
    size_t skip_count;   /* of all times */
    bool paused;         /* nothing is claimed: queue_hold.h */
    bool taken_over;     /* what ran when the last server ended is in the queue again */
    int64_t grace;       /* no lease ends before: it could not be renewed */
    struct steady clock; /* the sweeper's */
    time_t started;
    pthread_mutex_t files; /* orphans.h */
    pthread_t sweeper;
};

/* ---- queue_state.c; under the lock, unless said otherwise ---- */

int64_t queue_lease_ms(const struct queue *q);

void queue_publish(struct queue *q, enum event_kind kind, const char *id, const char *key_id,
                   enum job_state state);
void queue_publish_state(struct queue *q, const char *id, const char *key_id, enum job_state state);
void queue_log_failure(const char *event, const struct err *err); /* any thread */

/* To be said of what was written, or tried: notes the beginning of a trouble. Returns `done`. */
bool queue_note(struct queue *q, bool done, const struct err *err);
/* Of what could not be committed: whether it may have been all the same, because the store is on
 * another machine, whose answer was lost. Files are kept then: one without a row does no harm. */
bool queue_may_be_written(const struct queue *q, const struct err *err);
/* Without the lock: as queue_note, of a file of `size` bytes that could not be read or written. */
void queue_note_file(struct queue *q, size_t size, const struct err *err);
/* For what a runner has to say and could not: whether to say it (again), now that it can be
 * written. */
bool queue_wait_until_well(struct queue *q, const struct claim *claim, const struct err *err);

/* To a final state; `reason` may be NULL unless failed. */
bool queue_end_job(struct queue *q, const char *id, const char *key_id, enum job_state state,
                   const struct err *reason, struct err *err);
/* The same by the claim of this token (0: whoever has it), with what an upstream said (JSON, may be
 * NULL). */
bool queue_end_refused(struct queue *q, const char *id, const char *key_id, int64_t token,
                       enum job_state state, const struct err *reason, const char *refusal,
                       struct err *err);
/* A running job whose runner is gone: queued again, or final if that makes no sense. */
bool queue_give_back(struct queue *q, const char *id, const struct store_lease *lease,
                     const char *reason, enum store_requeue why, struct err *err);
/* A row that cannot be read must not be in the way of the others. */
bool queue_fail_damaged(struct queue *q, const char *id, const char *key_id,
                        const struct err *damage, struct err *err);
/* Whether the claim still holds its job. */
bool queue_check_claim(struct queue *q, const struct claim *claim, struct store_lease *lease,
                       struct err *err);

/* ---- queue.c ---- */

/* The lease of a job that `key_id` (NULL: anybody) may see. */
bool queue_find(struct queue *q, const char *id, const char *key_id, struct store_lease *lease,
                struct err *err);

void queue_note_skip(struct queue *q, const char *id, int image); /* under the lock */

/* ---- queue_aside.c ---- */

typedef bool queue_list_fn(struct store *st, int64_t before_ms, int limit, struct store_ids *out,
                           struct err *err);
typedef bool queue_remove_fn(struct queue *q, const char *id, struct err *err);
/* Removes a batch of what `list` has before a time; false when there may be more. What cannot be
 * removed is logged as `event`. Without the lock. */
bool queue_remove_before(struct queue *q, queue_list_fn *list, queue_remove_fn *remove,
                         int64_t before_ms, const char *event, size_t *removed);
bool queue_remove_job(struct queue *q, const char *id, struct err *err); /* for good */

/* Removes for good what was deleted longer ago than it can be restored, or (`all`) whenever; false
 * when there may be more. Without the lock. */
bool queue_aside_empty(struct queue *q, bool all);

/* ---- queue_submit.c ---- */

/* The files; any thread. `params` NULL: nobody knows which there are. */
void queue_remove_inputs(struct queue *q, const char *job_id, const struct job_params *params);

/* ---- queue_hold.c ---- */

bool queue_hold_read(struct queue *q, struct err *err); /* queue_take_over */

/* ---- queue_news.c ---- */

/* Of a store that other servers share: what they do is published here, and how far the jobs are
 * that run here is told to them. */
bool queue_news_start(struct queue *q, struct err *err);
void queue_news_stop(struct queue *q);

/* ---- queue_sweep.c ---- */

void *queue_sweep(void *q); /* the sweeper's thread, until q->stop */
/* At the start, under the lock: every running job was another process's. */
bool queue_take_over(struct queue *q, struct err *err);
/* Under the lock, which it gives away for a while: tries the store and the disk. When both do, the
 * trouble is over: the jobs given up meanwhile are cancelled, and everybody goes on. */
void queue_probe(struct queue *q);

#endif
