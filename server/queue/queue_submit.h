/* queue_submit.h: several jobs accepted as one, and once, however often they are sent. Thread-safe.
 */
#ifndef PICTOR_SERVER_QUEUE_SUBMIT_H
#define PICTOR_SERVER_QUEUE_SUBMIT_H

#include "server/queue/queue.h"

#define QUEUE_SUBMIT_MAX 500 /* jobs at once */
#define QUEUE_SUBMIT_NAME 255 /* bytes of a name, at most */
#define QUEUE_SUBMIT_HASH 65

struct queue_request {
    int priority;
    const struct job_params *params;
    const struct job_input *inputs;
    size_t input_count;
    const char *tags; /* which it has from the start (server/job/job_tags.h); NULL: none */
    const char *request;  /* which brought it, for the log; NULL: none */
    char id[JOB_ID_SIZE]; /* filled */
};

/* The name under which a client sends something, so that it may send it again. It is known for a
 * day, to its key alone. */
struct queue_once {
    const char *name;
    char hash[QUEUE_SUBMIT_HASH]; /* of all that was sent, in hex */
    /* Filled: the jobs of an earlier request of this name, ids between commas; NULL: there was
     * none. Free it. */
    char *jobs;
    bool differs; /* ERR_INVALID, because what was sent under this name was something else */
};

/* Fills once->jobs. ERR_INVALID with `differs`. */
bool queue_submit_find(struct queue *q, const char *key_id, struct queue_once *once,
                       struct err *err);

/* What is to be written with them or not at all. Inside the transaction: it calls the store, and
 * not the queue. */
struct queue_also {
    bool (*write)(void *ctx, struct store *store, const struct queue_request *requests,
                  size_t count, struct err *err);
    void *ctx;
};

/* As queue_submit, all of them or none. `once` and `also` may be NULL; with once->jobs afterwards
 * nothing was accepted, but earlier. */
bool queue_submit_all(struct queue *q, const char *key_id, bool waited,
                      struct queue_request *requests, size_t count, struct queue_once *once,
                      const struct queue_also *also, struct err *err);

#endif
