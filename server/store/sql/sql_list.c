/* sql_list.c: lists of jobs, each kind by a statement of its own that says how its rows are
 * found: along the history, by an index of few rows, or by what an index of prompts knows. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/store/sql/sql.h"

static void leave_out(struct job *job, const struct err *damage)
{
    job_free(job);
    log_err(LOG_ERROR, "job_damaged", damage, " ");
}

static unsigned narrow_of(const struct job_filter *filter)
{
    return (filter->tags ? NARROW_TAGS : 0) | (filter->favourite ? NARROW_FAVOURITE : 0) |
           (filter->model ? NARROW_MODEL : 0) |
           (filter->since_ms || filter->until_ms ? NARROW_TIME : 0) |
           (filter->params ? NARROW_PARAMS : 0);
}

static struct sql_rows *bind_list(struct sql_connection *c, const struct job_filter *filter,
                                  int limit, struct err *err)
{
    char sql[SQL_LIST_SIZE], match[SQL_MATCH_SIZE] = "";
    enum sql_list_state state = LIST_ANY;
    enum sql_list_text text = TEXT_NONE;
    if (filter->state >= 0)
        state = filter->state == JOB_QUEUED    ? LIST_QUEUED
                : filter->state == JOB_RUNNING ? LIST_RUNNING
                : filter->state == JOB_DONE    ? LIST_DONE
                                               : LIST_ENDED;
    if (filter->text)
        text = c->ops->match(filter->text, match) ? TEXT_INDEXED : TEXT_SHORT;
    unsigned narrow = narrow_of(filter);
    int which = ((filter->key_id != NULL) * LIST_STATES + (int)state) * LIST_TEXTS + (int)text;
    c->ops->list(&(struct sql_list){filter->key_id != NULL, state, text, narrow}, sql);
    return sql_bind_list(
        c, which * SQL_NARROWS + (int)narrow, sql, err, "ttttititiiti", filter->key_id,
        filter->state < 0 ? NULL : job_state_name((enum job_state)filter->state), filter->text,
        match, filter->before_sequence ? filter->before_sequence : INT64_MAX, filter->tags,
        (int64_t)filter->tag_count, filter->model, filter->since_ms,
        filter->until_ms ? filter->until_ms : INT64_MAX, filter->params, (int64_t)limit);
}

/* Reads up to `limit` rows and their pictures. */
static bool read_list(struct sql_connection *c, const struct job_filter *filter, int limit,
                      struct job *all, size_t *count, int64_t *next, struct err *err)
{
    int64_t last = 0;
    int rows = 0;
    bool failed = true;
    struct err damage;
    size_t n = 0;
    /* One more than asked for tells whether there is another page. */
    struct sql_rows *s = bind_list(c, filter, limit + 1, err);
    while (s && sql_row(c, s, &failed, err)) {
        if (rows++ == limit) {
            *next = last;
            break;
        }
        last = sql_int64(s, 11);
        if (sql_job_read(s, &all[n], &damage))
            n++;
        else
            leave_out(&all[n], &damage);
    }
    sql_done(s);
    for (size_t i = 0; i < n && !failed;) {
        if (sql_job_images(c, SQL_IMAGES_OF_JOB, &all[i], &damage) &&
            sql_mark_read(c, &all[i], &damage)) {
            i++;
        } else if (damage.code == ERR_INTERNAL) {
            leave_out(&all[i], &damage);
            memmove(&all[i], &all[i + 1], (--n - i) * sizeof *all);
        } else {
            failed = !err_copy(err, &damage);
        }
    }
    *count = n;
    return !failed;
}

bool sql_list_jobs(struct store *st, const struct job_filter *filter, struct job **jobs,
                   size_t *count, int64_t *next, struct err *err)
{
    int limit = filter->limit < 1 ? 1 : filter->limit > 200 ? 200 : filter->limit;
    *jobs = NULL;
    *count = 0;
    *next = 0;
    if (filter->text && (strlen(filter->text) > JOB_SEARCH_MAX ||
                         !json_text_is_utf8(filter->text, strlen(filter->text), NULL)))
        return err_set(err, ERR_INVALID, "a search is for at most %d bytes of UTF-8",
                       JOB_SEARCH_MAX);
    struct job *all = calloc((size_t)limit, sizeof *all);
    size_t n = 0;
    if (!all)
        return err_set(err, ERR_INTERNAL, "no memory for a list of jobs");
    struct sql_connection *c =
        filter->text || narrow_of(filter) ? sql_searcher(st, filter->gone) : sql_snapshot(st);
    bool done = read_list(c, filter, limit, all, &n, next, err);
    sql_release(c);
    if (!done) {
        for (size_t i = 0; i < n; i++)
            job_free(&all[i]);
        free(all);
        return false;
    }
    *jobs = all;
    *count = n;
    return true;
}
