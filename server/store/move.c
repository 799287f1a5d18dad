/* move.c: table by table, some hundred rows a transaction, in the order of a column by which a move
 * that was interrupted finds how far it had come. */
#include "server/store/move.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/sha256.h"
#include "server/store/store_driver.h"

#define BATCH 500

struct total {
    int64_t rows;
    unsigned char hash[SHA256_SIZE];
};

struct pass {
    struct store *to; /* NULL: rows are only counted */
    size_t table;
    const struct store_table *face;
    int open; /* rows of the transaction */
    struct total total;
    char *bytes; /* of a row, for its hash */
    size_t room;
    struct store_value last; /* of the first column */
    struct err *err;
};

static const struct store_driver_table *driver(struct store *st)
{
    return st->driver->table;
}

/* ---- counting ---- */

static bool append(struct pass *p, size_t *n, const void *data, size_t size)
{
    if (*n + size > p->room) {
        size_t room = 2 * (*n + size);
        char *grown = realloc(p->bytes, room);
        if (!grown)
            return err_set(p->err, ERR_INTERNAL, "no memory for a row");
        p->bytes = grown;
        p->room = room;
    }
    if (size > 0)
        memcpy(p->bytes + *n, data, size);
    *n += size;
    return true;
}

/* The hash of the rows so far and of this one. */
static bool count_row(void *ctx, const struct store_value *values)
{
    struct pass *p = ctx;
    size_t n = 0;
    bool done = append(p, &n, p->total.hash, sizeof p->total.hash);
    for (int i = 0; p->face->types[i] && done; i++) {
        char number[24], length[24];
        const void *data = values[i].text;
        size_t size = data ? strlen(values[i].text) : 0;
        if (p->face->types[i] == 'i') {
            size = (size_t)snprintf(number, sizeof number, "%lld", (long long)values[i].number);
            data = number;
        } else if (p->face->types[i] == 'b') {
            data = values[i].hash;
            size = STORE_HASH_SIZE;
        }
        int head = snprintf(length, sizeof length, "%zu:", size);
        done = append(p, &n, length, (size_t)head) && append(p, &n, data, size);
    }
    p->total.rows++;
    return done && sha256_bytes(p->bytes, n, p->total.hash, p->err);
}

static bool count_table(struct store *st, size_t table, struct total *out, struct err *err)
{
    struct pass p = {.table = table, .face = driver(st)->at(table), .err = err};
    bool done = driver(st)->each(st, table, &(struct store_value){.text = ""}, count_row, &p, err);
    free(p.bytes);
    *out = p.total;
    return done;
}

/* ---- copying ---- */

static bool end_batch(struct pass *p)
{
    bool open = p->open > 0;
    p->open = 0;
    return !open || store_commit(p->to, p->err);
}

static bool copy_row(void *ctx, const struct store_value *values)
{
    struct pass *p = ctx;
    if (p->open == 0 && !store_begin(p->to, p->err))
        return false;
    p->open++;
    if ((p->open == 1 && !driver(p->to)->quiet(p->to, p->err)) ||
        !driver(p->to)->put(p->to, p->table, values, p->err)) {
        store_rollback(p->to);
        p->open = 0;
        return false;
    }
    return p->open < BATCH || end_batch(p);
}

static bool note_last(void *ctx, const struct store_value *values)
{
    struct pass *p = ctx;
    char *text = values[0].text ? strdup(values[0].text) : NULL;
    free(p->bytes);
    p->bytes = text;
    p->last = (struct store_value){.text = text, .number = values[0].number};
    return true;
}

static bool copy_table(struct store *from, struct store *to, size_t table, struct err *err)
{
    const struct store_value start = {.text = ""};
    struct pass seen = {.table = table, .err = err}, p = {.to = to, .table = table, .err = err};
    p.face = seen.face = driver(from)->at(table);
    bool done = driver(to)->each(to, table, &start, note_last, &seen, err);
    done = done &&
           driver(from)->each(from, table, seen.last.text ? &seen.last : &start, copy_row, &p, err);
    if (done)
        done = end_batch(&p);
    else if (p.open > 0)
        store_rollback(to);
    free(seen.bytes);
    return done;
}

/* ---- the move ---- */

static bool is_unfinished(struct store *st, bool *yes, struct err *err)
{
    char *value;
    bool done = store_option_get(st, STORE_MOVING, &value, err);
    *yes = done && value && strcmp(value, "unfinished") == 0;
    free(value);
    return done;
}

static bool check_empty(struct store *to, struct err *err)
{
    struct total total;
    const struct store_table *t;
    for (size_t i = 0; (t = driver(to)->at(i)); i++) {
        if (!count_table(to, i, &total, err))
            return false;
        if (total.rows > 0)
            return err_set(err, ERR_INVALID,
                           "the store to move into is not empty: it has %lld rows of %s",
                           (long long)total.rows, t->name);
    }
    return true;
}

static bool compare(struct store *from, struct store *to, FILE *out, struct err *err)
{
    const struct store_table *t;
    fprintf(out, "%-12s %12s  %s\n", "table", "rows", "sha256");
    for (size_t i = 0; (t = driver(from)->at(i)); i++) {
        struct total a, b;
        char hash[SHA256_HEX_SIZE];
        if (!count_table(from, i, &a, err) || !count_table(to, i, &b, err))
            return false;
        sha256_hex(a.hash, hash);
        fprintf(out, "%-12s %12lld  %.16s\n", t->name, (long long)a.rows, hash);
        if (a.rows != b.rows)
            return err_set(err, ERR_IO, "%s has %lld rows, and %lld where it was moved to", t->name,
                           (long long)a.rows, (long long)b.rows);
        if (memcmp(a.hash, b.hash, sizeof a.hash) != 0)
            return err_set(err, ERR_IO, "the rows of %s differ where they were moved to", t->name);
    }
    return true;
}

bool move_rows(struct store *from, struct store *to, FILE *out, struct err *err)
{
    bool goes_on, half;
    if (!is_unfinished(from, &half, err) || !is_unfinished(to, &goes_on, err))
        return false;
    if (half)
        return err_set(err, ERR_INVALID, "the store to move from is itself an unfinished move's");
    if (!goes_on &&
        (!check_empty(to, err) || !store_option_set(to, STORE_MOVING, "unfinished", err)))
        return false;
    const struct store_table *t;
    for (size_t i = 0; (t = driver(from)->at(i)); i++)
        if (!copy_table(from, to, i, err))
            return false;
    return compare(from, to, out, err) && driver(to)->finish(to, err) &&
           store_option_set(to, STORE_MOVING, "done", err);
}
