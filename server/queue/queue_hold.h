/* queue_hold.h: the line held up and put in order by hand. What is set here outlives the server.
 * Thread-safe; each change is published as EVENT_QUEUE. */
#ifndef PICTOR_SERVER_QUEUE_HOLD_H
#define PICTOR_SERVER_QUEUE_HOLD_H

#include "server/queue/queue.h"

/* While the queue is paused nothing is claimed; what runs goes on, what comes is accepted. */
bool queue_hold_pause(struct queue *q, bool paused, struct err *err);
bool queue_hold_is_paused(struct queue *q);

/* Moves a queued job right before another (`before` NULL: before all). Jobs that were moved, and
 * those before which one was moved, keep their order from then on and go before all others,
 * whatever their priority. ERR_INVALID when the job is not queued; ERR_NOT_FOUND when it is not
 * there. *blamed (may be NULL) is set when `before` is to blame. */
bool queue_hold_move(struct queue *q, const char *id, const char *before, bool *blamed,
                     struct err *err);

#endif
