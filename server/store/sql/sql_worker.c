/* sql_worker.c: the rows of who paints. A database that has one server has no use for them. */
#include "server/store/sql/sql.h"

static bool put(struct store *st, const char *id, const char *body, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_WORKER_PUT, err, "tt", id, body);
    sql_release(c);
    return done;
}

static bool list(struct store *st, int64_t within_ms, store_worker_fn *fn, void *ctx,
                 struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_WORKER_LIST, err, "i", within_ms);
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err))
        fn(ctx, sql_text(s, 0), sql_text(s, 1), sql_int64(s, 2));
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool forget(struct store *st, const char *id, int64_t before_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_WORKER_DELETE, err, "ti", id, before_ms);
    sql_release(c);
    return done;
}

const struct store_driver_worker sql_worker = {.put = put, .list = list, .remove = forget};
