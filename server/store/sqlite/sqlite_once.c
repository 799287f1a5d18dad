/* sqlite_once.c: the rows of what is done once, however often it is asked for. */
#include <stdlib.h>
#include <string.h>

#include "server/store/sqlite/sqlite_sql.h"

static bool get(struct store *st, const char *key_id, const char *name, int64_t since_ms,
                struct store_once *out, struct err *err)
{
    *out = (struct store_once){0};
    struct sqlite_connection *c = sqlite_reader(st);
    sqlite3_stmt *s = sqlite_sql_bind(c, SQL_ONCE_GET, err, "tti", key_id, name, since_ms);
    bool failed = !s;
    if (s && sqlite_sql_row(c, s, &failed, err) &&
        sqlite_sql_copy(s, 0, out->hash, sizeof out->hash)) {
        out->jobs = strdup(sqlite_sql_text(s, 1));
        if (!out->jobs)
            failed = !err_set(err, ERR_INTERNAL, "no memory for an earlier request");
    }
    sqlite_sql_done(s);
    sqlite_release(c);
    return !failed;
}

static bool put(struct store *st, const char *key_id, const char *name,
                const struct store_once *once, int64_t now_ms, int64_t since_ms, struct err *err)
{
    struct sqlite_connection *c = sqlite_writer(st);
    bool done = sqlite_sql_run(c, SQL_ONCE_FORGET, err, "i", since_ms) &&
                sqlite_sql_run(c, SQL_ONCE_PUT, err, "tttit", key_id, name, once->hash, now_ms,
                               once->jobs);
    sqlite_release(c);
    return done;
}

const struct store_driver_once sqlite_once = {.get = get, .put = put};
