/* queue_add.h: what is made of a finished job's picture and hangs beside it: an enlarged one, say.
 * Thread-safe. */
#ifndef PICTOR_SERVER_QUEUE_ADD_H
#define PICTOR_SERVER_QUEUE_ADD_H

#include "server/queue/queue.h"

/* Adds one more picture to a job that is done: its file (encoded), then its row, then the event of
 * the job. Its id, bytes and index, behind those that the job has, are filled in; the rest is the
 * caller's. `key_id` NULL: anybody's job. ERR_NOT_FOUND; ERR_INVALID when the job is not done. */
bool queue_add_image(struct queue *q, const char *job_id, const char *key_id,
                     struct job_image *image, const void *data, size_t size, struct err *err);

#endif
