/* sql_job.c: the rows of jobs. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/store/sql/sql.h"

#define PARAMS_DEPTH 4

/* ---- a row into a struct, believing nothing ---- */

static bool read_params(struct sql_rows *s, int column, struct job_params *out, struct err *err)
{
    const char *text = sql_text(s, column);
    cJSON *json = json_text_parse(text, strlen(text), PARAMS_DEPTH, err);
    bool done = job_params_from_json(out, json, err) && out->model && out->prompt;
    if (!done)
        err_set(err, ERR_INTERNAL, "its stored request is damaged");
    cJSON_Delete(json);
    return done;
}

bool sql_job_read(struct sql_rows *s, struct job *out, struct err *err)
{
    *out = (struct job){.position = -1, .progress.eta_seconds = -1};
    job_params_init(&out->params);
    if (!sql_id(s, 0, out->id) || !sql_copy(s, 1, out->key_id, sizeof out->key_id) ||
        !job_state_of(sql_text(s, 2), &out->state) || !sql_int(s, 3, INT_MIN, &out->priority) ||
        !sql_int(s, 4, 0, &out->attempts))
        return err_set(err, ERR_INTERNAL, "the row of job \"%.40s\" is damaged", sql_text(s, 0));
    out->created_ms = sql_int64(s, 5);
    out->started_ms = sql_int64(s, 6);
    out->finished_ms = sql_int64(s, 7);
    if (out->state == JOB_FAILED) {
        out->error = err_code_of(sql_text(s, 8));
        snprintf(out->error_message, sizeof out->error_message, "%s", sql_text(s, 9));
        refusal_from_text(&out->refusal, sql_text(s, 12));
    }
    if (out->state == JOB_DONE && *sql_text(s, 12) && !(out->said = strdup(sql_text(s, 12))))
        return err_set(err, ERR_INTERNAL, "no memory for a job");
    if (!read_params(s, 10, &out->params, err))
        return err_prefix(err, "job %s", out->id);
    return true;
}

bool sql_job_images(struct sql_connection *c, enum sql_statement which, struct job *job,
                    struct err *err)
{
    bool failed;
    struct sql_rows *s = sql_bind(c, which, err, "t", job->id);
    if (!s)
        return false;
    while (sql_row(c, s, &failed, err)) {
        struct job_image *images = realloc(job->images, (job->image_count + 1) * sizeof *images);
        if (images)
            job->images = images;
        if (!images) {
            failed = true;
            err_set(err, ERR_INTERNAL, "no memory for the pictures of a job");
        } else {
            failed = !sql_image_read(s, &images[job->image_count], err);
        }
        if (failed)
            break;
        job->image_count++;
    }
    sql_done(s);
    return !failed;
}

/* ---- jobs ---- */

static bool job_insert(struct store *st, const struct job *job, struct err *err)
{
    const struct job_params *p = &job->params;
    cJSON *json = job_params_to_json(p);
    char *text = json ? json_text_print(json) : NULL;
    bool done = false;
    if (!text) {
        err_set(err, ERR_INTERNAL, "no memory for a job");
        goto fail;
    }
    struct sql_connection *c = sql_writer(st);
    done = sql_save(c, err) &&
           sql_keep(c,
                    sql_run(c, SQL_JOB_INSERT, err, "ttittititii", job->id, job->key_id,
                            (int64_t)job->priority, p->model, p->prompt, (int64_t)p->count, text,
                            job->created_ms, p->tag ? p->tag : "", (int64_t)job->waited,
                            job_params_work(p)) &&
                        sql_run(c, SQL_JOB_JOIN, err, "t", job->key_id) &&
                        sql_run(c, SQL_JOB_INDEX, err, "t", job->id),
                    err);
    sql_release(c);
fail:
    cJSON_free(text);
    cJSON_Delete(json);
    return done;
}

static bool job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                    struct err *err)
{
    *out = (struct job){0};
    struct sql_connection *c = sql_snapshot(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    bool done = found && sql_job_read(s, out, err);
    sql_done(s);
    done = done && sql_job_images(c, SQL_IMAGES_OF_JOB, out, err) && sql_mark_read(c, out, err);
    sql_release(c);
    if (!done)
        job_free(out);
    return done;
}

static bool job_depth(struct store *st, const char *key_id, int *queued, int *running,
                      struct err *err)
{
    *queued = *running = 0;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_DEPTH, err, "t", key_id);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err)) {
        *queued = (int)sql_int64(s, 0);
        *running = (int)sql_int64(s, 1);
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool job_backlog(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                        struct err *err)
{
    *count = 0;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_BACKLOG, err, "i", (int64_t)max);
    bool failed = !s;
    while (s && *count < max && sql_row(c, s, &failed, err)) {
        struct job_backlog *b = &out[(*count)++];
        snprintf(b->model, sizeof b->model, "%s", sql_text(s, 0));
        b->queued = (int)sql_int64(s, 1);
        b->oldest_ms = sql_int64(s, 2);
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool job_nameless(struct store *st, int *count, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_JOB_NAMELESS, err, "");
    *count = done ? sql_changes(c) : 0;
    sql_release(c);
    return done;
}

/* What is too long to be a model's or a key's name is none that anybody prefers. */
static bool read_turn(struct sql_rows *s, struct store_turn *out)
{
    if (!sql_id(s, 0, out->id))
        return false;
    if (!sql_copy(s, 1, out->key_id, sizeof out->key_id))
        out->key_id[0] = '\0';
    if (!sql_copy(s, 2, out->model, sizeof out->model))
        out->model[0] = '\0';
    out->rank = sql_int64(s, 3);
    out->priority = sql_int64(s, 4);
    out->created_ms = sql_int64(s, 5);
    return true;
}

static bool job_next(struct store *st, const char *const *models, size_t model_count,
                     struct store_turn *out, struct err *err)
{
    cJSON *names = NULL;
    char *text = NULL;
    bool failed = false;
    *out = (struct store_turn){0};
    if (models) {
        names = cJSON_CreateArray();
        for (size_t i = 0; i < model_count; i++)
            cJSON_AddItemToArray(names, cJSON_CreateString(models[i]));
        text = json_text_print(names);
        cJSON_Delete(names);
        if (!text)
            return err_set(err, ERR_INTERNAL, "no memory for the names of models");
    }
    struct sql_connection *c = sql_reader(st);
    static const enum sql_statement ways[] = {SQL_JOB_NEXT_USUAL, SQL_JOB_NEXT, SQL_JOB_NEXT_DEEP};
    for (size_t i = 0; i < sizeof ways / sizeof *ways && !failed && !out->id[0]; i++) {
        struct sql_rows *s = sql_bind(c, ways[i], err, "t", text);
        failed = !s;
        if (s && sql_row(c, s, &failed, err) && !read_turn(s, out))
            failed = !err_set(err, ERR_INTERNAL, "a queued job has the damaged id \"%.40s\"",
                              sql_text(s, 0));
        sql_done(s);
    }
    sql_release(c);
    cJSON_free(text);
    return !failed;
}

static bool job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                      int64_t lease_ms, int64_t *token, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    struct sql_rows *s =
        sql_bind(c, SQL_JOB_START, err, "ttii", id, owner, now_ms, sql_clock(st) + lease_ms);
    bool failed = !s, started = false;
    while (s && sql_row(c, s, &failed, err)) {
        *token = sql_int64(s, 0);
        started = true;
    }
    sql_done(s);
    if (!failed && !started)
        err_set(err, ERR_NOT_FOUND, "job %.40s is not queued", id);
    bool done = started && !failed && sql_run(c, SQL_JOB_TURN, err, "t", id);
    sql_release(c);
    return done;
}

static bool job_tagged(struct store *st, const char *tag, const char *key_id, char id[JOB_ID_SIZE],
                       struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_TAGGED, err, "tt", tag, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && sql_id(s, 0, id);
    if (!done && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job of this tag");
    sql_done(s);
    sql_release(c);
    return done;
}

static bool job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err)
{
    *out = (struct store_lease){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_LEASE, err, "t", id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && job_state_of(sql_text(s, 0), &out->state) &&
                sql_copy(s, 1, out->key_id, sizeof out->key_id) &&
                sql_copy(s, 7, out->owner, sizeof out->owner);
    if (done) {
        out->token = sql_int64(s, 2);
        out->attempts = (int)sql_int64(s, 3);
        out->count = (int)sql_int64(s, 4);
        out->interrupted = (int)sql_int64(s, 5) != 0;
        out->images = (int)sql_int64(s, 6);
    } else if (found) {
        err_set(err, ERR_INTERNAL, "the row of job %.40s is damaged", id);
    } else if (!failed) {
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    }
    sql_done(s);
    sql_release(c);
    return done;
}

/* An update that must find its row in the state that the statement names. */
static bool changed_one(struct sql_connection *c, const char *id, bool ran, struct err *err)
{
    if (ran && sql_changes(c) == 0)
        return err_set(err, ERR_NOT_FOUND, "job %.40s is not in the state for that", id);
    return ran;
}

static bool job_renew(struct store *st, const char *id, int64_t token, int64_t lease_ms,
                      struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool ran = sql_run(c, SQL_JOB_RENEW, err, "tii", id, sql_clock(st) + lease_ms, token);
    bool done = changed_one(c, id, ran, err);
    sql_release(c);
    return done;
}

static bool job_interrupt(struct store *st, const char *id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool ran = sql_run(c, SQL_JOB_INTERRUPT, err, "t", id);
    bool done = changed_one(c, id, ran, err);
    sql_release(c);
    return done;
}

static bool job_requeue(struct store *st, const char *id, int64_t token,
                        enum store_requeue why, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        bool ran = sql_run(c, SQL_JOB_REQUEUE, err, "tiii", id,
                           (int64_t)(why == STORE_REQUEUE_UNCOUNTED), token,
                           (int64_t)(why == STORE_REQUEUE_EXPIRED));
        done = sql_keep(c, changed_one(c, id, ran, err) && sql_run(c, SQL_JOB_REFUND, err, "t", id),
                        err);
    }
    sql_release(c);
    return done;
}

static bool job_resume(struct store *st, const char *id, int64_t token, const char *owner,
                       int64_t lease_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        bool ran = sql_run(c, SQL_JOB_RESUME, err, "tiit", id, sql_clock(st) + lease_ms, token,
                           owner);
        done = sql_keep(c, changed_one(c, id, ran, err) && sql_run(c, SQL_JOB_TURN, err, "t", id),
                        err);
    }
    sql_release(c);
    return done;
}

static bool job_spare(struct store *st, int64_t lease_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_JOB_SPARE, err, "i", sql_clock(st) + lease_ms);
    sql_release(c);
    return done;
}

static bool job_end(struct store *st, const char *id, int64_t token, enum job_state state,
                    const struct err *reason, const char *refusal, int64_t now_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        bool ran = sql_run(c, SQL_JOB_END, err, "ttittti", id, job_state_name(state), now_ms,
                           reason ? err_name(reason->code) : "", reason ? reason->msg : "",
                           refusal ? refusal : "", token);
        done = sql_keep(
            c,
            changed_one(c, id, ran, err) && sql_run(c, SQL_ORDER_DELETE, err, "t", id) &&
                sql_run(c, SQL_DELIVERY_ADD, err, "tti", id, job_state_name(state), now_ms) &&
                sql_run(c, SQL_USAGE_ADD, err, "t", id) && sql_run(c, SQL_JOB_CHARGE, err, "t", id),
            err);
    }
    sql_release(c);
    return done;
}

static bool job_delete(struct store *st, const char *id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        /* It is in one place or the other; pictures of it may be aside alone. */
        bool ran = sql_run(c, SQL_ASIDE_MARKS_DELETE, err, "t", id) &&
                   sql_run(c, SQL_ASIDE_IMAGES_DELETE, err, "t", id) &&
                   sql_run(c, SQL_ASIDE_INPUTS_DELETE, err, "t", id) &&
                   sql_run(c, SQL_ASIDE_JOB_DELETE, err, "t", id);
        bool aside = ran && sql_changes(c) > 0;
        ran = ran && sql_run(c, SQL_JOB_UNINDEX, err, "t", id) &&
              sql_run(c, SQL_JOB_DELETE, err, "t", id);
        done = sql_keep(c, (ran && aside) || changed_one(c, id, ran, err), err);
    }
    sql_release(c);
    return done;
}

bool sql_job_ids(struct store *st, enum sql_statement which, int64_t before, int limit,
                 struct store_ids *out, struct err *err)
{
    *out = (struct store_ids){.ids = malloc((size_t)limit * sizeof *out->ids)};
    if (!out->ids)
        return err_set(err, ERR_INTERNAL, "no memory for %d job ids", limit);
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, which, err, "ii", before, (int64_t)limit);
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err))
        if (sql_id(s, 0, out->ids[out->count]))
            out->count++;
    sql_done(s);
    sql_release(c);
    if (failed) {
        free(out->ids);
        *out = (struct store_ids){0};
    }
    return !failed;
}

static bool job_line(struct store *st, struct store_ids *out, struct err *err)
{
    size_t room = 0;
    bool failed;
    *out = (struct store_ids){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_LINE, err, "i", now_unix_ms());
    failed = !s;
    while (s && sql_row(c, s, &failed, err)) {
        if (out->count == room) {
            room = room ? 2 * room : 64;
            void *more = realloc(out->ids, room * sizeof *out->ids);
            if (!more) {
                failed = !err_set(err, ERR_INTERNAL, "no memory for the queue's line");
                break;
            }
            out->ids = more;
        }
        /* A damaged id has a place, too, in which nobody looks for it. */
        if (!sql_id(s, 0, out->ids[out->count]))
            out->ids[out->count][0] = '\0';
        out->count++;
    }
    sql_done(s);
    sql_release(c);
    if (failed) {
        free(out->ids);
        *out = (struct store_ids){0};
    }
    return !failed;
}

static bool job_expired(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return sql_job_ids(st, SQL_JOB_EXPIRED, sql_clock(st), limit, out, err);
}

static bool job_own(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return sql_job_ids(st, SQL_JOB_OWN, 0, limit, out, err);
}

static bool job_finished_before(struct store *st, int64_t before_ms, int limit,
                                struct store_ids *out, struct err *err)
{
    return sql_job_ids(st, SQL_JOB_FINISHED_BEFORE, before_ms, limit, out, err);
}

static bool job_keyless(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return sql_job_ids(st, SQL_JOB_KEYLESS, 0, limit, out, err);
}

static bool job_waited(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return sql_job_ids(st, SQL_JOB_WAITED, 0, limit, out, err);
}

static bool job_lost(struct store *st, const char *id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool ran = sql_run(c, SQL_JOB_LOST, err, "t", id);
    bool done = changed_one(c, id, ran, err);
    sql_release(c);
    return done;
}

static bool job_rank(struct store *st, const char *id, int64_t rank, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool ran = sql_run(c, SQL_JOB_RANK, err, "ti", id, rank);
    bool done = changed_one(c, id, ran, err);
    sql_release(c);
    return done;
}

static bool job_rank_most(struct store *st, int64_t *rank, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_JOB_RANK_MOST, err, "");
    bool failed = !s;
    *rank = s && sql_row(c, s, &failed, err) ? sql_int64(s, 0) : 0;
    sql_done(s);
    sql_release(c);
    return !failed;
}

const struct store_driver_job sql_job = {
    .insert = job_insert,
    .get = job_get,
    .list = sql_list_jobs,
    .depth = job_depth,
    .backlog = job_backlog,
    .nameless = job_nameless,
    .next = job_next,
    .start = job_start,
    .tagged = job_tagged,
    .lease = job_lease,
    .renew = job_renew,
    .resume = job_resume,
    .spare = job_spare,
    .interrupt = job_interrupt,
    .requeue = job_requeue,
    .end = job_end,
    .delete = job_delete,
    .line = job_line,
    .expired = job_expired,
    .own = job_own,
    .finished_before = job_finished_before,
    .keyless = job_keyless,
    .waited = job_waited,
    .rank = job_rank,
    .rank_most = job_rank_most,
    .lost = job_lost,
};
