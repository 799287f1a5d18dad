/* store_jobs.c: jobs, pictures and inputs of the store; see store.h and store_sql.h. */
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/store.h"
#include "server/store_sql.h"

/* ---- rows into structs, believing nothing ---- */

/* Ids become file names. */
static bool is_id(const char *text)
{
    return strlen(text) == JOB_ID_SIZE - 1 && strspn(text, "0123456789abcdef") == JOB_ID_SIZE - 1;
}

static bool read_id(sqlite3_stmt *s, int column, char out[JOB_ID_SIZE])
{
    return is_id(store_sql_text(s, column)) && store_sql_copy(s, column, out, JOB_ID_SIZE);
}

static bool read_int(sqlite3_stmt *s, int column, int least, int *out)
{
    sqlite3_int64 n = sqlite3_column_int64(s, column);
    *out = (int)n;
    return n >= least && n <= INT_MAX;
}

/* A row of IMAGE_COLUMNS. */
static bool read_image(sqlite3_stmt *s, struct job_image *out, struct err *err)
{
    static const char *const formats[] = {"png", "jpeg", "webp"};
    *out = (struct job_image){.seed = (uint64_t)sqlite3_column_int64(s, 4),
                              .subseed = (uint64_t)sqlite3_column_int64(s, 5),
                              .bytes = (size_t)sqlite3_column_int64(s, 7)};
    bool format = false;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        format |= strcmp(store_sql_text(s, 6), formats[i]) == 0;
    if (!read_id(s, 0, out->id) || !read_int(s, 1, 0, &out->index) ||
        !read_int(s, 2, 1, &out->width) || !read_int(s, 3, 1, &out->height) || !format ||
        !store_sql_copy(s, 6, out->format, sizeof out->format) || sqlite3_column_int64(s, 7) < 0)
        return err_set(err, ERR_INTERNAL, "the row of picture \"%.40s\" is damaged",
                       store_sql_text(s, 0));
    out->infotext = strdup(store_sql_text(s, 8));
    return out->infotext ? true : err_set(err, ERR_INTERNAL, "no memory for a picture's row");
}

static bool read_params(sqlite3_stmt *s, int column, struct job_params *out, struct err *err)
{
    cJSON *json = cJSON_Parse(store_sql_text(s, column));
    bool done = job_params_from_json(out, json, err) && out->model && out->prompt;
    if (!done)
        err_set(err, ERR_INTERNAL, "its stored request is damaged");
    cJSON_Delete(json);
    return done;
}

/* A row of JOB_COLUMNS, without pictures and position. */
static bool read_job(sqlite3_stmt *s, struct job *out, struct err *err)
{
    *out = (struct job){.position = -1, .progress.eta_seconds = -1};
    job_params_init(&out->params);
    if (!read_id(s, 0, out->id) || !store_sql_copy(s, 1, out->key_id, sizeof out->key_id) ||
        !job_state_of(store_sql_text(s, 2), &out->state) ||
        !read_int(s, 3, INT_MIN, &out->priority) || !read_int(s, 4, 0, &out->attempts))
        return err_set(err, ERR_INTERNAL, "the row of job \"%.40s\" is damaged",
                       store_sql_text(s, 0));
    out->created_ms = sqlite3_column_int64(s, 5);
    out->started_ms = sqlite3_column_int64(s, 6);
    out->finished_ms = sqlite3_column_int64(s, 7);
    if (out->state == JOB_FAILED) {
        out->error = err_code_of(store_sql_text(s, 8));
        snprintf(out->error_message, sizeof out->error_message, "%s", store_sql_text(s, 9));
    }
    if (!read_params(s, 10, &out->params, err))
        return err_prefix(err, "job %s", out->id);
    return true;
}

static bool read_images(struct store *st, struct job *job, struct err *err)
{
    bool failed;
    sqlite3_stmt *s = store_sql_bind(st, SQL_IMAGES_OF_JOB, err, "t", job->id);
    if (!s)
        return false;
    while (store_sql_row(st, s, &failed, err)) {
        struct job_image *images = realloc(job->images, (job->image_count + 1) * sizeof *images);
        if (images)
            job->images = images;
        if (!images) {
            failed = true;
            err_set(err, ERR_INTERNAL, "no memory for the pictures of a job");
        } else {
            failed = !read_image(s, &images[job->image_count], err);
        }
        if (failed)
            break;
        job->image_count++;
    }
    store_sql_done(s);
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
    sqlite3_stmt *s = store_sql_bind(st, SQL_JOB_POSITIONS, err, "");
    if (!s)
        return false;
    for (int position = 0; wanted && store_sql_row(st, s, &failed, err); position++) {
        const char *id = store_sql_text(s, 0);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(jobs[i].id, id) == 0) {
                jobs[i].position = position;
                wanted--;
            }
        }
    }
    store_sql_done(s);
    return !failed;
}

/* ---- jobs ---- */

bool store_job_insert(struct store *st, const struct job *job, struct err *err)
{
    const struct job_params *p = &job->params;
    cJSON *json = job_params_to_json(p);
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    bool done = false;
    if (!text) {
        err_set(err, ERR_INTERNAL, "no memory for a job");
        goto fail;
    }
    store_lock(st);
    done = store_sql_run(st, SQL_JOB_INSERT, err, "ttittiti", job->id, job->key_id,
                         (int64_t)job->priority, p->model, p->prompt, (int64_t)p->count, text,
                         job->created_ms);
    store_unlock(st);
fail:
    cJSON_free(text);
    cJSON_Delete(json);
    return done;
}

bool store_job_get(struct store *st, const char *id, const char *key_id, struct job *out,
                   struct err *err)
{
    *out = (struct job){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_JOB_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no job \"%.40s\"", id);
    bool done = found && read_job(s, out, err);
    store_sql_done(s);
    done = done && read_images(st, out, err) && read_positions(st, out, 1, err);
    store_unlock(st);
    if (!done)
        job_free(out);
    return done;
}

bool store_job_list(struct store *st, const struct queue_filter *filter, struct job **jobs,
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
    store_lock(st);
    /* One more than asked for tells whether there is another page. */
    sqlite3_stmt *s = store_sql_bind(st, filter->key_id ? SQL_JOB_LIST_OF_KEY : SQL_JOB_LIST, err,
                                     "tttii", filter->key_id, state, filter->text,
                                     filter->before_sequence, (int64_t)limit + 1);
    if (!s)
        goto fail;
    while (store_sql_row(st, s, &failed, err)) {
        if (rows++ == limit) {
            *next = last;
            break;
        }
        last = sqlite3_column_int64(s, 11);
        if (read_job(s, &all[n], &damage)) {
            n++;
        } else {
            char text[300];
            job_free(&all[n]);
            log_event(LOG_ERROR, "job_damaged", "reason=%s",
                      log_quote(text, sizeof text, damage.msg));
        }
    }
    store_sql_done(s);
    for (size_t i = 0; i < n && !failed; i++)
        failed = !read_images(st, &all[i], err);
    failed = failed || !read_positions(st, all, n, err);
fail:
    store_unlock(st);
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

bool store_job_depth(struct store *st, const char *key_id, int *queued, int *running,
                     struct err *err)
{
    *queued = *running = 0;
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_JOB_DEPTH, err, "t", key_id);
    bool failed = !s;
    if (s && store_sql_row(st, s, &failed, err)) {
        *queued = sqlite3_column_int(s, 0);
        *running = sqlite3_column_int(s, 1);
    }
    store_sql_done(s);
    store_unlock(st);
    return !failed;
}

bool store_job_next(struct store *st, const char *const *models, size_t model_count,
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
        text = cJSON_PrintUnformatted(names);
        cJSON_Delete(names);
        if (!text)
            return err_set(err, ERR_INTERNAL, "no memory for the names of models");
    }
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_JOB_NEXT, err, "t", text);
    failed = !s;
    if (s && store_sql_row(st, s, &failed, err) && !read_id(s, 0, id))
        failed = !err_set(err, ERR_INTERNAL, "a queued job has the damaged id \"%.40s\"",
                          store_sql_text(s, 0));
    store_sql_done(s);
    store_unlock(st);
    cJSON_free(text);
    return !failed;
}

bool store_job_start(struct store *st, const char *id, const char *owner, int64_t now_ms,
                     int64_t lease_until, int64_t *token, struct err *err)
{
    store_lock(st);
    sqlite3_stmt *s =
        store_sql_bind(st, SQL_JOB_START, err, "ttii", id, owner, now_ms, lease_until);
    bool failed = !s, started = false;
    while (s && store_sql_row(st, s, &failed, err)) {
        *token = sqlite3_column_int64(s, 0);
        started = true;
    }
    store_sql_done(s);
    if (!failed && !started)
        err_set(err, ERR_NOT_FOUND, "job %.40s is not queued", id);
    bool done = started && !failed && store_sql_run(st, SQL_JOB_TURN, err, "t", id);
    store_unlock(st);
    return done;
}

bool store_job_lease(struct store *st, const char *id, struct store_lease *out, struct err *err)
{
    *out = (struct store_lease){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_JOB_LEASE, err, "t", id);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    bool done = found && job_state_of(store_sql_text(s, 0), &out->state) &&
                store_sql_copy(s, 1, out->key_id, sizeof out->key_id);
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
    store_sql_done(s);
    store_unlock(st);
    return done;
}

/* An update that must find its row in the state that the statement names. */
static bool changed_one(struct store *st, const char *id, bool ran, struct err *err)
{
    if (ran && store_sql_changes(st) == 0)
        return err_set(err, ERR_NOT_FOUND, "job %.40s is not in the state for that", id);
    return ran;
}

bool store_job_renew(struct store *st, const char *id, int64_t lease_until, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_RENEW, err, "ti", id, lease_until);
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

bool store_job_interrupt(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_INTERRUPT, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

bool store_job_requeue(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_REQUEUE, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

bool store_job_end(struct store *st, const char *id, enum job_state state, const struct err *reason,
                   int64_t now_ms, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_END, err, "ttitt", id, job_state_name(state), now_ms,
                             reason ? err_name(reason->code) : "", reason ? reason->msg : "");
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

bool store_job_delete(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_DELETE, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

static bool read_ids(struct store *st, enum statement which, int64_t before, int limit,
                     struct store_ids *out, struct err *err)
{
    *out = (struct store_ids){.ids = malloc((size_t)limit * sizeof *out->ids)};
    if (!out->ids)
        return err_set(err, ERR_INTERNAL, "no memory for %d job ids", limit);
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, which, err, "ii", before, (int64_t)limit);
    bool failed = !s;
    while (s && store_sql_row(st, s, &failed, err))
        if (read_id(s, 0, out->ids[out->count]))
            out->count++;
    store_sql_done(s);
    store_unlock(st);
    if (failed) {
        free(out->ids);
        *out = (struct store_ids){0};
    }
    return !failed;
}

bool store_job_expired(struct store *st, int64_t now, int limit, struct store_ids *out,
                       struct err *err)
{
    return read_ids(st, SQL_JOB_EXPIRED, now, limit, out, err);
}

bool store_job_finished_before(struct store *st, int64_t before_ms, int limit,
                               struct store_ids *out, struct err *err)
{
    return read_ids(st, SQL_JOB_FINISHED_BEFORE, before_ms, limit, out, err);
}

/* ---- pictures and inputs ---- */

bool store_image_put(struct store *st, const char *job_id, const struct job_image *image,
                     struct job_image *replaced, struct err *err)
{
    *replaced = (struct job_image){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_IMAGE_AT, err, "ti", job_id, (int64_t)image->index);
    bool failed = !s;
    if (s && store_sql_row(st, s, &failed, err))
        failed = !read_image(s, replaced, err);
    store_sql_done(s);
    free(replaced->infotext);
    replaced->infotext = NULL;
    if (!failed && replaced->id[0])
        failed = !store_sql_run(st, SQL_IMAGE_DELETE, err, "t", replaced->id);
    bool done = !failed &&
                store_sql_run(st, SQL_IMAGE_INSERT, err, "ttiiiiitit", image->id, job_id,
                              (int64_t)image->index, (int64_t)image->width, (int64_t)image->height,
                              (int64_t)image->seed, (int64_t)image->subseed, image->format,
                              (int64_t)image->bytes, image->infotext ? image->infotext : "");
    store_unlock(st);
    return done;
}

bool store_image_get(struct store *st, const char *id, const char *key_id, struct job_image *image,
                     struct err *err)
{
    *image = (struct job_image){0};
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_IMAGE_GET, err, "tt", id, key_id);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    bool done = found && read_image(s, image, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", id);
    store_sql_done(s);
    store_unlock(st);
    return done;
}

bool store_image_delete(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_IMAGE_DELETE, err, "t", id);
    store_unlock(st);
    return done;
}

bool store_input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                     struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_INPUT_PUT, err, "tti", job_id, name, (int64_t)bytes);
    store_unlock(st);
    return done;
}

bool store_input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                       struct err *err)
{
    *bytes = 0;
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_INPUT_BYTES, err, "tt", job_id, name);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    if (found)
        *bytes = (size_t)sqlite3_column_int64(s, 0);
    else if (!failed)
        err_set(err, ERR_NOT_FOUND, "job %.40s has no input \"%.20s\"", job_id, name);
    store_sql_done(s);
    store_unlock(st);
    return found;
}

bool store_input_delete(struct store *st, const char *job_id, const char *name, struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_INPUT_DELETE, err, "tt", job_id, name);
    store_unlock(st);
    return done;
}

/* ---- fsck ---- */

bool store_job_lost(struct store *st, const char *id, struct err *err)
{
    store_lock(st);
    bool ran = store_sql_run(st, SQL_JOB_LOST, err, "t", id);
    bool done = changed_one(st, id, ran, err);
    store_unlock(st);
    return done;
}

/* Calls `row` for every row of a statement without parameters. */
static bool each(struct store *st, enum statement which,
                 void (*row)(const struct store_check *check, sqlite3_stmt *s),
                 const struct store_check *check, struct err *err)
{
    sqlite3_stmt *s = store_sql_bind(st, which, err, "");
    bool failed = !s;
    while (s && store_sql_row(st, s, &failed, err))
        row(check, s);
    store_sql_done(s);
    return !failed;
}

static void check_integrity(const struct store_check *check, sqlite3_stmt *s)
{
    if (strcmp(store_sql_text(s, 0), "ok") != 0)
        check->damage(check->ctx, store_sql_text(s, 0));
}

static void check_reference(const struct store_check *check, sqlite3_stmt *s)
{
    char text[128];
    snprintf(text, sizeof text, "a row of %.40s refers to a %.40s row that does not exist",
             store_sql_text(s, 0), store_sql_text(s, 2));
    check->damage(check->ctx, text);
}

static void check_image(const struct store_check *check, sqlite3_stmt *s)
{
    struct job_image image;
    struct err err = {0};
    if (read_image(s, &image, &err) && is_id(store_sql_text(s, 9)))
        check->image(check->ctx, store_sql_text(s, 9), &image);
    else
        check->damage(check->ctx, err.code == ERR_INTERNAL ? err.msg : "a picture of no job");
    free(image.infotext);
}

static void check_input(const struct store_check *check, sqlite3_stmt *s)
{
    const char *name = store_sql_text(s, 1);
    if (is_id(store_sql_text(s, 0)) && (strcmp(name, "init") == 0 || strcmp(name, "mask") == 0))
        check->input(check->ctx, store_sql_text(s, 0), name, (size_t)sqlite3_column_int64(s, 2));
    else
        check->damage(check->ctx, "the row of an input is damaged");
}

static void check_short(const struct store_check *check, sqlite3_stmt *s)
{
    if (is_id(store_sql_text(s, 0)))
        check->short_job(check->ctx, store_sql_text(s, 0), sqlite3_column_int(s, 2),
                         sqlite3_column_int(s, 1));
}

static void check_job(const struct store_check *check, sqlite3_stmt *s)
{
    struct job job;
    struct err err;
    if (!read_job(s, &job, &err))
        check->damage(check->ctx, err.msg);
    job_free(&job);
}

bool store_check(struct store *st, const struct store_check *check, struct err *err)
{
    store_lock(st);
    bool done = each(st, SQL_INTEGRITY, check_integrity, check, err) &&
                each(st, SQL_FOREIGN_KEYS, check_reference, check, err) &&
                each(st, SQL_JOB_ALL, check_job, check, err) &&
                each(st, SQL_IMAGE_ALL, check_image, check, err) &&
                each(st, SQL_INPUT_ALL, check_input, check, err);
    store_unlock(st);
    return done;
}

bool store_check_short(struct store *st, const struct store_check *check, struct err *err)
{
    store_lock(st);
    bool done = each(st, SQL_JOB_SHORT, check_short, check, err);
    store_unlock(st);
    return done;
}
