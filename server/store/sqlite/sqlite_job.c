/* sqlite_job.c: the rows of jobs. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/store/sqlite/sqlite_sql.h"

#define PARAMS_DEPTH 4

/* ---- a row into a struct, believing nothing ---- */

static bool read_params(sqlite3_stmt *s, int column, struct job_params *out, struct err *err)
{
    const char *text = sqlite_sql_text(s, column);
    cJSON *json = json_text_parse(text, strlen(text), PARAMS_DEPTH, err);
    bool done = job_params_from_json(out, json, err) && out->model && out->prompt;
    if (!done)
        err_set(err, ERR_INTERNAL, "its stored request is damaged");
    cJSON_Delete(json);
    return done;
}

bool sqlite_job_read(sqlite3_stmt *s, struct job *out, struct err *err)
{
    *out = (struct job){.position = -1, .progress.eta_seconds = -1};
    job_params_init(&out->params);
    if (!sqlite_sql_id(s, 0, out->id) || !sqlite_sql_copy(s, 1, out->key_id, sizeof out->key_id) ||
        !job_state_of(sqlite_sql_text(s, 2), &out->state) ||
        !sqlite_sql_int(s, 3, INT_MIN, &out->priority) || !sqlite_sql_int(s, 4, 0, &out->attempts))
        return err_set(err, ERR_INTERNAL, "the row of job \"%.40s\" is damaged",
                       sqlite_sql_text(s, 0));
    out->created_ms = sqlite3_column_int64(s, 5);
    out->started_ms = sqlite3_column_int64(s, 6);
    out->finished_ms = sqlite3_column_int64(s, 7);
    if (out->state == JOB_FAILED) {
        out->error = err_code_of(sqlite_sql_text(s, 8));
        snprintf(out->error_message, sizeof out->error_message, "%s", sqlite_sql_text(s, 9));
        refusal_from_text(&out->refusal, sqlite_sql_text(s, 12));
    }
    if (out->state == JOB_DONE && *sqlite_sql_text(s, 12) &&
        !(out->said = strdup(sqlite_sql_text(s, 12))))
        return err_set(err, ERR_INTERNAL, "no memory for a job");
    if (!read_params(s, 10, &out->params, err))
        return err_prefix(err, "job %s", out->id);
    return true;
}

bool sqlite_job_images(struct sqlite_connection *c, struct job *job, struct err *err)
{
    bool failed;
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_IMAGES_OF_JOB, err, "t", job->id);
    if (!s)
        return false;
    while (sqlite_sql_row(c, s, &failed, err)) {
        struct job_image *images = realloc(job->images, (job->image_count + 1) * sizeof *images);
        if (images)
            job->images = images;
        if (!images) {
            failed = true;
            err_set(err, ERR_INTERNAL, "no memory for the pictures of a job");
        } else {
            failed = !sqlite_image_read(s, &images[job->image_count], err);
        }
        if (failed)
            break;
        job->image_count++;
    }
    sqlite_sql_done(s);
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
    struct sqlite_connection *c = sqlite_writer(st);
    done = sqlite_sql_save(c, err) &&
           sqlite_sql_keep(c,
                           sqlite_sql_run(c, SQL_JOB_INSERT, err, "ttittititi", job->id,
                                          job->key_id, (int64_t)job->priority, p->model, p->prompt,
                                          (int64_t)p->count, text, job->created_ms,
                                          p->tag ? p->tag : "", (int64_t)job->waited) &&
                               sqlite_sql_run(c, SQL_JOB_INDEX, err, "t", job->id),
                           err);
    sqlite_release(c);
fail:
    cJSON_free(text);
    cJSON_Delete(json);
    return done;
}

static bool job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                    struct err *err)
{
    *out = (struct job){0};
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    bool done = found && sqlite_job_read(s, out, err);
    sqlite_sql_done(s);
    done = done && sqlite_job_images(c, out, err) && sqlite_mark_read(c, out, err);
    sqlite_release(c);
    if (!done)
        job_free(out);
    return done;
}

static bool job_depth(struct store *st, const char *key_id, int *queued, int *running,
                      struct err *err)
{
    *queued = *running = 0;
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_DEPTH, err, "t", key_id);
    bool failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err)) {
        *queued = sqlite3_column_int(s, 0);
        *running = sqlite3_column_int(s, 1);
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool job_backlog(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                        struct err *err)
{
    *count = 0;
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_BACKLOG, err, "i", (int64_t)max);
    bool failed = !s;
    while (s && *count < max && sqlite_sql_row(c, s, &failed, err)) {
        struct job_backlog *b = &out[(*count)++];
        snprintf(b->model, sizeof b->model, "%s", sqlite_sql_text(s, 0));
        b->queued = sqlite3_column_int(s, 1);
        b->oldest_ms = sqlite3_column_int64(s, 2);
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool job_nameless(struct store *st, int *count, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_JOB_NAMELESS, err, "");
    *count = done ? sqlite_sql_changes(c) : 0;
    sqlite_release(c);
    return done;
}

static bool job_next(struct store *st, const char *const *models, size_t model_count,
                     char id[JOB_ID_SIZE], struct err *err)
{
    cJSON *names = NULL;
    char *text = NULL;
    bool failed = false;
    id[0] = '\0';
    if (models) {
        names = cJSON_CreateArray();
        for (size_t i = 0; i < model_count; i++)
            cJSON_AddItemToArray(names, cJSON_CreateString(models[i]));
        text = json_text_print(names);
        cJSON_Delete(names);
        if (!text)
            return err_set(err, ERR_INTERNAL, "no memory for the names of models");
    }
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_NEXT, err, "t", text);
    failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err) && !sqlite_sql_id(s, 0, id))
        failed = !err_set(err, ERR_INTERNAL, "a queued job has the damaged id \"%.40s\"",
                          sqlite_sql_text(s, 0));
    sqlite_sql_done(s);
    sqlite_release(c);
    cJSON_free(text);
    return !failed;
}

static bool job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                      int64_t lease_until, int64_t *token, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    sqlite3_stmt *s =
        sqlite_sql_bind(c, SQL_JOB_START, err, "ttii", id, owner, now_ms, lease_until);
    bool failed = !s, started = false;
    while (s && sqlite_sql_row(c, s, &failed, err)) {
        *token = sqlite3_column_int64(s, 0);
        started = true;
    }
    sqlite_sql_done(s);
    if (!failed && !started)
        err_set(err, ERR_NOT_FOUND, "job %.40s is not queued", id);
    bool done = started && !failed && sqlite_sql_run(c, SQL_JOB_TURN, err, "t", id);
    sqlite_release(c);
    return done;
}

static bool job_tagged(struct store *st, const char *tag, const char *key_id, char id[JOB_ID_SIZE],
                       struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_TAGGED, err, "tt", tag, key_id);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    bool done = found && sqlite_sql_id(s, 0, id);
    if (!done && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job of this tag");
    sqlite_sql_done(s);
    sqlite_release(c);
    return done;
}

static bool job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err)
{
    *out = (struct store_lease){0};
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_LEASE, err, "t", id);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    bool done = found && job_state_of(sqlite_sql_text(s, 0), &out->state) &&
                sqlite_sql_copy(s, 1, out->key_id, sizeof out->key_id);
    if (done) {
        out->token = sqlite3_column_int64(s, 2);
        out->attempts = sqlite3_column_int(s, 3);
        out->count = sqlite3_column_int(s, 4);
        out->interrupted = sqlite3_column_int(s, 5) != 0;
        out->images = sqlite3_column_int(s, 6);
    } else if (found) {
        err_set(err, ERR_INTERNAL, "the row of job %.40s is damaged", id);
    } else if (!failed) {
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return done;
}

/* An update that must find its row in the state that the statement names. */
static bool changed_one(struct sqlite_connection *c, const char *id, bool ran, struct err *err)
{
    if (ran && sqlite_sql_changes(c) == 0)
        return err_set(err, ERR_NOT_FOUND, "job %.40s is not in the state for that", id);
    return ran;
}

static bool job_renew(struct store *st, const char *id, int64_t lease_until, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool ran = sqlite_sql_run(c, SQL_JOB_RENEW, err, "ti", id, lease_until);
    bool done = changed_one(c, id, ran, err);
    sqlite_release(c);
    return done;
}

static bool job_interrupt(struct store *st, const char *id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool ran = sqlite_sql_run(c, SQL_JOB_INTERRUPT, err, "t", id);
    bool done = changed_one(c, id, ran, err);
    sqlite_release(c);
    return done;
}

static bool job_requeue(struct store *st, const char *id, bool counts, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool ran = sqlite_sql_run(c, SQL_JOB_REQUEUE, err, "ti", id, (int64_t)!counts);
    bool done = changed_one(c, id, ran, err);
    sqlite_release(c);
    return done;
}

static bool job_end(struct store *st, const char *id, enum job_state state,
                    const struct err *reason, const char *refusal, int64_t now_ms, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_save(c, err);
    if (done) {
        bool ran = sqlite_sql_run(c, SQL_JOB_END, err, "ttittt", id, job_state_name(state), now_ms,
                                  reason ? err_name(reason->code) : "", reason ? reason->msg : "",
                                  refusal ? refusal : "");
        done = sqlite_sql_keep(c,
                               changed_one(c, id, ran, err) &&
                                   sqlite_sql_run(c, SQL_ORDER_DELETE, err, "t", id) &&
                                   sqlite_sql_run(c, SQL_DELIVERY_ADD, err, "tti", id,
                                                  job_state_name(state), now_ms),
                               err);
    }
    sqlite_release(c);
    return done;
}

static bool job_delete(struct store *st, const char *id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_save(c, err);
    if (done) {
        bool ran = sqlite_sql_run(c, SQL_JOB_UNINDEX, err, "t", id) &&
                   sqlite_sql_run(c, SQL_JOB_DELETE, err, "t", id);
        done = sqlite_sql_keep(c, changed_one(c, id, ran, err), err);
    }
    sqlite_release(c);
    return done;
}

static bool read_ids(struct store *st, enum statement which, int64_t before, int limit,
                     struct store_ids *out, struct err *err)
{
    *out = (struct store_ids){.ids = malloc((size_t)limit * sizeof *out->ids)};
    if (!out->ids)
        return err_set(err, ERR_INTERNAL, "no memory for %d job ids", limit);
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, which, err, "ii", before, (int64_t)limit);
    bool failed = !s;
    while (s && sqlite_sql_row(c, s, &failed, err))
        if (sqlite_sql_id(s, 0, out->ids[out->count]))
            out->count++;
    sqlite_sql_done(s);
    sqlite_release(c);
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
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_LINE, err, "");
    failed = !s;
    while (s && sqlite_sql_row(c, s, &failed, err)) {
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
        if (!sqlite_sql_id(s, 0, out->ids[out->count]))
            out->ids[out->count][0] = '\0';
        out->count++;
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    if (failed) {
        free(out->ids);
        *out = (struct store_ids){0};
    }
    return !failed;
}

static bool job_expired(struct store *st, int64_t now, int limit, struct store_ids *out,
                        struct err *err)
{
    return read_ids(st, SQL_JOB_EXPIRED, now, limit, out, err);
}

static bool job_finished_before(struct store *st, int64_t before_ms, int limit,
                                struct store_ids *out, struct err *err)
{
    return read_ids(st, SQL_JOB_FINISHED_BEFORE, before_ms, limit, out, err);
}

static bool job_keyless(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return read_ids(st, SQL_JOB_KEYLESS, 0, limit, out, err);
}

static bool job_waited(struct store *st, int limit, struct store_ids *out, struct err *err)
{
    return read_ids(st, SQL_JOB_WAITED, 0, limit, out, err);
}

static bool job_lost(struct store *st, const char *id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool ran = sqlite_sql_run(c, SQL_JOB_LOST, err, "t", id);
    bool done = changed_one(c, id, ran, err);
    sqlite_release(c);
    return done;
}

static bool job_rank(struct store *st, const char *id, int64_t rank, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool ran = sqlite_sql_run(c, SQL_JOB_RANK, err, "ti", id, rank);
    bool done = changed_one(c, id, ran, err);
    sqlite_release(c);
    return done;
}

static bool job_rank_most(struct store *st, int64_t *rank, struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_JOB_RANK_MOST, err, "");
    bool failed = !s;
    *rank = s && sqlite_sql_row(c, s, &failed, err) ? sqlite3_column_int64(s, 0) : 0;
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

const struct store_driver_job sqlite_job = {
    .insert = job_insert,
    .get = job_get,
    .list = sqlite_list_jobs,
    .depth = job_depth,
    .backlog = job_backlog,
    .nameless = job_nameless,
    .next = job_next,
    .start = job_start,
    .tagged = job_tagged,
    .lease = job_lease,
    .renew = job_renew,
    .interrupt = job_interrupt,
    .requeue = job_requeue,
    .end = job_end,
    .delete = job_delete,
    .line = job_line,
    .expired = job_expired,
    .finished_before = job_finished_before,
    .keyless = job_keyless,
    .waited = job_waited,
    .rank = job_rank,
    .rank_most = job_rank_most,
    .lost = job_lost,
};
