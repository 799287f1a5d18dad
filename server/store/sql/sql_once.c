/* sql_once.c: the rows of what is done once, however often it is asked for. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sql/sql.h"

static bool get(struct store *st, const char *key_id, const char *name, int64_t since_ms,
                struct store_once *out, struct err *err)
{
    *out = (struct store_once){0};
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_run(c, SQL_ONCE_LOCK, err, "tt", key_id, name)
                             ? sql_bind(c, SQL_ONCE_GET, err, "tti", key_id, name, since_ms)
                             : NULL;
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err) && sql_copy(s, 0, out->hash, sizeof out->hash)) {
        out->jobs = strdup(sql_text(s, 1));
        if (!out->jobs)
            failed = !err_set(err, ERR_INTERNAL, "no memory for an earlier request");
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

static bool put(struct store *st, const char *key_id, const char *name,
                const struct store_once *once, int64_t now_ms, int64_t since_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done =
        sql_run(c, SQL_ONCE_FORGET, err, "i", since_ms) &&
        sql_run(c, SQL_ONCE_PUT, err, "tttit", key_id, name, once->hash, now_ms, once->jobs);
    sql_release(c);
    return done;
}

const struct store_driver_once sql_once = {.get = get, .put = put};
