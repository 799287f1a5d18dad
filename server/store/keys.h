/* keys.h: API keys, who may use the server.
 *
 * A key is "pk_" and 64 hex digits (32 random bytes), shown once. The store has its SHA-256: the
 * key is as random as the hash is long, so nothing slower is needed against guessing. Every check
 * asks the store, so `pictor keys` works beside a running server. Thread-safe. */
#ifndef PICTOR_SERVER_KEYS_H
#define PICTOR_SERVER_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define KEYS_ID_SIZE 33    /* fits job.key_id; 16 hex digits and NUL */
#define KEYS_NAME_SIZE 65  /* 1..64 bytes, no control characters, and NUL */
#define KEYS_PLAIN_SIZE 68 /* "pk_", 64 hex digits and NUL */

#define KEYS_WEIGHT_MOST 1000
#define KEYS_AMOUNT_MOST INT64_C(1000000000000) /* of a limit, in its unit */

/* What a key may use in a day or a month (UTC); 0: as much as it likes. */
struct key_limit {
    int64_t pictures;
    int64_t work;  /* millions of pixels times steps */
    int64_t money; /* millionths, spent at upstreams */
};

/* Its share of the painters, beside other keys' (1 is usual), and its limits. */
struct key_share {
    int weight; /* 1..KEYS_WEIGHT_MOST */
    struct key_limit day, month;
};

struct key {
    char id[KEYS_ID_SIZE]; /* not secret */
    char name[KEYS_NAME_SIZE];
    bool admin;  /* sees and manages everybody's jobs; others paint and see their own */
    bool worker; /* paints for others, on a machine of its own, and does nothing else */
    int64_t created_ms;
    int64_t revoked_ms; /* 0: valid */
    struct key_share share;
};

enum keys_scope { KEYS_PAINT, KEYS_ADMIN, KEYS_WORKER };

struct store;
struct keys;

struct keys *keys_new(struct store *store, struct err *err); /* borrows the store */
void keys_free(struct keys *keys);

/* `plain` is the only copy of the key there will ever be; `out` may be NULL. No two valid keys have
 * the same name, so that a name says which to revoke: ERR_INVALID. */
bool keys_create(struct keys *keys, const char *name, enum keys_scope scope,
                 char plain[KEYS_PLAIN_SIZE], struct key *out, struct err *err);
/* With a share of its own. */
bool keys_create_with(struct keys *keys, const char *name, enum keys_scope scope,
                      const struct key_share *share, char plain[KEYS_PLAIN_SIZE], struct key *out,
                      struct err *err);
#define KEYS_SHARE_USUAL ((struct key_share){.weight = 1})

/* What counts from now on. By id or name; errors as of keys_revoke. */
bool keys_find(struct keys *keys, const char *id_or_name, struct key *out, struct err *err);
bool keys_set_share(struct keys *keys, const char *id, const struct key_share *share,
                    struct err *err);
/* Whether it has any limit. */
bool keys_is_limited(const struct key_share *share);

/* One of its numbers by the name that people know it by: "weight", "pictures_per_day",
 * "megapixel_steps_per_day", "money_per_day", and likewise "per_month"; from and to what
 * people write (money is not in millionths). NULL past the end. */
const char *keys_share_name(size_t i);
double keys_share_get(const struct key_share *share, size_t i);
bool keys_share_set(struct key_share *share, size_t i, double value, struct err *err);

/* Oldest first, revoked ones too; *list is malloc'd. */
bool keys_list(struct keys *keys, struct key **list, size_t *count, struct err *err);

/* By id or name. ERR_NOT_FOUND, ERR_INVALID when valid keys of an older pictor share the name. */
bool keys_revoke(struct keys *keys, const char *id_or_name, struct err *err);

/* Whether the key with this id was revoked; false where there is none, and when the store cannot be
 * read. */
bool keys_is_revoked(struct keys *keys, const char *id);

/* Whose key this is. ERR_DENIED for an unknown, revoked or malformed one, ERR_IO when the store
 * cannot be read. Compared in constant time. `presented` may be NULL: denied. */
bool keys_check(struct keys *keys, const char *presented, struct key *out, struct err *err);

/* The key of a user whom a proxy in front has let in; made when it is seen first, called
 * "user:NAME", and valid until it is revoked. Nobody can present it: what its hash is of
 * holds a zero byte. ERR_DENIED when it was revoked, or the name is none. */
bool keys_user(struct keys *keys, const char *user, struct key *out, struct err *err);

/* Whether requests need a key: once there is a row, also a revoked one, so that revoking the last
 * key closes the server instead of opening it. Fails closed: true when the store cannot be read,
 * which `err` (may be NULL) tells then and is ERR_NONE otherwise; and a damaged row opens nothing
 * and still is a row. */
bool keys_required(struct keys *keys, struct err *err);

#endif
