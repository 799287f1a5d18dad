/* native_feed.h: what happens to jobs, as text that is written once and read by many streams.
 *
 * One thread turns events into texts of docs/api.md and puts them into a ring. Every reader has a
 * place in it, so that an event costs the same work however many listen, and a slow reader costs
 * nobody anything: a progress that is out of date is skipped, and a reader that the ring has
 * overtaken is lost and begins again (its client lists the jobs). Every text has an id, its place
 * in the ring of this run of the server, from where a client that was cut off goes on.
 * Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_FEED_H
#define PICTOR_SERVER_NATIVE_FEED_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct events;
struct job;
struct native_feed;
struct native_reader;
struct queue;

struct native_text {
    size_t size;
    bool last; /* the job is final: readers of this one job are done */
    const char *data;
};

/* Borrows both, which outlive it. */
struct native_feed *native_feed_new(struct queue *queue, struct events *events, struct err *err);
void native_feed_free(struct native_feed *feed); /* no reader is left; NULL is fine */

/* From behind the text of the id `last_id` on, as long as it is in the ring; where it is not, and
 * where it is NULL or no id, from now on. `key_id` NULL: of all keys; `job_id` NULL: of all jobs.
 * `wake` is called on the feed's thread, under its lock, when there is something to read. Returns
 * owned. */
struct native_reader *native_feed_join(struct native_feed *feed, const char *key_id,
                                       const char *job_id, const char *last_id,
                                       void (*wake)(void *ctx), void *ctx, struct err *err);
bool native_feed_resumed(const struct native_reader *reader); /* it goes on behind its `last_id` */
/* Whether an id is that of a job's end: its stream has nothing more to say. */
bool native_feed_ended(const char *last_id);
/* After it returns `wake` does not run and will not run. NULL is fine. */
void native_feed_leave(struct native_reader *reader);

enum native_next {
    NATIVE_TEXT,    /* here is one */
    NATIVE_NOTHING, /* `wake` will be called */
    NATIVE_LOST     /* too slow, or what happened to the job cannot be found out */
};

/* The next text for this reader, which native_feed_done must follow. One thread a reader. */
enum native_next native_feed_next(struct native_reader *reader, const struct native_text **text);
void native_feed_done(const struct native_text *text);

/* For a reader that has read nothing yet; NULL without memory. native_feed_done. The text
 * "event: job" of a job that was read after the reader joined, and "event: missed". */
const struct native_text *native_feed_job(const struct native_reader *reader,
                                          const struct job *job);
const struct native_text *native_feed_missed(const struct native_reader *reader);

#endif
