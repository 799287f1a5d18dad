/* store_input.c: the rows of inputs, the pictures that jobs start from; see store.h and
 * store_sql.h. */
#include "server/store/sqlite/store_sql.h"
#include "server/store/store.h"

bool store_input_put(struct store *st, const char *job_id, const char *name, size_t bytes,
                     struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_INPUT_PUT, err, "tti", job_id, name, (int64_t)bytes);
    store_unlock(st);
    return done;
}

bool store_input_bytes(struct store *st, const char *job_id, const char *name, size_t *bytes,
                       struct err *err)
{
    *bytes = 0;
    store_lock(st);
    sqlite3_stmt *s = store_sql_bind(st, SQL_INPUT_BYTES, err, "tt", job_id, name);
    bool failed = !s, found = s && store_sql_row(st, s, &failed, err);
    if (found)
        *bytes = (size_t)sqlite3_column_int64(s, 0);
    else if (!failed)
        err_set(err, ERR_NOT_FOUND, "job %.40s has no input \"%.20s\"", job_id, name);
    store_sql_done(s);
    store_unlock(st);
    return found;
}

bool store_input_delete(struct store *st, const char *job_id, const char *name, struct err *err)
{
    store_lock(st);
    bool done = store_sql_run(st, SQL_INPUT_DELETE, err, "tt", job_id, name);
    store_unlock(st);
    return done;
}
