/* gate.c: reads the Authorization and api-key headers and asks the keys. */
#include "server/api/gate.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/base64.h"
#include "server/base/cidr.h"
#include "server/base/settings.h"
#include "server/http/access.h"
#include "server/store/keys.h"

_Static_assert(ACCESS_KEY_ID_SIZE == KEYS_ID_SIZE, "a key's id is copied");

static bool same_secret(const char *a, const char *b)
{
    size_t n = strlen(a);
    return n == strlen(b) && CRYPTO_memcmp(a, b, n) == 0;
}

/* The part after "scheme ", or NULL. */
static const char *credentials(const char *authorization, const char *scheme)
{
    size_t n = strlen(scheme);
    if (!authorization || strncasecmp(authorization, scheme, n) != 0 || authorization[n] != ' ')
        return NULL;
    return authorization + n + strspn(authorization + n, " ");
}

static bool check_basic(const struct settings *s, struct keys *keys, const char *encoded,
                        bool throttled, struct key *out, struct err *err)
{
    uint8_t *text = NULL;
    size_t size;
    bool ok = false;
    if (!base64_decode(encoded, strlen(encoded), &text, &size, NULL))
        return err_set(err, ERR_DENIED, "Invalid authentication credentials");
    char *pair = strndup((char *)text, size);
    char *colon = pair ? strchr(pair, ':') : NULL;
    if (!colon) {
        err_set(err, ERR_DENIED, "Invalid authentication credentials");
        goto done;
    }
    for (size_t i = 0; i < s->api_auth.count && !throttled; i++)
        ok |= same_secret(s->api_auth.items[i], pair);
    if (!ok) {
        ok = keys_check(keys, colon + 1, out, err);
        if (!ok && err->code == ERR_DENIED)
            err_set(err, ERR_DENIED, "Incorrect username or password");
    }
done:
    if (text)
        OPENSSL_cleanse(text, size);
    if (pair)
        OPENSSL_cleanse(pair, strlen(pair));
    free(pair);
    free(text);
    return ok;
}

static bool list_has(const struct setting_list *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], word) == 0)
            return true;
    return false;
}

/* Somebody who says who he is, and is the proxy: by his address and the secret. */
static bool check_user(const struct settings *s, struct keys *keys, const struct access_request *r,
                       struct access_grant *out, struct err *err)
{
    struct key key;
    bool near = false;
    for (size_t i = 0; i < s->forward_auth_proxies.count; i++)
        near |= cidr_has(s->forward_auth_proxies.items[i], r->remote);
    if (!near)
        return err_set(err, ERR_DENIED,
                       "%s is taken from the addresses in forward_auth_proxies alone, not from "
                       "%.45s",
                       s->forward_auth_header, r->remote);
    if (!r->secret || !same_secret(s->forward_auth_secret, r->secret))
        return err_set(err, ERR_DENIED,
                       "%s is taken with the proxy's secret alone, which X-Pictor-Secret %s",
                       s->forward_auth_header, r->secret ? "is not" : "must have");
    if (!keys_user(keys, r->user, &key, err))
        return false;
    out->admin = key.admin || list_has(&s->forward_auth_admins, r->user);
    out->limited = keys_is_limited(&key.share);
    memcpy(out->key_id, key.id, sizeof key.id);
    return true;
}

bool gate_check(const struct settings *s, struct keys *keys, const struct access_request *r,
                struct access_grant *out, struct err *err)
{
    *out = (struct access_grant){0};
    struct err unreadable;
    bool forwarded = *s->forward_auth_header != '\0';
    if (!keys_required(keys, &unreadable) && s->api_auth.count == 0 && !forwarded) {
        out->admin = out->worker = true;
        return true;
    }
    if (unreadable.code != ERR_NONE)
        return err_copy(err, &unreadable);
    const char *bearer = r->authorization ? credentials(r->authorization, "Bearer") : r->api_key;
    const char *basic = credentials(r->authorization, "Basic");
    struct key key = {0}; /* of api_auth there is none */
    bool ok;
    if (bearer) {
        ok = keys_check(keys, bearer, &key, err);
    } else if (basic) {
        ok = check_basic(s, keys, basic, r->throttled, &key, err);
    } else if (forwarded && r->user) {
        return check_user(s, keys, r, out, err);
    } else {
        return err_set(err, ERR_DENIED,
                       "this server needs a key: send the header Authorization: Bearer KEY");
    }
    out->admin = ok && key.admin;
    out->worker = ok && key.worker;
    out->limited = ok && keys_is_limited(&key.share);
    memcpy(out->key_id, key.id, sizeof key.id);
    return ok;
}
