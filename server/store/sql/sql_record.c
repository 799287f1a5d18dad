/* sql_record.c: the rows of what clients keep beside jobs. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sql/sql.h"

static bool read_row(struct sql_rows *s, struct store_record *out, struct err *err)
{
    *out = (struct store_record){.created_ms = sql_int64(s, 3),
                                 .expires_ms = sql_int64(s, 4),
                                 .bytes = (size_t)sql_int64(s, 5)};
    if (!sql_id(s, 0, out->id) || !sql_copy(s, 1, out->kind, sizeof out->kind) ||
        !sql_copy(s, 2, out->key_id, sizeof out->key_id) || sql_int64(s, 5) < 0)
        return err_set(err, ERR_INTERNAL, "the row of \"%.40s\" is damaged", sql_text(s, 0));
    out->body = strdup(sql_text(s, 6));
    return out->body || err_set(err, ERR_INTERNAL, "no memory for a row");
}

static bool put(struct store *st, const struct store_record *r, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_RECORD_PUT, err, "tttiiit", r->id, r->kind, r->key_id, r->created_ms,
                        r->expires_ms, (int64_t)r->bytes, r->body);
    sql_release(c);
    return done;
}

static bool get(struct store *st, const char *kind, const char *id, const char *key_id,
                struct store_record *out, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    *out = (struct store_record){0};
    struct sql_rows *s = sql_bind(c, SQL_RECORD_GET, err, "ttt", id, kind, key_id);
    bool failed = !s, found = s && sql_row(c, s, &failed, err);
    bool done = found && read_row(s, out, err);
    if (!found && !failed)
        err_set(err, ERR_NOT_FOUND, "there is no %s \"%.40s\"", kind, id);
    sql_done(s);
    sql_release(c);
    return done;
}

/* A damaged row is left out, and another one comes in its place: a page that is short is the last
 * one. So the statement has no limit; it is not stepped further than needed. */
static bool list(struct store *st, const struct store_record_filter *f, struct store_record **rows,
                 size_t *count, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    *rows = calloc((size_t)f->limit, sizeof **rows);
    *count = 0;
    struct sql_rows *s = NULL;
    if (!*rows)
        err_set(err, ERR_INTERNAL, "no memory for a list");
    else
        s = sql_bind(c, f->oldest_first ? SQL_RECORD_OLDEST : SQL_RECORD_NEWEST, err, "ttiti",
                     f->kind, f->key_id, f->after_ms, f->after_id ? f->after_id : "",
                     f->expired_ms);
    bool failed = !s;
    struct err damage;
    while (s && *count < (size_t)f->limit && sql_row(c, s, &failed, err))
        *count += read_row(s, &(*rows)[*count], &damage);
    sql_done(s);
    sql_release(c);
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
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_RECORD_TOTAL, err, "tt", kind, key_id);
    bool failed = !s;
    *count = 0;
    *bytes = 0;
    if (s && sql_row(c, s, &failed, err)) {
        *count = sql_int64(s, 0);
        *bytes = (size_t)sql_int64(s, 1);
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool remove_row(struct store *st, const char *id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_RECORD_DELETE, err, "t", id);
    if (done && sql_changes(c) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no record \"%.40s\"", id);
    sql_release(c);
    return done;
}

const struct store_driver_record sql_record = {
    .put = put, .get = get, .list = list, .total = total, .remove = remove_row};
