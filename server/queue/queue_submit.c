/* queue_submit.c: accepting jobs. Their pictures are written first, then one transaction has all
 * rows, so that after a crash there is all or nothing, but for files that nobody names. */
#include "server/queue/queue_submit.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/inputs.h"
#include "server/job/job_tags.h"
#include "server/queue/queue_private.h"
#include "server/store/blobs.h"

#define ONCE_MS (24 * 3600 * (int64_t)1000)

/* Jobs that could not come later either are no matter of time. */
static bool too_many(struct err *err, const char *what, int queued, int most, size_t more)
{
    if ((int)more > most)
        return err_set(err, ERR_TOO_LARGE, "%zu jobs at once: wanted at most %d", more, most);
    return err_set(err, ERR_BUSY, "%s: %d jobs wait", what, queued);
}

/* For `more` jobs with so many bytes of pictures. */
static bool check_room(struct queue *q, const char *key_id, size_t more, size_t input_bytes,
                       struct err *err)
{
    size_t most = q->settings->max_input_bytes_per_key, waiting;
    int queued, running;
    if (!store_job_depth(q->store, NULL, &queued, &running, err))
        return false;
    if (queued + (int)more > q->settings->max_queue)
        return too_many(err, "the queue is full", queued, q->settings->max_queue, more);
    if (!*key_id) /* without keys all clients are one, and may fill the whole queue */
        return true;
    if (!store_job_depth(q->store, key_id, &queued, &running, err))
        return false;
    if (queued + (int)more > q->settings->max_queue_per_key)
        return too_many(err, "this key's share of the queue is full", queued,
                        q->settings->max_queue_per_key, more);
    if (input_bytes > 0 && !store_input_waiting(q->store, key_id, &waiting, err))
        return false;
    /* The first job is taken whatever it has: it could not come later either. */
    if (input_bytes > 0 && waiting > 0 && waiting + input_bytes > most)
        return err_set(err, ERR_BUSY,
                       "pictures of this key's jobs that are not done have %zu bytes of %zu",
                       waiting, most);
    return true;
}

/* Of jobs that are about to be asked for. */
static bool check_quota(struct queue *q, const char *key_id, const struct queue_request *requests,
                        size_t count, struct err *err)
{
    struct quota quota;
    struct store_amount more = {0};
    if (!quota_read(q, key_id, now_unix_ms(), &quota, err))
        return false;
    for (size_t i = 0; i < count && quota.limited; i++)
        quota_add(q, requests[i].params, &more);
    return quota_allows(&quota, &more, err);
}

static size_t bytes_of(const struct job_input *inputs, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += inputs[i].size;
    return bytes;
}

static bool check_inputs(const struct job_params *params, const struct job_input *inputs,
                         size_t count, struct err *err)
{
    bool given[INPUTS_MAX] = {false}, wanted[INPUTS_MAX];
    for (size_t i = 0; i < count; i++) {
        int which = inputs_index(inputs[i].name);
        if (which < 0 || given[which])
            return err_set(err, ERR_INTERNAL, "input \"%.20s\" is unknown or given twice",
                           inputs[i].name);
        given[which] = true;
    }
    inputs_wanted(params, wanted);
    return memcmp(wanted, given, sizeof wanted) == 0 ||
           err_set(err, ERR_INTERNAL, "the job's inputs are not those it says it has");
}

void queue_remove_inputs(struct queue *q, const char *job_id, const struct job_params *params)
{
    bool wanted[INPUTS_MAX];
    char path[BLOBS_PATH_SIZE];
    memset(wanted, true, sizeof wanted);
    if (params)
        inputs_wanted(params, wanted);
    for (size_t i = 0; i < INPUTS_MAX; i++)
        if (wanted[i] && blobs_input_path(path, store_data(q->store), job_id, inputs_name(i), NULL))
            blobs_remove(q->blobs, path);
}

static bool insert_job(struct queue *q, const char *key_id, bool waited,
                       const struct queue_request *r, struct err *err)
{
    struct job job = {.priority = r->priority,
                      .waited = waited,
                      .created_ms = now_unix_ms(),
                      .params = *r->params};
    strcpy(job.key_id, key_id);
    memcpy(job.id, r->id, sizeof job.id);
    bool done = store_job_insert(q->store, &job, err);
    for (size_t i = 0; i < r->input_count && done; i++)
        done = store_input_put(q->store, job.id, r->inputs[i].name, r->inputs[i].size, err);
    char tag[JOB_MARK_SIZE];
    for (const char *at = r->tags; done && job_tags_next(&at, tag);)
        done = store_mark_put(q->store, job.id, NULL, tag, true, err);
    return done;
}

static size_t bytes_of_all(const struct queue_request *requests, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += bytes_of(requests[i].inputs, requests[i].input_count);
    return bytes;
}

bool queue_submit_find(struct queue *q, const char *key_id, struct queue_once *once,
                       struct err *err)
{
    struct store_once earlier;
    once->jobs = NULL;
    once->differs = false;
    if (!store_once_get(q->store, key_id, once->name, now_unix_ms() - ONCE_MS, &earlier, err))
        return false;
    once->differs = earlier.jobs && strcmp(earlier.hash, once->hash) != 0;
    if (!once->differs) {
        once->jobs = earlier.jobs;
        return true;
    }
    free(earlier.jobs);
    return err_set(err, ERR_INVALID,
                   "something else was sent under this Idempotency-Key: take another for it");
}

static bool put_once(struct queue *q, const char *key_id, const struct queue_request *requests,
                     size_t count, const struct queue_once *once, struct err *err)
{
    struct store_once row = {.jobs = calloc(count, JOB_ID_SIZE)};
    if (!row.jobs)
        return err_set(err, ERR_INTERNAL, "no memory for the ids of %zu jobs", count);
    memcpy(row.hash, once->hash, sizeof row.hash);
    for (size_t i = 0; i < count; i++) {
        char *at = row.jobs + i * JOB_ID_SIZE;
        if (i > 0)
            at[-1] = ',';
        memcpy(at, requests[i].id, JOB_ID_SIZE);
    }
    int64_t now = now_unix_ms();
    bool done = store_once_put(q->store, key_id, once->name, &row, now, now - ONCE_MS, err);
    free(row.jobs);
    return done;
}

/* In a transaction: all rows; or none, where once->jobs says what came of an earlier request. */
static bool insert_all(struct queue *q, const char *key_id, bool waited,
                       const struct queue_request *requests, size_t count, struct queue_once *once,
                       const struct queue_also *also, struct err *err)
{
    if (once && !queue_submit_find(q, key_id, once, err))
        return false;
    if (once && once->jobs)
        return true;
    bool done = check_room(q, key_id, count, bytes_of_all(requests, count), err) &&
                check_quota(q, key_id, requests, count, err);
    for (size_t i = 0; i < count && done; i++)
        done = insert_job(q, key_id, waited, &requests[i], err);
    return done && (!once || put_once(q, key_id, requests, count, once, err)) &&
           (!also || also->write(also->ctx, q->store, requests, count, err));
}

/* The line in which a request's name and its job's stand together. */
static void log_accepted(const struct queue_request *r, const char *key_id)
{
    char model[300];
    log_event(LOG_INFO, "job_accepted", "job=%s req=%s key=%s model=%s pictures=%d", r->id,
              r->request ? r->request : "-", *key_id ? key_id : "-",
              log_quote(model, sizeof model, r->params->model ? r->params->model : ""),
              r->params->count);
}

static bool accept_all(struct queue *q, const char *key_id, bool waited,
                       const struct queue_request *requests, size_t count, struct queue_once *once,
                       const struct queue_also *also, struct err *err)
{
    pthread_mutex_lock(&q->lock);
    bool done =
        store_begin(q->store, err) &&
        store_end(q->store, insert_all(q, key_id, waited, requests, count, once, also, err), err);
    for (size_t i = 0; i < count && done && !(once && once->jobs); i++) {
        log_accepted(&requests[i], key_id);
        queue_publish_state(q, requests[i].id, key_id, JOB_QUEUED);
    }
    queue_note(q, done, err);
    pthread_mutex_unlock(&q->lock);
    return done;
}

static bool write_inputs(struct queue *q, const struct queue_request *r, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    bool done = true;
    for (size_t i = 0; i < r->input_count && done; i++)
        done = blobs_input_path(path, store_data(q->store), r->id, r->inputs[i].name, err) &&
               blobs_write(q->blobs, path, r->inputs[i].data, r->inputs[i].size, err);
    return done;
}

static size_t largest_of(const struct queue_request *requests, size_t count)
{
    size_t largest = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < requests[i].input_count; k++)
            if (requests[i].inputs[k].size > largest)
                largest = requests[i].inputs[k].size;
    return largest;
}

bool queue_submit_all(struct queue *q, const char *key_id, bool waited,
                      struct queue_request *requests, size_t count, struct queue_once *once,
                      const struct queue_also *also, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        requests[i].id[0] = '\0';
    if (!key_id || strlen(key_id) >= JOB_ID_SIZE)
        return err_set(err, ERR_INTERNAL, "a key's id must be at most %d bytes", JOB_ID_SIZE - 1);
    pthread_mutex_lock(&q->lock);
    if (q->trouble.code != ERR_NONE) /* it may have been over for a while */
        queue_probe(q);
    /* Else each would wait for a bucket that is away, on a thread that has others to answer. */
    bool away = q->trouble.code == ERR_UNAVAILABLE && bytes_of_all(requests, count) > 0;
    if (away)
        err_copy(err, &q->trouble);
    pthread_mutex_unlock(&q->lock);
    if (away)
        return false;
    /* Asked again when it counts; here it saves writing pixels that will not be taken. */
    bool good =
        check_room(q, key_id, count, bytes_of_all(requests, count), err) &&
        (bytes_of_all(requests, count) == 0 || check_quota(q, key_id, requests, count, err));
    for (size_t i = 0; i < count && good; i++)
        good = check_inputs(requests[i].params, requests[i].inputs, requests[i].input_count, err) &&
               ids_random(requests[i].id, JOB_ID_SIZE - 1, err);
    if (!good) {
        for (size_t i = 0; i < count; i++)
            requests[i].id[0] = '\0';
        queue_note_file(q, 0, err);
        return false;
    }
    bool written = true;
    for (size_t i = 0; i < count && written; i++)
        written = write_inputs(q, &requests[i], err);
    if (!written)
        queue_note_file(q, largest_of(requests, count), err);
    bool done = written && accept_all(q, key_id, waited, requests, count, once, also, err);
    bool ours = done && !(once && once->jobs);
    for (size_t i = 0; i < count && !ours; i++) {
        if (requests[i].input_count > 0 && (done || !queue_may_be_written(q, err)))
            queue_remove_inputs(q, requests[i].id, requests[i].params);
        requests[i].id[0] = '\0';
    }
    return done;
}

bool queue_submit(struct queue *q, const char *key_id, int priority, bool waited,
                  const struct job_params *params, const struct job_input *inputs,
                  size_t input_count, char id[JOB_ID_SIZE], struct err *err)
{
    struct queue_request request = {
        .priority = priority, .params = params, .inputs = inputs, .input_count = input_count};
    bool done = queue_submit_all(q, key_id, waited, &request, 1, NULL, NULL, err);
    memcpy(id, request.id, JOB_ID_SIZE);
    return done;
}
