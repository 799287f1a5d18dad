/* sql_usage.c: what keys have used, by days, and what they may. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/sql/sql.h"

static bool spend(struct store *st, const char *job_id, int64_t token, int64_t money,
                  struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_JOB_SPEND, err, "tii", job_id, token, money);
    sql_release(c);
    return done;
}

static struct store_amount amount_of(struct sql_rows *s, int column)
{
    return (struct store_amount){sql_int64(s, column), sql_int64(s, column + 1),
                                 sql_int64(s, column + 2)};
}

static bool since(struct store *st, const char *key_id, int64_t day, int64_t month,
                  struct store_amount *of_day, struct store_amount *of_month, struct err *err)
{
    *of_day = *of_month = (struct store_amount){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_USAGE_SINCE, err, "tii", key_id, day, month);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err)) {
        *of_day = amount_of(s, 0);
        *of_month = amount_of(s, 3);
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool pending(struct store *st, const char *key_id, store_pending_fn *fn, void *ctx,
                    struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_USAGE_PENDING, err, "t", key_id);
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err)) {
        struct store_amount amount = amount_of(s, 1);
        fn(ctx, sql_text(s, 0), &amount);
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static void read_usage(struct sql_rows *s, struct store_usage *u)
{
    *u = (struct store_usage){
        .day = sql_int64(s, 0),
        .jobs = sql_int64(s, 3),
        .failed = sql_int64(s, 4),
        .amount = {.pictures = sql_int64(s, 5), .work = sql_int64(s, 6), .money = sql_int64(s, 8)},
        .ms = sql_int64(s, 7)};
    snprintf(u->key_id, sizeof u->key_id, "%s", sql_text(s, 1));
    snprintf(u->model, sizeof u->model, "%s", sql_text(s, 2));
}

static bool list(struct store *st, const char *key_id, int64_t from, int64_t to, size_t most,
                 struct store_usage **rows, size_t *count, struct err *err)
{
    size_t room = 0;
    *rows = NULL;
    *count = 0;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_USAGE_LIST, err, "tiii", key_id, from, to, (int64_t)most);
    bool failed = !s;
    while (s && *count < most && sql_row(c, s, &failed, err)) {
        if (*count == room) {
            room = room ? 2 * room : 32;
            struct store_usage *more = realloc(*rows, room * sizeof *more);
            if (!more) {
                failed = !err_set(err, ERR_INTERNAL, "no memory for what was used");
                break;
            }
            *rows = more;
        }
        read_usage(s, &(*rows)[(*count)++]);
    }
    sql_done(s);
    sql_release(c);
    if (failed) {
        free(*rows);
        *rows = NULL;
        *count = 0;
    }
    return !failed;
}

const struct store_driver_usage sql_usage = {
    .spend = spend, .since = since, .pending = pending, .list = list};
