/* queue_marks.h: tags and favourites of jobs and pictures. Thread-safe; changes are published as
 * changes of the jobs' state are. */
#ifndef PICTOR_SERVER_QUEUE_MARKS_H
#define PICTOR_SERVER_QUEUE_MARKS_H

#include "server/queue/queue.h"

struct store_tag;

/* One change, of all the jobs and pictures that it names. */
struct queue_marks {
    const char **jobs, **images; /* ids */
    size_t job_count, image_count;
    const char **add, **remove; /* tags, checked by job_mark_check */
    size_t add_count, remove_count;
    int favourite; /* 1: they become favourites, 0: they are none any more, -1: as they are */
};

/* Does the next piece of it, in which nothing else of the queue waits long; *at is 0 at first. A
 * change that is one piece is made or not. Of a larger one, all pieces are tried first and taken
 * back, so that what is wrong with it is said before anything is changed; then they are made.
 * ERR_NOT_FOUND when a target is not there, or is another key's (`key_id` NULL: any); ERR_INVALID
 * for more than JOB_MARKS_MAX tags. */
bool queue_marks_step(struct queue *q, const char *key_id, const struct queue_marks *m, size_t *at,
                      struct err *err);
/* Whether there is no next one; and how many there are in all. */
bool queue_marks_over(const struct queue_marks *m, size_t at);
size_t queue_marks_steps(const struct queue_marks *m);

/* As store_mark_tags. */
bool queue_marks_tags(struct queue *q, const char *key_id, const atomic_bool *gone,
                      struct store_tag **tags, size_t *count, struct err *err);

/* The job that a picture is of. ERR_NOT_FOUND. */
bool queue_marks_job_of(struct queue *q, const char *image_id, const char *key_id,
                        char job_id[JOB_ID_SIZE], struct err *err);

#endif
