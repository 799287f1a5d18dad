/* sql.c: what the rows' files ask of a connection, handed to its driver. */
#include "server/store/sql/sql.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "server/base/ids.h"

static const struct sql_ops *ops_of(struct store *st)
{
    return ((struct sql_store *)st)->ops;
}

struct sql_connection *sql_writer(struct store *st)
{
    return ops_of(st)->writer(st);
}

struct sql_connection *sql_reader(struct store *st)
{
    return ops_of(st)->reader(st);
}

struct sql_connection *sql_snapshot(struct store *st)
{
    return ops_of(st)->snapshot(st);
}

struct sql_connection *sql_searcher(struct store *st, const atomic_bool *gone)
{
    return ops_of(st)->searcher(st, gone);
}

void sql_release(struct sql_connection *c)
{
    c->ops->release(c);
}

int64_t sql_clock(struct store *st)
{
    return ops_of(st)->clock(st);
}

/* The values that follow `types`. */
static void read_values(const char *types, va_list ap, struct store_value *out)
{
    for (; *types; types++, out++) {
        *out = (struct store_value){0};
        if (*types == 't')
            out->text = va_arg(ap, const char *);
        else if (*types == 'i')
            out->number = va_arg(ap, int64_t);
        else
            out->hash = va_arg(ap, const unsigned char *);
    }
}

struct sql_rows *sql_bind(struct sql_connection *c, enum sql_statement which, struct err *err,
                          const char *types, ...)
{
    struct store_value values[STORE_COLUMNS_MAX];
    va_list ap;
    va_start(ap, types);
    read_values(types, ap, values);
    va_end(ap);
    return c->ops->bind(c, which, err, types, values);
}

struct sql_rows *sql_bind_list(struct sql_connection *c, int which, const char *sql,
                               struct err *err, const char *types, ...)
{
    struct store_value values[STORE_COLUMNS_MAX];
    va_list ap;
    va_start(ap, types);
    read_values(types, ap, values);
    va_end(ap);
    return c->ops->bind_list(c, which, sql, err, types, values);
}

bool sql_row(struct sql_connection *c, struct sql_rows *s, bool *failed, struct err *err)
{
    return c->ops->row(c, s, failed, err);
}

void sql_done(struct sql_rows *s)
{
    if (s)
        s->ops->done(s);
}

bool sql_run(struct sql_connection *c, enum sql_statement which, struct err *err, const char *types,
             ...)
{
    struct store_value values[STORE_COLUMNS_MAX];
    va_list ap;
    va_start(ap, types);
    read_values(types, ap, values);
    va_end(ap);
    struct sql_rows *s = c->ops->bind(c, which, err, types, values);
    bool failed = !s;
    while (!failed && sql_row(c, s, &failed, err))
        ;
    sql_done(s);
    return !failed;
}

bool sql_save(struct sql_connection *c, struct err *err)
{
    return c->ops->save(c, err);
}

bool sql_keep(struct sql_connection *c, bool done, struct err *err)
{
    return c->ops->keep(c, done, err);
}

int sql_changes(struct sql_connection *c)
{
    return c->ops->changes(c);
}

const char *sql_text(struct sql_rows *s, int column)
{
    return s->ops->text(s, column);
}

int64_t sql_int64(struct sql_rows *s, int column)
{
    return s->ops->int64(s, column);
}

const unsigned char *sql_hash(struct sql_rows *s, int column)
{
    return s->ops->hash(s, column);
}

bool sql_copy(struct sql_rows *s, int column, char *out, size_t size)
{
    const char *text = sql_text(s, column);
    size_t length = strlen(text);
    if (length >= size)
        return false;
    memcpy(out, text, length + 1);
    return true;
}

bool sql_id(struct sql_rows *s, int column, char out[JOB_ID_SIZE])
{
    return ids_valid(sql_text(s, column)) && sql_copy(s, column, out, JOB_ID_SIZE);
}

bool sql_int(struct sql_rows *s, int column, int least, int *out)
{
    int64_t n = sql_int64(s, column);
    *out = (int)n;
    return n >= least && n <= INT_MAX;
}
