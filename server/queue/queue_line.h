/* queue_line.h: which place each queued job has.
 *
 * To find a place is to look at the whole queue, and many ask at once: everybody who waits, after
 * each change. So the line is read from the store once after a change, by the first who asks.
 * Thread-safe. */
#ifndef PICTOR_SERVER_QUEUE_LINE_H
#define PICTOR_SERVER_QUEUE_LINE_H

#include "server/job/job.h"

struct queue_line;
struct store;

struct queue_line *queue_line_new(struct store *store, struct err *err); /* borrows the store */
void queue_line_free(struct queue_line *line);                           /* NULL is fine */

/* The queue has changed: places that were read before are wrong. After the change is committed. */
void queue_line_changed(struct queue_line *line);

/* Sets the position of those of the jobs that are queued. */
bool queue_line_place(struct queue_line *line, struct job *jobs, size_t count, struct err *err);

#endif
