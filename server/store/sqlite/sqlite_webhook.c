/* sqlite_webhook.c: the rows of who is told of jobs, and what they are still to be told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite/sqlite_sql.h"

static bool read_row(sqlite3_stmt *s, struct store_webhook *out)
{
    *out = (struct store_webhook){.every = sqlite3_column_int(s, 5) != 0,
                                  .created_ms = sqlite3_column_int64(s, 6),
                                  .told = sqlite3_column_int64(s, 7),
                                  .failed = sqlite3_column_int(s, 8),
                                  .last_ms = sqlite3_column_int64(s, 9),
                                  .pending = sqlite3_column_int(s, 11)};
    snprintf(out->last_error, sizeof out->last_error, "%s", sqlite_sql_text(s, 10));
    return sqlite_sql_id(s, 0, out->id) &&
           sqlite_sql_copy(s, 1, out->key_id, sizeof out->key_id) &&
           sqlite_sql_copy(s, 2, out->url, sizeof out->url) &&
           sqlite_sql_copy(s, 3, out->secret, sizeof out->secret) &&
           sqlite_sql_copy(s, 4, out->states, sizeof out->states);
}

static bool put(struct store *st, const struct store_webhook *w, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_WEBHOOK_PUT, err, "tttttii", w->id, w->key_id, w->url,
                               w->secret, w->states, (int64_t)w->every, w->created_ms);
    sqlite_release(c);
    return done;
}

static bool list(struct store *st, const char *id, const char *key_id,
                 struct store_webhook **rows, size_t *count, struct err *err)
{
    *count = 0;
    *rows = calloc(STORE_WEBHOOKS_MAX, sizeof **rows);
    if (!*rows)
        return err_set(err, ERR_INTERNAL, "no memory for a list of webhooks");
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_WEBHOOK_LIST, err, "tt", id, key_id);
    bool failed = !s;
    while (s && *count < STORE_WEBHOOKS_MAX && sqlite_sql_row(c, s, &failed, err))
        *count += read_row(s, &(*rows)[*count]);
    sqlite_sql_done(s);
    sqlite_release(c);
    if (failed)
        free(*rows);
    return !failed;
}

static bool remove_row(struct store *st, const char *id, const char *key_id, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_WEBHOOK_DELETE, err, "tt", id, key_id);
    if (done && sqlite_sql_changes(c) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no webhook \"%.40s\"", id);
    sqlite_release(c);
    return done;
}

static bool due(struct store *st, int64_t now_ms, struct store_delivery *rows, size_t most,
                size_t *count, struct err *err)
{
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_DELIVERY_DUE, err, "ii", now_ms, (int64_t)most);
    bool failed = !s;
    *count = 0;
    while (s && *count < most && sqlite_sql_row(c, s, &failed, err)) {
        struct store_delivery *d = &rows[*count];
        *d = (struct store_delivery){.sequence = sqlite3_column_int64(s, 0),
                                     .created_ms = sqlite3_column_int64(s, 4),
                                     .attempts = sqlite3_column_int(s, 5)};
        *count += sqlite_sql_id(s, 1, d->id) && sqlite_sql_id(s, 2, d->webhook_id) &&
                  sqlite_sql_id(s, 3, d->job_id) && job_state_of(sqlite_sql_text(s, 6), &d->state);
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool settle(struct store *st, const struct store_delivery *d, int64_t now_ms,
                   int64_t again_ms, const char *fault, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_save(c, err);
    if (done)
        done = sqlite_sql_keep(
            c,
            (again_ms > 0 ? sqlite_sql_run(c, SQL_DELIVERY_AGAIN, err, "ii", d->sequence, again_ms)
                          : sqlite_sql_run(c, SQL_DELIVERY_DONE, err, "i", d->sequence)) &&
                sqlite_sql_run(c, fault ? SQL_WEBHOOK_FAILED : SQL_WEBHOOK_TOLD, err, "tit",
                               d->webhook_id, now_ms, fault ? fault : ""),
            err);
    sqlite_release(c);
    return done;
}

const struct store_driver_webhook sqlite_webhook = {
    .put = put, .list = list, .remove = remove_row, .due = due, .settle = settle};
