/* sql_mark.c: the rows of what people say of jobs and pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ids.h"
#include "server/store/sql/sql.h"

bool sql_mark_read(struct sql_connection *c, struct job *job, struct err *err)
{
    bool failed;
    struct sql_rows *s = sql_bind(c, SQL_MARKS_OF_JOB, err, "t", job->id);
    if (!s)
        return false;
    while (sql_row(c, s, &failed, err)) {
        struct job_mark mark;
        const char *image_id = sql_text(s, 0), *tag = sql_text(s, 1);
        struct job_mark *grown = realloc(job->marks, (job->mark_count + 1) * sizeof *grown);
        if (!grown) {
            failed = !err_set(err, ERR_INTERNAL, "no memory for the tags of a job");
            break;
        }
        job->marks = grown;
        /* A damaged one is left out: nothing hangs on it. */
        if ((*image_id && !ids_valid(image_id)) || (*tag && !job_mark_check(tag, &(struct err){0})))
            continue;
        snprintf(mark.image_id, sizeof mark.image_id, "%s", image_id);
        snprintf(mark.tag, sizeof mark.tag, "%s", tag);
        job->marks[job->mark_count++] = mark;
    }
    sql_done(s);
    return !failed;
}

static bool put(struct store *st, const char *job_id, const char *image_id, const char *tag,
                bool set, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, set ? SQL_MARK_ADD : SQL_MARK_REMOVE, err, "ttt", job_id, image_id, tag);
    sql_release(c);
    return done;
}

static bool number(struct store *st, const char *job_id, const char *image_id, size_t *out,
                   struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_MARK_COUNT, err, "tt", job_id, image_id);
    bool failed = !s;
    *out = s && sql_row(c, s, &failed, err) ? (size_t)sql_int64(s, 0) : 0;
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool tags(struct store *st, const char *key_id, const atomic_bool *gone,
                 struct store_tag **list, size_t *count, struct err *err)
{
    *count = 0;
    *list = calloc(STORE_TAGS_MAX, sizeof **list);
    if (!*list)
        return err_set(err, ERR_INTERNAL, "no memory for a list of tags");
    struct sql_connection *c = sql_searcher(st, gone);
    struct sql_rows *s = sql_bind(c, SQL_MARK_TAGS, err, "ti", key_id, (int64_t)STORE_TAGS_MAX);
    bool failed = !s;
    while (s && *count < STORE_TAGS_MAX && sql_row(c, s, &failed, err)) {
        struct store_tag *t = &(*list)[*count];
        if (!job_mark_check(sql_text(s, 0), &(struct err){0}))
            continue;
        snprintf(t->tag, sizeof t->tag, "%s", sql_text(s, 0));
        t->jobs = (int)sql_int64(s, 1);
        ++*count;
    }
    sql_done(s);
    sql_release(c);
    if (failed)
        free(*list);
    return !failed;
}

static bool image_job(struct store *st, const char *image_id, const char *key_id,
                      char job_id[JOB_ID_SIZE], struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_IMAGE_JOB, err, "tt", image_id, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && sql_id(s, 0, job_id);
    if (!done && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no picture \"%.40s\"", image_id);
    sql_done(s);
    sql_release(c);
    return done;
}

const struct store_driver_mark sql_mark = {
    .put = put, .count = number, .tags = tags, .image_job = image_job};
