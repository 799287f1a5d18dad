/* painter.h: takes jobs of local models out of the queue and has the worker process paint them.
 *
 * One thread owns the worker (server/paint/child.h) and the job. It sleeps in poll(2) on the
 * worker's socket and on an eventfd through which everybody else reaches it: the queue's events (a
 * job waits, ours was cancelled), stop, unload. So a cancelled job reaches the engine within
 * milliseconds, and nothing the worker does can block more than the painting. */
#ifndef PICTOR_SERVER_PAINTER_H
#define PICTOR_SERVER_PAINTER_H

#include <stdbool.h>

#include "engine/base/err.h"

struct dispatch_parts;
struct dispatch_stats;
struct painter;

/* A worker that says nothing for so long while it has a request is taken to hang. */
struct painter_patience {
    int first_ms; /* before the first step of a picture: its model may have to be loaded */
    int least_ms; /* afterwards: this, or PAINTER_SLOWEST times the slowest step if that is more */
    bool pulse; /* ask it whether it is alive (server/paint/pulse.h) */
};
#define PAINTER_SLOWEST 20 /* decoding a picture takes the time of several steps, in silence */
extern const struct painter_patience painter_patience_default;

struct painter *painter_new(const struct dispatch_parts *parts,
                            const struct painter_patience *patience, struct err *err);

/* As their namesakes in server/paint/dispatch.h. */
void painter_stop(struct painter *p, int timeout_ms);
void painter_free(struct painter *p);

void painter_load(struct painter *p, const char *model); /* NULL: dispatch_unload */
bool painter_busy(struct painter *p);
bool painter_ready(struct painter *p, struct err *err);
/* Adds its figures. */
void painter_stats(struct painter *p, struct dispatch_stats *out);

#endif
