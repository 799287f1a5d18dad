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
    if (!read_params(s, 10, &out->params, err))
        return err_prefix(err, "job %s", out->id);
    return true;
}

static bool read_images(struct store *st, struct job *job, struct err *err)
{
    bool failed;
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_IMAGES_OF_JOB, err, "t", job->id);
    if (!s)
        return false;
    while (sqlite_sql_row(st, s, &failed, err)) {
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

/* Gives queued jobs their place in the line. */
static bool read_positions(struct store *st, struct job *jobs, size_t count, struct err *err)
{
    size_t wanted = 0;
    bool failed;
    for (size_t i = 0; i < count; i++)
        wanted += jobs[i].state == JOB_QUEUED;
    if (wanted == 0)
        return true;
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_POSITIONS, err, "");
    if (!s)
        return false;
    for (int position = 0; wanted && sqlite_sql_row(st, s, &failed, err); position++) {
        const char *id = sqlite_sql_text(s, 0);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(jobs[i].id, id) == 0) {
                jobs[i].position = position;
                wanted--;
            }
        }
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
    sqlite_lock(st);
    done = sqlite_sql_run(st, SQL_JOB_INSERT, err, "ttittiti", job->id, job->key_id,
                          (int64_t)job->priority, p->model, p->prompt, (int64_t)p->count, text,
                          job->created_ms);
    sqlite_unlock(st);
fail:
    cJSON_free(text);
    cJSON_Delete(json);
    return done;
}

static bool job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                    struct err *err)
{
    *out = (struct job){0};
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && sqlite_sql_row(st, s, &failed, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    bool done = found && sqlite_job_read(s, out, err);
    sqlite_sql_done(s);
    done = done && read_images(st, out, err) && read_positions(st, out, 1, err);
    sqlite_unlock(st);
    if (!done)
        job_free(out);
    return done;
}

static void leave_out(struct job *job, const struct err *damage)
{
    char text[300];
    job_free(job);
    log_event(LOG_ERROR, "job_damaged", "reason=%s", log_quote(text, sizeof text, damage->msg));
}

static bool job_list(struct store *st, const struct job_filter *filter, struct job **jobs,
                     size_t *count, int64_t *next, struct err *err)
{
    const char *state = filter->state < 0 ? NULL : job_state_name((enum job_state)filter->state);
    int limit = filter->limit < 1 ? 1 : filter->limit > 200 ? 200 : filter->limit, rows = 0;
    int64_t last = 0;
    bool failed = true;
    struct err damage;
    struct job *all = calloc((size_t)limit, sizeof *all);
    size_t n = 0;
    *jobs = NULL;
    *count = 0;
    *next = 0;
    if (!all)
        return err_set(err, ERR_INTERNAL, "no memory for a list of jobs");
    sqlite_lock(st);
    /* One more than asked for tells whether there is another page. */
    sqlite3_stmt *s = sqlite_sql_bind(st, filter->key_id ? SQL_JOB_LIST_OF_KEY : SQL_JOB_LIST, err,
                                      "tttii", filter->key_id, state, filter->text,
                                      filter->before_sequence, (int64_t)limit + 1);
    if (!s)
        goto fail;
    while (sqlite_sql_row(st, s, &failed, err)) {
        if (rows++ == limit) {
            *next = last;
            break;
        }
        last = sqlite3_column_int64(s, 11);
        if (sqlite_job_read(s, &all[n], &damage))
            n++;
        else
            leave_out(&all[n], &damage);
    }
    sqlite_sql_done(s);
    for (size_t i = 0; i < n && !failed;) {
        if (read_images(st, &all[i], &damage)) {
            i++;
        } else if (damage.code == ERR_INTERNAL) {
            leave_out(&all[i], &damage);
            memmove(&all[i], &all[i + 1], (--n - i) * sizeof *all);
        } else {
            failed = !err_set(err, damage.code, "%s", damage.msg);
        }
    }
    failed = failed || !read_positions(st, all, n, err);
fail:
    sqlite_unlock(st);
    if (failed) {
        for (size_t i = 0; i < n; i++)
            job_free(&all[i]);
        free(all);
        return false;
    }
    *jobs = all;
    *count = n;
    return true;
}

static bool job_depth(struct store *st, const char *key_id, int *queued, int *running,
                      struct err *err)
{
    *queued = *running = 0;
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_DEPTH, err, "t", key_id);
    bool failed = !s;
    if (s && sqlite_sql_row(st, s, &failed, err)) {
        *queued = sqlite3_column_int(s, 0);
        *running = sqlite3_column_int(s, 1);
    }
    sqlite_sql_done(s);
    sqlite_unlock(st);
    return !failed;
}

static bool job_backlog(struct store *st, struct job_backlog *out, size_t max, size_t *count,
                        struct err *err)
{
    *count = 0;
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_BACKLOG, err, "i", (int64_t)max);
    bool failed = !s;
    while (s && *count < max && sqlite_sql_row(st, s, &failed, err)) {
        struct job_backlog *b = &out[(*count)++];
        snprintf(b->model, sizeof b->model, "%s", sqlite_sql_text(s, 0));
        b->queued = sqlite3_column_int(s, 1);
        b->oldest_ms = sqlite3_column_int64(s, 2);
    }
    sqlite_sql_done(s);
    sqlite_unlock(st);
    return !failed;
}

static bool job_nameless(struct store *st, int *count, struct err *err)
{
    sqlite_lock(st);
    bool done = sqlite_sql_run(st, SQL_JOB_NAMELESS, err, "");
    *count = done ? sqlite_sql_changes(st) : 0;
    sqlite_unlock(st);
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
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_NEXT, err, "t", text);
    failed = !s;
    if (s && sqlite_sql_row(st, s, &failed, err) && !sqlite_sql_id(s, 0, id))
        failed = !err_set(err, ERR_INTERNAL, "a queued job has the damaged id \"%.40s\"",
                          sqlite_sql_text(s, 0));
    sqlite_sql_done(s);
    sqlite_unlock(st);
    cJSON_free(text);
    return !failed;
}

static bool job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                      int64_t lease_until, int64_t *token, struct err *err)
{
    sqlite_lock(st);
    sqlite3_stmt *s =
        sqlite_sql_bind(st, SQL_JOB_START, err, "ttii", id, owner, now_ms, lease_until);
    bool failed = !s, started = false;
    while (s && sqlite_sql_row(st, s, &failed, err)) {
        *token = sqlite3_column_int64(s, 0);
        started = true;
    }
    sqlite_sql_done(s);
    if (!failed && !started)
        err_set(err, ERR_NOT_FOUND, "job %.40s is not queued", id);
    bool done = started && !failed && sqlite_sql_run(st, SQL_JOB_TURN, err, "t", id);
    sqlite_unlock(st);
    return done;
}

static bool job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err)
{
    *out = (struct store_lease){0};
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, SQL_JOB_LEASE, err, "t", id);
    bool failed = !s, found = s && sqlite_sql_row(st, s, &failed, err);
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
    sqlite_unlock(st);
    return done;
}

/* An update that must find its row in the state that the statement names. */
static bool changed_one(struct store *st, const char *id, bool ran, struct err *err)
{
    if (ran && sqlite_sql_changes(st) == 0)
        return err_set(err, ERR_NOT_FOUND, "job %.40s is not in the state for that", id);
    return ran;
}

static bool job_renew(struct store *st, const char *id, int64_t lease_until, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_RENEW, err, "ti", id, lease_until);
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

static bool job_interrupt(struct store *st, const char *id, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_INTERRUPT, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

static bool job_requeue(struct store *st, const char *id, bool counts, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_REQUEUE, err, "ti", id, (int64_t)!counts);
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

static bool job_end(struct store *st, const char *id, enum job_state state,
                    const struct err *reason, const char *refusal, int64_t now_ms, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_END, err, "ttittt", id, job_state_name(state), now_ms,
                              reason ? err_name(reason->code) : "", reason ? reason->msg : "",
                              refusal ? refusal : "");
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

static bool job_delete(struct store *st, const char *id, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_DELETE, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

static bool read_ids(struct store *st, enum statement which, int64_t before, int limit,
                     struct store_ids *out, struct err *err)
{
    *out = (struct store_ids){.ids = malloc((size_t)limit * sizeof *out->ids)};
    if (!out->ids)
        return err_set(err, ERR_INTERNAL, "no memory for %d job ids", limit);
    sqlite_lock(st);
    sqlite3_stmt *s = sqlite_sql_bind(st, which, err, "ii", before, (int64_t)limit);
    bool failed = !s;
    while (s && sqlite_sql_row(st, s, &failed, err))
        if (sqlite_sql_id(s, 0, out->ids[out->count]))
            out->count++;
    sqlite_sql_done(s);
    sqlite_unlock(st);
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

static bool job_lost(struct store *st, const char *id, struct err *err)
{
    sqlite_lock(st);
    bool ran = sqlite_sql_run(st, SQL_JOB_LOST, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    sqlite_unlock(st);
    return done;
}

const struct store_driver_job sqlite_job = {
    .insert = job_insert,
    .get = job_get,
    .list = job_list,
    .depth = job_depth,
    .backlog = job_backlog,
    .nameless = job_nameless,
    .next = job_next,
    .start = job_start,
    .lease = job_lease,
    .renew = job_renew,
    .interrupt = job_interrupt,
    .requeue = job_requeue,
    .end = job_end,
    .delete = job_delete,
    .expired = job_expired,
    .finished_before = job_finished_before,
    .lost = job_lost,
};
