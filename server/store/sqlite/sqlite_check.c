/* sqlite_check.c: every row is looked at, for `pictor fsck`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ids.h"
#include "server/job/controls.h"
#include "server/job/relay.h"
#include "server/store/sqlite/sqlite_sql.h"

/* Calls `row` for every row of a statement without parameters. */
static bool each(struct sqlite_connection *c, enum statement which,
                 void (*row)(const struct store_check *check, sqlite3_stmt *s),
                 const struct store_check *check, struct err *err)
{
    sqlite3_stmt *s = sqlite_sql_bind(c, which, err, "");
    bool failed = !s;
    while (s && sqlite_sql_row(c, s, &failed, err))
        row(check, s);
    sqlite_sql_done(s);
    return !failed;
}

static void check_integrity(const struct store_check *check, sqlite3_stmt *s)
{
    if (strcmp(sqlite_sql_text(s, 0), "ok") != 0)
        check->damage(check->ctx, sqlite_sql_text(s, 0));
}

static void check_reference(const struct store_check *check, sqlite3_stmt *s)
{
    char text[128];
    snprintf(text, sizeof text, "a row of %.40s refers to a %.40s row that does not exist",
             sqlite_sql_text(s, 0), sqlite_sql_text(s, 2));
    check->damage(check->ctx, text);
}

static void check_image(const struct store_check *check, sqlite3_stmt *s)
{
    struct job_image image;
    struct err err = {0};
    if (sqlite_image_read(s, &image, &err) && ids_valid(sqlite_sql_text(s, 9)))
        check->image(check->ctx, sqlite_sql_text(s, 9), &image);
    else
        check->damage(check->ctx, err.code == ERR_INTERNAL ? err.msg : "a picture of no job");
    free(image.infotext);
}

static void check_input(const struct store_check *check, sqlite3_stmt *s)
{
    const char *name = sqlite_sql_text(s, 1);
    if (ids_valid(sqlite_sql_text(s, 0)) &&
        (strcmp(name, "init") == 0 || strcmp(name, "mask") == 0 || controls_input_of(name) >= 0 ||
         relay_input_of(name) >= 0))
        check->input(check->ctx, sqlite_sql_text(s, 0), name, (size_t)sqlite3_column_int64(s, 2));
    else
        check->damage(check->ctx, "the row of an input is damaged");
}

static void check_file(const struct store_check *check, sqlite3_stmt *s)
{
    if (ids_valid(sqlite_sql_text(s, 0)) && sqlite3_column_int64(s, 1) >= 0)
        check->file(check->ctx, sqlite_sql_text(s, 0), (size_t)sqlite3_column_int64(s, 1));
    else
        check->damage(check->ctx, "the row of a file is damaged");
}

static void check_short(const struct store_check *check, sqlite3_stmt *s)
{
    if (ids_valid(sqlite_sql_text(s, 0)))
        check->short_job(check->ctx, sqlite_sql_text(s, 0), sqlite3_column_int(s, 2),
                         sqlite3_column_int(s, 1));
}

static void check_job(const struct store_check *check, sqlite3_stmt *s)
{
    struct job job;
    struct err err;
    if (!sqlite_job_read(s, &job, &err))
        check->damage(check->ctx, err.msg);
    job_free(&job);
}

static void check_key(const struct store_check *check, sqlite3_stmt *s)
{
    struct key key;
    char text[128];
    snprintf(text, sizeof text, "the row of key \"%.40s\" is damaged", sqlite_sql_text(s, 0));
    if (!sqlite_key_read(s, &key))
        check->damage(check->ctx, text);
}

static bool check_search(struct sqlite_connection *c, const struct store_check *check,
                         struct err *err)
{
    struct err damage;
    if (sqlite_sql_run(c, SQL_SEARCH_CHECK, &damage, ""))
        return true;
    if (damage.code != ERR_IO)
        return err_set(err, damage.code, "%s", damage.msg);
    check->index(check->ctx);
    return true;
}

static bool check_all(struct store *st, const struct store_check *check, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = each(c, SQL_INTEGRITY, check_integrity, check, err) &&
                each(c, SQL_FOREIGN_KEYS, check_reference, check, err) &&
                each(c, SQL_JOB_ALL, check_job, check, err) &&
                each(c, SQL_IMAGE_ALL, check_image, check, err) &&
                each(c, SQL_INPUT_ALL, check_input, check, err) &&
                each(c, SQL_RECORD_FILES, check_file, check, err) &&
                each(c, SQL_KEY_ALL, check_key, check, err) && check_search(c, check, err);
    sqlite_release(c);
    return done;
}

static bool check_short_jobs(struct store *st, const struct store_check *check, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = each(c, SQL_JOB_SHORT, check_short, check, err);
    sqlite_release(c);
    return done;
}

static bool reindex(struct store *st, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_SEARCH_REBUILD, err, "");
    sqlite_release(c);
    return done;
}

const struct store_driver_check sqlite_check = {check_all, check_short_jobs, reindex};
