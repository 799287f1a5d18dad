/* keys.c: makes, finds and revokes keys; the rows are the store's. */
#include "server/store/keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/store/store.h"

#define PREFIX "pk_"
#define SECRET_DIGITS 64
#define ID_DIGITS 16
#define USER "user"
#define USER_MAX (int)(KEYS_NAME_SIZE - sizeof USER - 1)

_Static_assert(KEYS_PLAIN_SIZE == sizeof PREFIX + SECRET_DIGITS, "a plain key fits its buffer");
_Static_assert(SHA256_SIZE == STORE_HASH_SIZE, "the store keeps a whole hash");

struct keys {
    struct store *store;
};

struct keys *keys_new(struct store *store, struct err *err)
{
    struct keys *keys = malloc(sizeof *keys);
    if (keys)
        *keys = (struct keys){store};
    else
        err_set(err, ERR_INTERNAL, "no memory for keys");
    return keys;
}

void keys_free(struct keys *keys)
{
    free(keys);
}

static bool is_name(const char *name, size_t most)
{
    size_t length = strlen(name);
    bool printable = length <= most && json_text_is_utf8(name, length, NULL);
    for (size_t i = 0; i < length; i++)
        printable &= (unsigned char)name[i] >= ' ' && name[i] != 0x7f;
    return printable;
}

/* ---- shares ---- */

#define MONEY 1e6

/* In the order of keys_share_name; the weight is before them. */
static const struct {
    const char *name;
    bool month;
    size_t offset;
} limits[] = {
    {"pictures_per_day", false, offsetof(struct key_limit, pictures)},
    {"pictures_per_month", true, offsetof(struct key_limit, pictures)},
    {"megapixel_steps_per_day", false, offsetof(struct key_limit, work)},
    {"megapixel_steps_per_month", true, offsetof(struct key_limit, work)},
    {"money_per_day", false, offsetof(struct key_limit, money)},
    {"money_per_month", true, offsetof(struct key_limit, money)},
};
#define LIMITS (sizeof limits / sizeof *limits)

const char *keys_share_name(size_t i)
{
    return i == 0 ? "weight" : i <= LIMITS ? limits[i - 1].name : NULL;
}

static int64_t *limit_at(struct key_share *share, size_t i)
{
    struct key_limit *of = limits[i - 1].month ? &share->month : &share->day;
    return (int64_t *)((char *)of + limits[i - 1].offset);
}

static double unit_of(size_t i)
{
    return limits[i - 1].offset == offsetof(struct key_limit, money) ? MONEY : 1;
}

double keys_share_get(const struct key_share *share, size_t i)
{
    struct key_share copy = *share;
    return i == 0 ? copy.weight : (double)*limit_at(&copy, i) / unit_of(i);
}

bool keys_share_set(struct key_share *share, size_t i, double value, struct err *err)
{
    double least = i == 0 ? 1 : 0, unit = i == 0 ? 1 : unit_of(i);
    double most = i == 0 ? KEYS_WEIGHT_MOST : (double)KEYS_AMOUNT_MOST / unit;
    bool whole = unit > 1 || value == floor(value);
    if (!(value >= least && value <= most) || !whole)
        return err_set(err, ERR_INVALID, "%s must be a%s number of %.0f..%.0f, got %g",
                       keys_share_name(i), unit > 1 ? "" : " whole", least, most, value);
    if (i == 0)
        share->weight = (int)value;
    else
        *limit_at(share, i) = llround(value * unit);
    return true;
}

bool keys_is_limited(const struct key_share *share)
{
    for (size_t i = 1; i <= LIMITS; i++)
        if (keys_share_get(share, i) > 0)
            return true;
    return false;
}

bool keys_set_share(struct keys *keys, const char *id, const struct key_share *share,
                    struct err *err)
{
    return store_key_set(keys->store, id, share, err);
}

bool keys_create(struct keys *keys, const char *name, enum keys_scope scope,
                 char plain[KEYS_PLAIN_SIZE], struct key *out, struct err *err)
{
    return keys_create_with(keys, name, scope, &KEYS_SHARE_USUAL, plain, out, err);
}

bool keys_create_with(struct keys *keys, const char *name, enum keys_scope scope,
                      const struct key_share *share, char plain[KEYS_PLAIN_SIZE], struct key *out,
                      struct err *err)
{
    struct key key = {.admin = scope == KEYS_ADMIN,
                      .worker = scope == KEYS_WORKER,
                      .created_ms = now_unix_ms(),
                      .share = *share};
    unsigned char hash[SHA256_SIZE];
    size_t length = strlen(name);
    if (!length || !is_name(name, sizeof key.name - 1))
        return err_set(err, ERR_INVALID,
                       "a key's name must be 1..%zu bytes without control "
                       "characters, in UTF-8",
                       sizeof key.name - 1);
    memcpy(key.name, name, length);
    memcpy(plain, PREFIX, sizeof PREFIX);
    if (!ids_random(plain + sizeof PREFIX - 1, SECRET_DIGITS, err) ||
        !ids_random(key.id, ID_DIGITS, err) ||
        !sha256_bytes(plain, KEYS_PLAIN_SIZE - 1, hash, err) ||
        !store_key_insert(keys->store, &key, hash, err))
        return false;
    if (out)
        *out = key;
    return true;
}

/* ---- lists ---- */

struct listing {
    struct key *list;
    size_t count;
    bool no_memory;
};

static bool add_to_list(void *ctx, const struct key *key, const unsigned char *hash)
{
    struct listing *l = ctx;
    struct key *list = realloc(l->list, (l->count + 1) * sizeof *list);
    l->no_memory = !list;
    if (!list)
        return false;
    l->list = list;
    list[l->count++] = *key;
    return true;
}

bool keys_list(struct keys *keys, struct key **list, size_t *count, struct err *err)
{
    struct listing l = {0};
    bool done = store_key_each(keys->store, NULL, add_to_list, &l, err);
    if (done && l.no_memory)
        done = err_set(err, ERR_INTERNAL, "no memory for a list of keys");
    if (!done) {
        free(l.list);
        l = (struct listing){0};
    }
    *list = l.list;
    *count = l.count;
    return done;
}

bool keys_find(struct keys *keys, const char *id_or_name, struct key *out, struct err *err)
{
    struct key *list;
    size_t count, matches = 0;
    if (!keys_list(keys, &list, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (list[i].revoked_ms)
            continue;
        if (strcmp(list[i].id, id_or_name) == 0) {
            *out = list[i];
            matches = 1;
            break;
        }
        if (strcmp(list[i].name, id_or_name) == 0) {
            *out = list[i];
            matches++;
        }
    }
    bool done = matches == 1;
    if (matches > 1)
        err_set(err, ERR_INVALID, "%zu keys are called \"%.64s\": give the id", matches,
                id_or_name);
    else if (!done)
        err_set(err, ERR_NOT_FOUND, "there is no valid key \"%.64s\"", id_or_name);
    free(list);
    return done;
}

bool keys_revoke(struct keys *keys, const char *id_or_name, struct err *err)
{
    struct key key;
    return keys_find(keys, id_or_name, &key, err) &&
           store_key_revoke(keys->store, key.id, now_unix_ms(), err);
}

bool keys_is_revoked(struct keys *keys, const char *id)
{
    struct key *list;
    struct err ignored;
    size_t count;
    bool revoked = false;
    if (!keys_list(keys, &list, &count, &ignored))
        return false;
    for (size_t i = 0; i < count; i++)
        revoked |= list[i].revoked_ms && strcmp(list[i].id, id) == 0;
    free(list);
    return revoked;
}

/* ---- checks ---- */

struct search {
    const unsigned char *hash;
    struct key *out;
    bool found;
};

static bool compare(void *ctx, const struct key *key, const unsigned char *hash)
{
    struct search *s = ctx;
    if (key->revoked_ms == 0 && sha256_equal(hash, s->hash)) {
        s->found = true;
        *s->out = *key;
    }
    return !s->found;
}

bool keys_check(struct keys *keys, const char *presented, struct key *out, struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    struct search s = {.hash = hash, .out = out};
    *out = (struct key){0};
    /* Any text is hashed, within reason: a wrong length takes no other way than a wrong key. */
    if (!presented || !*presented || strlen(presented) > 1024)
        return err_set(err, ERR_DENIED, "an API key is needed");
    if (!sha256_bytes(presented, strlen(presented), hash, err) ||
        !store_key_each(keys->store, hash, compare, &s, err))
        return false;
    return s.found || err_set(err, ERR_DENIED, "the API key is not valid");
}

/* "\0user\0NAME" */
static bool hash_user(const char *user, unsigned char hash[SHA256_SIZE], struct err *err)
{
    char text[sizeof USER + KEYS_NAME_SIZE] = {0};
    memcpy(text + 1, USER, sizeof USER - 1);
    size_t n = (size_t)snprintf(text + sizeof USER, KEYS_NAME_SIZE, "%s", user);
    return sha256_bytes(text, sizeof USER + n, hash, err);
}

struct user_search {
    const unsigned char *hash;
    struct key *out;
    bool found;
};

static bool is_user(void *ctx, const struct key *key, const unsigned char *hash)
{
    struct user_search *s = ctx;
    s->found = sha256_equal(hash, s->hash);
    if (s->found)
        *s->out = *key;
    return !s->found;
}

bool keys_user(struct keys *keys, const char *user, struct key *out, struct err *err)
{
    unsigned char hash[SHA256_SIZE];
    struct user_search s = {.hash = hash, .out = out};
    struct key key = {.created_ms = now_unix_ms(), .share = KEYS_SHARE_USUAL};
    *out = (struct key){0};
    if (!*user || !is_name(user, USER_MAX))
        return err_set(err, ERR_DENIED,
                       "the proxy names a user who is not 1..%d bytes of UTF-8 without control "
                       "characters",
                       USER_MAX);
    /* What a proxy sends that has nothing to put there, such as Caddy's {http.reverse_proxy...}. */
    if (user[0] == '{' && user[strlen(user) - 1] == '}')
        return err_set(err, ERR_DENIED, "the proxy names nobody, but its own placeholder %s", user);
    snprintf(key.name, sizeof key.name, USER ":%.*s", USER_MAX, user);
    if (!hash_user(user, hash, err) || !store_key_each(keys->store, hash, is_user, &s, err))
        return false;
    if (!s.found) {
        if (!ids_random(key.id, ID_DIGITS, err))
            return false;
        /* Another request of the same user may just have made it. */
        bool made = store_key_insert(keys->store, &key, hash, err);
        if (made) {
            *out = key;
            log_event(LOG_INFO, "user_added", "key=%s", key.id);
            return true;
        }
        if (!store_key_each(keys->store, hash, is_user, &s, err) || !s.found)
            return false;
    }
    return out->revoked_ms == 0 ||
           err_set(err, ERR_DENIED, "this user's key was revoked on this server");
}

bool keys_required(struct keys *keys, struct err *err)
{
    struct err why = {0};
    bool any = true;
    if (!store_key_any(keys->store, &any, &why)) {
        log_err(LOG_ERROR, "keys_unreadable", &why, " ");
        any = true;
    }
    if (err)
        *err = why;
    return any;
}
