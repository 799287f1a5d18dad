/* painter_private.h: what painter.c and painter_asked.c share. Nobody else includes it. */
#ifndef PICTOR_SERVER_PAINTER_PRIVATE_H
#define PICTOR_SERVER_PAINTER_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "server/paint/dispatch.h"
#include "server/paint/gauge.h"
#include "server/paint/painter.h"
#include "server/paint/pulse.h"
#include "server/queue/queue.h"
#include "server/queue/roster.h"

struct painter {
    struct dispatch_parts parts;
    struct painter_patience patience;
    bool paints; /* false: only workers on other machines do */
    int wake;    /* eventfd */
    pthread_t thread;
    struct subscription *subscription;

    pthread_mutex_t lock;
    bool stop, unload, look, ask; /* look: a job may wait; ask: ours may be cancelled */
    int64_t stop_at;              /* when to give up what runs */
    char job_id[JOB_ID_SIZE];     /* ours; "" when idle */
    char load[REGISTRY_NAME_SIZE]; /* the model to be loaded; "": none */
    bool ready;
    struct err trouble; /* why it is not */
    struct dispatch_stats stats;
    pid_t pid; /* of the worker; 0: none */
    struct roster_worker self; /* what it is, for parts.roster */

    /* The thread's own. */
    struct child *child;
    struct task *task;        /* NULL: idle */
    int64_t serial, answered; /* of the last request sent, and answered */
    int64_t heard;            /* when the worker said something, or was asked after silence */
    double slowest;           /* step of the request being painted; 0: none yet */
    int64_t heartbeat, sweep, restart; /* when due */
    struct pulse pulse;                /* of the worker */
    struct gauge gauge;
    struct queue_taste taste; /* its passing_ms alone lasts */
    int64_t told;                      /* when the roster was, last */
    int failures;                      /* of the worker, since it last finished a picture */
    char said[256];                    /* what the worker complained of outside of a request */
};

/* Any thread. */
void painter_wake(struct painter *p);

/* The painter's thread: the roster hears what became of it, at once or a second later. */
void painter_tell(struct painter *p, bool at_once);
/* The worker has opened a model, or closed it; NULL: all of them. */
void painter_warm(struct painter *p, const char *model, bool opened);

#endif
