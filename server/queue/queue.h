/* queue.h: jobs, from accepted to final, on top of the store.
 *
 * Invariants (checked by tests/chaos):
 *  - queue_submit returns true only after the job and its inputs are committed to disk;
 *  - a job is run by at most one claimant at a time: a claim is a lease with a deadline and a
 *    fencing token that grows with each claim; a claimant with an old token changes nothing;
 *  - a final state never changes; an image file is fsynced before its row says that it exists,
 *    and a job is done only when all its images are;
 *  - an expired or released lease puts the job back in the queue, at most `max_attempts` times
 *    (the end of the server is no attempt: nothing says that the job was to blame),
 *    then it fails and says so;
 *  - no job fails because this machine cannot write (err_is_passing: a full disk, no descriptors, a
 *    folder that is gone): while that is so nothing is claimed, what a runner has to say waits, and
 *    no lease ends. Probes find out when it is over.
 * Thread-safe. Publishes state changes to the events hub after they are committed, in the order in
 * which they happened, so still under the queue's lock: a lock that a subscriber's callback takes
 * must not be held while calling the queue. */
#ifndef PICTOR_SERVER_QUEUE_H
#define PICTOR_SERVER_QUEUE_H

#include "server/job/job.h"
#include "server/queue/events.h"

struct blobs;
struct store;
struct settings;
struct queue;

struct queue *queue_new(struct store *store, struct blobs *blobs, struct events *events,
                        const struct settings *settings, struct err *err);
void queue_free(struct queue *q);

/* Pixels that belong to a job: the encoded file as it came, already checked to decode. */
struct job_input {
    const char *name; /* "init" or "mask" */
    const void *data;
    size_t size;
};

/* Accepts a job. ERR_BUSY when the queue (or this key's share) is full. `waited`: a client's open
 * request is all that wants it, so that it ends with this server (and by queue_abandon). `id` is
 * filled. `params` stays the caller's. */
bool queue_submit(struct queue *q, const char *key_id, int priority, bool waited,
                  const struct job_params *params, const struct job_input *inputs,
                  size_t input_count, char id[JOB_ID_SIZE], struct err *err);

/* Fills `out` (job_free). ERR_NOT_FOUND when there is none, or it is another key's
 * (`key_id` NULL: any). */
bool queue_get(struct queue *q, const char *id, const char *key_id, struct job *out,
               struct err *err);

/* The newest job that its client calls `tag`, as queue_get. ERR_NOT_FOUND. */
bool queue_get_tagged(struct queue *q, const char *tag, const char *key_id, struct job *out,
                      struct err *err);

/* The state of anybody's job and how many pictures it has. Cheap, for the many clients that wait;
 * queue_get also counts the jobs before it. */
bool queue_glance(struct queue *q, const char *id, enum job_state *state, int *images,
                  struct err *err);

/* Whether a client that waits for a job should ask again after queue_get or queue_glance has failed
 * with `err`: the database may be in use or the disk have a bad moment, but not for longer than a
 * minute. *since is 0 until the first failure; set it to 0 after an answer. */
bool queue_ask_again(int64_t *since, const struct err *err);

/* Newest first. *jobs is malloc'd (job_free each, then free). *next is the before_sequence of the
 * next page, 0 when this was the last. */
bool queue_list(struct queue *q, const struct job_filter *filter, struct job **jobs, size_t *count,
                int64_t *next, struct err *err);

/* Queued: cancelled at once. Running: cancelled at once for everybody who asks; the runner is told
 * to stop and its result is not taken. Final: ERR_INVALID. */
bool queue_cancel(struct queue *q, const char *id, const char *key_id, struct err *err);

/* Nobody waits for the job any more: cancelled now or, if that cannot be written, as soon as it
 * can be. A job that is final or gone is left alone. */
void queue_abandon(struct queue *q, const char *id);

/* False while this machine cannot write: `err` (may be NULL) says why. Beginning and end are
 * published as EVENT_TROUBLE. */
bool queue_well(struct queue *q, struct err *err);
/* Likewise, but never waits for the database, which others may be waiting for under the lock: true
 * also while nobody knows. */
bool queue_seems_well(struct queue *q, struct err *err);

/* The server is about to stop: from now on runners no longer wait for the end of a trouble. */
void queue_hurry(struct queue *q);

/* Running: the runner stops sampling now, decodes what is painted so far, and the job is done with
 * that (SD WebUI's interrupt). Queued: as queue_cancel. Published as "running" once more, so that
 * the runner asks (queue_heartbeat) at once. */
bool queue_interrupt(struct queue *q, const char *id, const char *key_id, struct err *err);

/* Whether that was done to anybody's job. */
bool queue_was_interrupted(struct queue *q, const char *id);

/* Running: the runner ends picture `image` as it is and goes on with the next one (SD WebUI's
 * skip). Nothing is written: who restarts the job paints the picture whole. Published as above. */
bool queue_skip(struct queue *q, const char *id, const char *key_id, int image, struct err *err);

/* A final job with its pictures and inputs, or one picture of it, is deleted: nobody finds it any
 * more, and for `undo_seconds` it can be restored. With `now`, or no seconds, it is removed for
 * good, also what was deleted before. ERR_INVALID when the job is not final. */
bool queue_delete(struct queue *q, const char *id, const char *key_id, bool now, struct err *err);
bool queue_delete_image(struct queue *q, const char *id, const char *image_id, const char *key_id,
                        bool now, struct err *err);

/* What was deleted is there again, as it was. ERR_NOT_FOUND when it is not among what can be
 * restored; ERR_INVALID of a picture whose job is not there itself. Of pictures, here as there: an
 * `id` of NULL is any job. */
bool queue_restore(struct queue *q, const char *id, const char *key_id, struct err *err);
bool queue_restore_image(struct queue *q, const char *id, const char *image_id, const char *key_id,
                         struct err *err);

/* How many are queued and running, in all and for one key (NULL: all). */
bool queue_depth(struct queue *q, const char *key_id, int *queued, int *running, struct err *err);

/* What waits for each model, by name; fills at most `max`. */
bool queue_backlog(struct queue *q, struct job_backlog *out, size_t max, size_t *count,
                   struct err *err);

/* ---- the runner's side (dispatcher) ---- */

struct claim {
    char job_id[JOB_ID_SIZE];
    int64_t token;
    bool afar; /* of a runner elsewhere, who says things again: his words do not wait here */
};

/* What a runner would rather have than the job whose turn it is: one of a model that it has at
 * hand, best lists first. Such a job goes first among those of its class (and of its key's those of
 * its priority), but nothing that was moved by hand is passed over; nor what has waited for
 * QUEUE_PASS_MS, by a runner that has passed over others for so long: then it takes what is due. So
 * a job waits for that at most twice as long as this, and a picture's time, longer than it would
 * anyway, and models change once in so long at the most however deep the queue is. */
#define QUEUE_PASS_MS 60000 /* about what a large model takes to load from a slow disk */
#define QUEUE_LISTS 2
struct queue_taste {
    struct {
        const char *const *models;
        size_t count;
    } lists[QUEUE_LISTS]; /* what is in memory; what is on disk */
    int64_t passing_ms;   /* since when it passes over others, now_ms; 0: not. Kept by the queue */
    /* Whether a job of this model is left to another runner, who waits and has it at hand; may be
     * NULL. Not asked of what has waited for QUEUE_LEAVE_MS. */
    bool (*leave)(void *ctx, const char *model);
    void *ctx;
    bool left; /* out: there was a job, and it was left */
};
#define QUEUE_LEAVE_MS 2000

/* As queue_claim, which has no taste. */
bool queue_claim_taste(struct queue *q, const char *owner, const char *const *models,
                       size_t model_count, struct queue_taste *taste, struct job *job,
                       struct claim *claim, struct err *err);

/* Takes the next job for one of `models` (NULL, 0: any): urgent ones first (a priority above 0),
 * those below 0 last, between them of the key that has used the fewest seconds lately; of one key
 * by priority, then the oldest. `owner` is its name in the store (STORE_OWNER_AFAR). Does not wait:
 * false with ERR_NONE when there is none; a job that becomes claimable is published as queued.
 * Fills job (job_free) and claim. */
bool queue_claim(struct queue *q, const char *owner, const char *const *models, size_t model_count,
                 struct job *job, struct claim *claim, struct err *err);

/* For a runner elsewhere, who says that a claim is his: whether it is `owner`'s. If its lease ended
 * and nobody claimed the job since, it has a lease again. ERR_CANCELLED and ERR_NOT_FOUND as below.
 */
struct queue_held {
    char key_id[JOB_ID_SIZE]; /* whose job it is */
    int count, images;        /* pictures asked for, and stored */
};
bool queue_hold(struct queue *q, const struct claim *claim, const char *owner,
                struct queue_held *out, struct err *err);

/* Extends the lease; false with ERR_CANCELLED when the job was cancelled meanwhile, ERR_NOT_FOUND
 * when the claim is no longer ours. *interrupted says that queue_interrupt was called. */
bool queue_heartbeat(struct queue *q, const struct claim *claim, bool *interrupted,
                     struct err *err);

/* The picture of a running job that is to be skipped; -1: none. */
int queue_skipped(struct queue *q, const char *id);

/* Reads an input's bytes; *data is malloc'd. */
bool queue_input(struct queue *q, const char *job_id, const char *name, void **data, size_t *size,
                 struct err *err);

/* Pictures of the job are about to be ordered elsewhere, for money: noted before it is done. Until
 * it is forgotten, or the job ends, a later runner of the job finds it (token "": none), and that
 * it does not know what came of it. False: nothing may be ordered. */
bool queue_order_note(struct queue *q, const struct claim *claim, const struct job_order *order,
                      struct err *err);
bool queue_order_forget(struct queue *q, const struct claim *claim, struct err *err);
bool queue_order_find(struct queue *q, const struct claim *claim, struct job_order *order,
                      struct err *err);
/* Money was spent for it, or (below 0) was not after all: counted with what its key has used. */
bool queue_spend(struct queue *q, const struct claim *claim, double money, struct err *err);

/* Stores one finished picture (encoded file): file first, fsync, then its row. `image` gives index,
 * size, seed, format, infotext; its id and bytes are filled in. Repeating an index replaces it.
 * This, queue_order_note and the verdicts below wait while the machine cannot write, until
 * queue_hurry. */
bool queue_store_image(struct queue *q, const struct claim *claim, struct job_image *image,
                       const void *data, size_t size, struct err *err);

/* Done; cancelled when it was interrupted before it had a picture. */
bool queue_finish(struct queue *q, const struct claim *claim, struct err *err);
/* The same, with what an upstream said of it (JSON; NULL: nothing). */
bool queue_answer(struct queue *q, const struct claim *claim, const char *said, struct err *err);
/* For a reason that is the job's; for one that passes (err_is_passing) it is put back, and nothing
 * is claimed until a probe has found the machine well. */
bool queue_fail(struct queue *q, const struct claim *claim, const struct err *reason,
                struct err *err);
/* The same, with what an upstream said. */
bool queue_refuse(struct queue *q, const struct claim *claim, const struct err *reason,
                  const struct refusal *refusal, struct err *err);
/* The runner died or gives up through no fault of the job: back to the queue, or failed when it
 * has had max_attempts. */
bool queue_release(struct queue *q, const struct claim *claim, const char *reason, struct err *err);
/* The runner stops in good order: as queue_release, but the attempt does not count. */
bool queue_put_back(struct queue *q, const struct claim *claim, const char *reason,
                    struct err *err);

/* ---- images ---- */

/* An image's row; free image->infotext. `key_id` NULL: any. */
bool queue_image(struct queue *q, const char *image_id, const char *key_id, struct job_image *image,
                 struct err *err);

/* Of an image's row: a descriptor to read its file (-1: `err`), or the file's path (malloc'd),
 * after a look whether it is there. */
int queue_image_open(struct queue *q, const struct job_image *image, struct err *err);
char *queue_image_path(struct queue *q, const struct job_image *image, struct err *err);

#endif
