/* sql_table.c: whole tables, row by row, for a store that moves into another one. What a column
 * means is nobody's concern here: the tables of all databases have these columns. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/store/sql/sql.h"

#define TEXT_SIZE 1200

/* In an order in which what is referred to comes first. `order` begins with the first column. */
static const struct sql_table {
    struct store_table face;
    const char *columns, *order, *where;
} all[] = {
    {{"keys", "ittiibiiiiiiiii"},
     "sequence, id, name, scopes, prefix, hash, created_ms, revoked_ms, weight, "
     "day_pictures, month_pictures, day_work, month_work, day_money, month_money",
     "sequence",
     ""},
    {{"options", "tt"}, "name, value", "name", " AND name NOT IN ('" STORE_MOVING "', 'probe')"},
    {{"turns", "tiii"}, "key_id, turn, used, pace", "key_id", ""},
    {{"jobs", "itttiitttitiiitiiiiitttiii"},
     SQL_JOB_MOVED,
     "sequence",
     ""},
    {{"images", "ttiiiiitit"}, SQL_IMAGE_MOVED, "id", ""},
    {{"inputs", "tti"}, "job_id, name, bytes", "job_id, name", ""},
    {{"orders", "ttii"}, "job_id, token, position, count", "job_id", ""},
    {{"records", "tttiiit"}, SQL_RECORD_COLUMNS, "id", ""},
    {{"marks", "int"}, "sequence, image_id, tag", "sequence, coalesce(image_id, ''), tag", ""},
    {{"once", "tttit"}, "key_id, name, hash, created_ms, jobs", "key_id, name", ""},
    {{"webhooks", "tttttiiiiit"},
     "id, key_id, url, secret, states, every, created_ms, told, failed, last_ms, last_error",
     "id",
     ""},
    {{"deliveries", "ittttiii"},
     "sequence, id, webhook_id, job_id, state, created_ms, due_ms, attempts",
     "sequence",
     ""},
    {{"jobs_aside", "itttiitttitiiitiiiiitttiiii"}, SQL_JOB_MOVED ", aside_ms", "sequence", ""},
    {{"images_aside", "ttiiiiititii"}, SQL_IMAGE_MOVED ", alone, aside_ms", "id", ""},
    {{"inputs_aside", "tti"}, "job_id, name, bytes", "job_id, name", ""},
    {{"marks_aside", "int"},
     "sequence, image_id, tag",
     "sequence, coalesce(image_id, ''), tag",
     ""},
    {{"usage", "ittiiiiii"}, SQL_USAGE_COLUMNS, "day, key_id, model", ""},
};
#define COUNT (sizeof all / sizeof *all)

_Static_assert(2 * COUNT <= SQL_TABLE_SLOTS, "a slot for each table's two statements");

static const struct store_table *at(size_t table)
{
    return table < COUNT ? &all[table].face : NULL;
}

/* Columns that may be without a value are texts to the database. */
static void types_of(const struct sql_table *t, char out[STORE_COLUMNS_MAX + 1])
{
    snprintf(out, STORE_COLUMNS_MAX + 1, "%s", t->face.types);
    for (char *p = out; *p; p++)
        if (*p == 'n')
            *p = 't';
}

static bool each(struct store *st, size_t table, const struct store_value *from, store_row_fn *row,
                 void *ctx, struct err *err)
{
    const struct sql_table *t = &all[table];
    char sql[TEXT_SIZE];
    struct store_value values[STORE_COLUMNS_MAX];
    const char type[2] = {t->face.types[0], '\0'};
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE %.*s >= $1%s ORDER BY %s", t->columns,
             t->face.name, (int)strcspn(t->columns, ","), t->columns, t->where, t->order);
    struct sql_connection *c = sql_writer(st);
    struct sql_rows *s = c->ops->bind_list(c, SQL_LISTS + 2 * (int)table, sql, err, type, from);
    bool failed = !s, more = true;
    while (s && more && sql_row(c, s, &failed, err)) {
        for (int i = 0; t->face.types[i]; i++) {
            char letter = t->face.types[i];
            values[i] = (struct store_value){.text = letter == 'b' ? NULL : sql_text(s, i)};
            if (letter == 'i')
                values[i].number = sql_int64(s, i);
            else if (letter == 'b')
                values[i].hash = sql_hash(s, i);
            else if (letter == 'n' && !*values[i].text)
                values[i].text = NULL;
            if (letter == 'b' && !values[i].hash) {
                more = err_set(err, ERR_INTERNAL, "a row of %s is damaged", t->face.name);
                failed = true;
                break;
            }
        }
        more = more && row(ctx, values);
    }
    sql_done(s);
    sql_release(c);
    return !failed && more;
}

static bool put(struct store *st, size_t table, const struct store_value *values, struct err *err)
{
    const struct sql_table *t = &all[table];
    char sql[TEXT_SIZE], types[STORE_COLUMNS_MAX + 1];
    int n = snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES (", t->face.name, t->columns);
    types_of(t, types);
    for (int i = 0; types[i]; i++)
        n += snprintf(sql + n, sizeof sql - (size_t)n, "%s$%d", i ? ", " : "", i + 1);
    snprintf(sql + n, sizeof sql - (size_t)n, ") ON CONFLICT DO NOTHING");
    struct sql_connection *c = sql_writer(st);
    struct sql_rows *s =
        c->ops->bind_list(c, SQL_LISTS + 2 * (int)table + 1, sql, err, types, values);
    bool failed = !s;
    while (s && sql_row(c, s, &failed, err))
        ;
    sql_done(s);
    sql_release(c);
    return !failed || err_prefix(err, "a row of %s", t->face.name);
}

static bool quiet(struct store *st, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_MOVE_QUIET, err, "");
    sql_release(c);
    return done;
}

static bool finish(struct store *st, struct err *err)
{
    static const enum sql_statement last[] = {SQL_MOVE_JOBS,  SQL_MOVE_KEYS, SQL_MOVE_DELIVERIES,
                                              SQL_MOVE_TURNS, SQL_MOVE_LINE, SQL_SEARCH_REBUILD};
    struct sql_connection *c = sql_writer(st);
    bool done = true;
    for (size_t i = 0; i < sizeof last / sizeof *last && done; i++)
        done = sql_run(c, last[i], err, "");
    sql_release(c);
    return done;
}

const struct store_driver_table sql_table = {
    .at = at, .each = each, .put = put, .quiet = quiet, .finish = finish};
