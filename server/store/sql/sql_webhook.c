/* sql_webhook.c: the rows of who is told of jobs, and what they are still to be told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/store/sql/sql.h"

#define DAMAGED_MOST 64 /* at a time */

static bool read_row(struct sql_rows *s, struct store_webhook *out)
{
    *out = (struct store_webhook){.every = (int)sql_int64(s, 5) != 0,
                                  .created_ms = sql_int64(s, 6),
                                  .told = sql_int64(s, 7),
                                  .failed = (int)sql_int64(s, 8),
                                  .last_ms = sql_int64(s, 9),
                                  .pending = (int)sql_int64(s, 11)};
    snprintf(out->last_error, sizeof out->last_error, "%s", sql_text(s, 10));
    return sql_id(s, 0, out->id) && sql_copy(s, 1, out->key_id, sizeof out->key_id) &&
           sql_copy(s, 2, out->url, sizeof out->url) &&
           sql_copy(s, 3, out->secret, sizeof out->secret) &&
           sql_copy(s, 4, out->states, sizeof out->states);
}

static bool put(struct store *st, const struct store_webhook *w, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_WEBHOOK_PUT, err, "tttttii", w->id, w->key_id, w->url, w->secret,
                        w->states, (int64_t)w->every, w->created_ms);
    sql_release(c);
    return done;
}

static bool list(struct store *st, const char *id, const char *key_id, struct store_webhook **rows,
                 size_t *count, struct err *err)
{
    *count = 0;
    *rows = calloc(STORE_WEBHOOKS_MAX, sizeof **rows);
    if (!*rows)
        return err_set(err, ERR_INTERNAL, "no memory for a list of webhooks");
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_WEBHOOK_LIST, err, "tt", id, key_id);
    bool failed = !s;
    while (s && *count < STORE_WEBHOOKS_MAX && sql_row(c, s, &failed, err))
        *count += read_row(s, &(*rows)[*count]);
    sql_done(s);
    sql_release(c);
    if (failed)
        free(*rows);
    return !failed;
}

static bool remove_row(struct store *st, const char *id, const char *key_id, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_WEBHOOK_DELETE, err, "tt", id, key_id);
    if (done && sql_changes(c) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no webhook \"%.40s\"", id);
    sql_release(c);
    return done;
}

/* What cannot be read would stand before all else that the webhook is to be told. */
static void drop_damaged(struct store *st, const int64_t *sequences, size_t count)
{
    struct err err;
    for (size_t i = 0; i < count; i++) {
        struct sql_connection *c = sql_writer(st);
        bool done = sql_run(c, SQL_DELIVERY_DONE, &err, "i", sequences[i]);
        sql_release(c);
        if (!done) {
            log_err(LOG_WARN, "delivery_not_dropped", &err, "sequence=%" PRId64, sequences[i]);
            return;
        }
        log_event(LOG_WARN, "delivery_dropped", "sequence=%" PRId64 " reason=damaged",
                  sequences[i]);
    }
}

static bool due(struct store *st, int64_t now_ms, struct store_delivery *rows, size_t most,
                size_t *count, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_DELIVERY_DUE, err, "ii", now_ms, (int64_t)most);
    bool failed = !s;
    int64_t damaged[DAMAGED_MOST];
    size_t dropped = 0;
    *count = 0;
    while (s && *count < most && sql_row(c, s, &failed, err)) {
        struct store_delivery *d = &rows[*count];
        *d = (struct store_delivery){.sequence = sql_int64(s, 0),
                                     .created_ms = sql_int64(s, 4),
                                     .attempts = (int)sql_int64(s, 5)};
        bool good = sql_id(s, 1, d->id) && sql_id(s, 2, d->webhook_id) &&
                    sql_id(s, 3, d->job_id) && job_state_of(sql_text(s, 6), &d->state) &&
                    job_state_is_final(d->state);
        *count += good;
        if (!good && dropped < DAMAGED_MOST)
            damaged[dropped++] = d->sequence;
    }
    sql_done(s);
    sql_release(c);
    drop_damaged(st, damaged, dropped);
    return !failed;
}

static bool settle(struct store *st, const struct store_delivery *d, int64_t now_ms,
                   int64_t again_ms, const char *fault, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done)
        done = sql_keep(c,
                        (again_ms > 0
                             ? sql_run(c, SQL_DELIVERY_AGAIN, err, "ii", d->sequence, again_ms)
                             : sql_run(c, SQL_DELIVERY_DONE, err, "i", d->sequence)) &&
                            sql_run(c, fault ? SQL_WEBHOOK_FAILED : SQL_WEBHOOK_TOLD, err, "tit",
                                    d->webhook_id, now_ms, fault ? fault : ""),
                        err);
    sql_release(c);
    return done;
}

const struct store_driver_webhook sql_webhook = {
    .put = put, .list = list, .remove = remove_row, .due = due, .settle = settle};
