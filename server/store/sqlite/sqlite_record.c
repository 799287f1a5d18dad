/* sqlite_record.c: the rows of what clients keep beside jobs. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite/sqlite_sql.h"

static bool read_row(sqlite3_stmt *s, struct store_record *out, struct err *err)
{
    *out = (struct store_record){.created_ms = sqlite3_column_int64(s, 3),
                                 .expires_ms = sqlite3_column_int64(s, 4),
                                 .bytes = (size_t)sqlite3_column_int64(s, 5)};
    if (!sqlite_sql_id(s, 0, out->id) || !sqlite_sql_copy(s, 1, out->kind, sizeof out->kind) ||
        !sqlite_sql_copy(s, 2, out->key_id, sizeof out->key_id) || sqlite3_column_int64(s, 5) < 0)
        return err_set(err, ERR_INTERNAL, "the row of \"%.40s\" is damaged", sqlite_sql_text(s, 0));
    out->body = strdup(sqlite_sql_text(s, 6));
    return out->body || err_set(err, ERR_INTERNAL, "no memory for a row");
}

static bool put(struct store *st, const struct store_record *r, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_RECORD_PUT, err, "tttiiit", r->id, r->kind, r->key_id,
                               r->created_ms, r->expires_ms, (int64_t)r->bytes, r->body);
    sqlite_release(c);
    return done;
}

static bool get(struct store *st, const char *kind, const char *id, const char *key_id,
                struct store_record *out, struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    *out = (struct store_record){0};
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_RECORD_GET, err, "ttt", id, kind, key_id);
    bool failed = !s, found = s && sqlite_sql_row(c, s, &failed, err);
    bool done = found && read_row(s, out, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no %s \"%.40s\"", kind, id);
    sqlite_sql_done(s);
    sqlite_release(c);
    return done;
}

/* A damaged row is left out, and another one comes in its place: a page that is short is the last
 * one. So the statement has no limit; it is not stepped further than needed. */
static bool list(struct store *st, const struct store_record_filter *f, struct store_record **rows,
                 size_t *count, struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    *rows = calloc((size_t)f->limit, sizeof **rows);
    *count = 0;
    sqlite3_stmt *s = NULL;
    if (!*rows)
        err_set(err, ERR_INTERNAL, "no memory for a list");
    else
        s = sqlite_sql_bind(c, f->oldest_first ? SQL_RECORD_OLDEST : SQL_RECORD_NEWEST, err,
                            "ttiti", f->kind, f->key_id, f->after_ms,
                            f->after_id ? f->after_id : "", f->expired_ms);
    bool failed = !s;
    struct err damage;
    while (s && *count < (size_t)f->limit && sqlite_sql_row(c, s, &failed, err))
        *count += read_row(s, &(*rows)[*count], &damage);
    sqlite_sql_done(s);
    sqlite_release(c);
    if (failed) {
        for (size_t i = 0; i < *count; i++)
            free((*rows)[i].body);
        free(*rows);
        *rows = NULL;
        *count = 0;
    }
    return !failed;
}

static bool total(struct store *st, const char *kind, const char *key_id, int64_t *count,
                  size_t *bytes, struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_RECORD_TOTAL, err, "tt", kind, key_id);
    bool failed = !s;
    *count = 0;
    *bytes = 0;
    if (s && sqlite_sql_row(c, s, &failed, err)) {
        *count = sqlite3_column_int64(s, 0);
        *bytes = (size_t)sqlite3_column_int64(s, 1);
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool remove_row(struct store *st, const char *id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_RECORD_DELETE, err, "t", id);
    if (done && sqlite_sql_changes(c) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no record \"%.40s\"", id);
    sqlite_release(c);
    return done;
}

const struct store_driver_record sqlite_record = {
    .put = put, .get = get, .list = list, .total = total, .remove = remove_row};
