/* sql_key.c: the rows of options and of keys. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/store/sql/sql.h"

/* In keys.scopes. */
#define SCOPE_PAINT 1
#define SCOPE_ADMIN 2
#define SCOPE_WORKER 4 /* alone */

/* ---- options ---- */

bool sql_option_get(struct store *st, const char *name, char **value, struct err *err)
{
    *value = NULL;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_OPTION_GET, err, "t", name);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err)) {
        *value = strdup(sql_text(s, 0));
        failed = !*value;
        if (failed)
            err_set(err, ERR_INTERNAL, "no memory for an option");
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

bool sql_option_set(struct store *st, const char *name, const char *value, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_OPTION_SET, err, "tt", name, value);
    sql_release(c);
    return done;
}

/* ---- keys ---- */

static int64_t hash_prefix(const unsigned char *hash)
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | hash[i];
    return (int64_t)n;
}

bool sql_key_insert(struct store *st, const struct key *key,
                    const unsigned char hash[STORE_HASH_SIZE], struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    int64_t scopes = key->worker  ? SCOPE_WORKER
                     : key->admin ? SCOPE_PAINT | SCOPE_ADMIN
                                  : SCOPE_PAINT;
    bool done = sql_run(c, SQL_KEY_INSERT, err, "ttiibiiiiiiii", key->id, key->name,
                        scopes, hash_prefix(hash), hash, key->created_ms,
                        (int64_t)key->share.weight,
                        key->share.day.pictures, key->share.month.pictures, key->share.day.work,
                        key->share.month.work, key->share.day.money, key->share.month.money);
    if (done && sql_changes(c) == 0)
        done = err_set(err, ERR_INVALID,
                       "there is a valid key \"%.64s\" already: take another name, or revoke it",
                       key->name);
    sql_release(c);
    return done;
}

static struct key_share share_of(struct sql_rows *s)
{
    int64_t weight = sql_int64(s, 6);
    return (struct key_share){.weight = weight < 1                  ? 1
                                        : weight > KEYS_WEIGHT_MOST ? KEYS_WEIGHT_MOST
                                                                    : (int)weight,
                              .day = {sql_int64(s, 7), sql_int64(s, 9), sql_int64(s, 11)},
                              .month = {sql_int64(s, 8), sql_int64(s, 10), sql_int64(s, 12)}};
}

bool sql_key_set(struct store *st, const char *id, const struct key_share *share, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_run(c, SQL_KEY_SET, err, "tiiiiiii", id, (int64_t)share->weight,
                        share->day.pictures, share->month.pictures, share->day.work,
                        share->month.work, share->day.money, share->month.money);
    if (done && sql_changes(c) == 0)
        done = err_set(err, ERR_NOT_FOUND, "there is no valid key \"%.40s\"", id);
    sql_release(c);
    return done;
}

bool sql_key_share(struct store *st, const char *id, struct key_share *out, struct err *err)
{
    *out = KEYS_SHARE_USUAL;
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_KEY_ONE, err, "t", id);
    bool failed = !s;
    if (s && sql_row(c, s, &failed, err))
        *out = share_of(s);
    sql_done(s);
    sql_release(c);
    return !failed;
}

bool sql_key_read(struct sql_rows *s, struct key *out)
{
    *out = (struct key){.admin = ((int)sql_int64(s, 2) & SCOPE_ADMIN) != 0,
                        .worker = ((int)sql_int64(s, 2) & SCOPE_WORKER) != 0,
                        .created_ms = sql_int64(s, 3),
                        .revoked_ms = sql_int64(s, 4),
                        .share = share_of(s)};
    return sql_copy(s, 0, out->id, sizeof out->id) && *out->id &&
           sql_copy(s, 1, out->name, sizeof out->name) && sql_hash(s, 5);
}

bool sql_key_each(struct store *st, const unsigned char *hash, store_key_fn *fn, void *ctx,
                  struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = hash ? sql_bind(c, SQL_KEY_PREFIX, err, "i", hash_prefix(hash))
                              : sql_bind(c, SQL_KEY_ALL, err, "");
    bool failed = !s, more = true;
    while (s && more && sql_row(c, s, &failed, err)) {
        struct key key;
        if (sql_key_read(s, &key))
            more = fn(ctx, &key, sql_hash(s, 5));
        else
            log_event(LOG_ERROR, "key_damaged", "hint=\"pictor fsck\"");
    }
    sql_done(s);
    sql_release(c);
    return !failed;
}

bool sql_key_any(struct store *st, bool *any, struct err *err)
{
    struct sql_connection *c = sql_reader(st);
    struct sql_rows *s = sql_bind(c, SQL_KEY_ANY, err, "");
    bool failed = !s;
    *any = s && sql_row(c, s, &failed, err) && (int)sql_int64(s, 0) != 0;
    sql_done(s);
    sql_release(c);
    return !failed;
}

bool sql_key_revoke(struct store *st, const char *id, int64_t now_ms, struct err *err)
{
    struct sql_connection *c = sql_writer(st);
    bool done = sql_save(c, err);
    if (done) {
        bool good = sql_run(c, SQL_KEY_REVOKE, err, "ti", id, now_ms);
        if (good && sql_changes(c) == 0)
            good = err_set(err, ERR_NOT_FOUND, "there is no valid key \"%.40s\"", id);
        /* What its webhooks were still to be told they are not told any more. */
        good = good &&
               sql_run(c, SQL_DELIVERIES_TOLD_OFF, err, "tt", id,
                       "the key was revoked: what was still to be told is dropped") &&
               sql_run(c, SQL_DELIVERIES_OF_KEY, err, "t", id);
        done = sql_keep(c, good, err);
    }
    sql_release(c);
    return done;
}
