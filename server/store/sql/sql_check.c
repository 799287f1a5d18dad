/* sql_check.c: every row is looked at, for `pictor fsck`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ids.h"
#include "server/job/inputs.h"
#include "server/store/sql/sql.h"

/* Calls `row` for every row of a statement without parameters. */
static bool each(struct sql_connection *c, enum sql_statement which,
                 void (*row)(const struct store_check *check, struct sql_rows *s),
                 const struct store_check *check, struct err *err)
{
    struct sql_rows *s = sql_bind(c, which, err, "");
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err))
        row(check, s);
    sql_done(s);
    return !failed;
}

static void check_integrity(const struct store_check *check, struct sql_rows *s)
{
    if (strcmp(sql_text(s, 0), "ok") != 0)
        check->damage(check->ctx, sql_text(s, 0));
}

static void check_reference(const struct store_check *check, struct sql_rows *s)
{
    char text[128];
    snprintf(text, sizeof text, "a row of %.40s refers to a %.40s row that does not exist",
             sql_text(s, 0), sql_text(s, 2));
    check->damage(check->ctx, text);
}

static void check_image(const struct store_check *check, struct sql_rows *s)
{
    struct job_image image;
    struct err err = {0};
    if (sql_image_read(s, &image, &err) && ids_valid(sql_text(s, 9)))
        check->image(check->ctx, sql_text(s, 9), &image);
    else
        check->damage(check->ctx, err.code == ERR_INTERNAL ? err.msg : "a picture of no job");
    free(image.infotext);
}

static void check_input(const struct store_check *check, struct sql_rows *s)
{
    const char *name = sql_text(s, 1);
    if (ids_valid(sql_text(s, 0)) && inputs_index(name) >= 0)
        check->input(check->ctx, sql_text(s, 0), name, (size_t)sql_int64(s, 2));
    else
        check->damage(check->ctx, "the row of an input is damaged");
}

static void check_file(const struct store_check *check, struct sql_rows *s)
{
    if (ids_valid(sql_text(s, 0)) && sql_int64(s, 1) >= 0)
        check->file(check->ctx, sql_text(s, 0), (size_t)sql_int64(s, 1));
    else
        check->damage(check->ctx, "the row of a file is damaged");
}

static void check_short(const struct store_check *check, struct sql_rows *s)
{
    if (ids_valid(sql_text(s, 0)))
        check->short_job(check->ctx, sql_text(s, 0), (int)sql_int64(s, 2), (int)sql_int64(s, 1));
}

static void check_job(const struct store_check *check, struct sql_rows *s)
{
    struct job job;
    struct err err;
    if (!sql_job_read(s, &job, &err))
        check->damage(check->ctx, err.msg);
    job_free(&job);
}

static void check_key(const struct store_check *check, struct sql_rows *s)
{
    struct key key;
    char text[128];
    snprintf(text, sizeof text, "the row of key \"%.40s\" is damaged", sql_text(s, 0));
    if (!sql_key_read(s, &key))
        check->damage(check->ctx, text);
}

static bool check_search(struct sql_connection *c, const struct store_check *check, struct err *err)
{
    struct err damage;
    if (sql_run(c, SQL_SEARCH_CHECK, &damage, ""))
        return true;
    if (damage.code != ERR_IO)
        return err_set(err, damage.code, "%s", damage.msg);
    check->index(check->ctx);
    return true;
}

static bool check_all(struct store *st, const struct store_check *check, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = each(c, SQL_INTEGRITY, check_integrity, check, err) &&
                each(c, SQL_FOREIGN_KEYS, check_reference, check, err) &&
                each(c, SQL_JOB_ALL, check_job, check, err) &&
                each(c, SQL_IMAGE_ALL, check_image, check, err) &&
                each(c, SQL_INPUT_ALL, check_input, check, err) &&
                each(c, SQL_RECORD_FILES, check_file, check, err) &&
                each(c, SQL_KEY_ALL, check_key, check, err) && check_search(c, check, err);
    sql_release(c);
    return done;
}

static bool check_short_jobs(struct store *st, const struct store_check *check, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = each(c, SQL_JOB_SHORT, check_short, check, err);
    sql_release(c);
    return done;
}

static bool reindex(struct store *st, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_SEARCH_REBUILD, err, "");
    sql_release(c);
    return done;
}

const struct store_driver_check sql_check = {check_all, check_short_jobs, reindex};
