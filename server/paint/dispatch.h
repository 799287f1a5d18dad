/* dispatch.h: takes jobs out of the queue and has them painted.
 *
 * One thread owns the worker process of this machine's device (server/paint/child.h), a second one
 * the transfers to upstreams (server/paint/upstream.h). Both only hold what the queue's leases
 * allow, so killing this process at any moment loses nothing: the next start goes on with the
 * pictures that are missing. A worker that dies or hangs is replaced; its job goes back to the
 * queue. */
#ifndef PICTOR_SERVER_DISPATCH_H
#define PICTOR_SERVER_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/job/registry.h"

struct codec;
struct events;
struct queue;
struct registry;
struct roster;
struct settings;
struct tally;
struct dispatch;

/* What painting needs of the server. Borrowed for as long as something paints; copied. */
struct dispatch_parts {
    const struct settings *settings;
    struct queue *queue;
    struct events *events;
    struct registry *registry;
    struct codec *codec;
    struct registry_hashes memory; /* small texts that outlive the process */
    struct tally *tally; /* of jobs that have ended; NULL: nobody counts */
    struct roster *roster; /* of who paints; NULL: nobody asks */
};

/* Starts to claim jobs. Returns owned. */
struct dispatch *dispatch_new(const struct dispatch_parts *parts, struct err *err);

/* Claims nothing more, gives what runs up to `timeout_ms` to end, puts the rest back into the queue
 * and stops the worker. What remains answers questions, until it is freed. NULL is fine. */
void dispatch_stop(struct dispatch *d, int timeout_ms);
void dispatch_free(struct dispatch *d); /* after dispatch_stop; NULL is fine */

/* Loads a local model into the worker's memory, after the picture that is being painted. That it
 * could not be is logged. */
void dispatch_load(struct dispatch *d, const char *model);

/* Frees the models in the worker's memory, after the picture that is being painted. The next job
 * loads its model again. */
void dispatch_unload(struct dispatch *d);

/* Something is being painted. */
bool dispatch_busy(struct dispatch *d);

/* The worker is up and has an engine; for /readyz. Else `err` says what is wrong. */
bool dispatch_ready(struct dispatch *d, struct err *err);

/* Figures for /metrics, since the start. */
struct dispatch_stats {
    uint64_t pictures;      /* stored, local and upstream */
    uint64_t steps;         /* denoising steps of the local worker */
    double step_seconds;    /* their sum */
    uint64_t worker_starts; /* 1 when nothing ever died */
    uint64_t upstream_requests, upstream_failures;
    uint64_t worker_memory; /* resident bytes now; 0 when there is no worker */
};
void dispatch_stats(struct dispatch *d, struct dispatch_stats *out);

/* What a picture of the model costs, at the most; `d` is a struct dispatch (quota_price_fn). */
double dispatch_price(void *d, const char *model);

/* What was ordered at an upstream in this day and this month (UTC), and its limits, 0: none. */
struct dispatch_spending {
    const char *name; /* of the settings */
    struct dispatch_sum {
        int64_t pictures, most_pictures;
        double money, most_money;
    } day, month;
};
/* Of upstream `i`; false: there are no more. */
bool dispatch_spending(struct dispatch *d, size_t i, struct dispatch_spending *out);

#endif
