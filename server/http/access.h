/* access.h: who may ask for what, before a handler runs.
 *
 * Three gates. Host: a name that somebody else's DNS points at this machine must not reach a
 * server that trusts its own machine (DNS rebinding). Origin: a page of another site must not
 * change anything here with the visitor's rights (CSRF), unless cors_origins names it. Key: every
 * route but the open ones, as soon as there are keys or api_auth. Thread-safe; no state. */
#ifndef PICTOR_SERVER_ACCESS_H
#define PICTOR_SERVER_ACCESS_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/store/keys.h"

struct settings;

/* What of a request the gates look at; NULL: the header is absent. */
struct access_request {
    const char *method, *host, *origin, *fetch_site, *authorization;
};

/* With a loopback address only its own names and allowed_hosts are answered. With another one also
 * addresses (DNS leads to none), and any name as long as there is no list and a key is needed. */
bool access_check_host(const struct settings *s, bool loopback, const struct access_request *r,
                       struct err *err);

/* Whether the page at r->origin may read answers: cors_origins has it or "*". */
bool access_is_cors(const struct settings *s, const struct access_request *r);

bool access_check_origin(const struct settings *s, const struct access_request *r, struct err *err);

struct access_grant {
    bool required;   /* the server asks for keys at all */
    struct key key;  /* whose request it is; id "" when not required, or for api_auth */
    bool admin;      /* may see and manage everybody's jobs */
    bool challenged; /* denied because nothing was presented */
};

/* Bearer KEY, Basic USER:PASS of api_auth, or Basic with a key as the password. ERR_DENIED. */
bool access_check_key(const struct settings *s, struct keys *keys, const struct access_request *r,
                      struct access_grant *out, struct err *err);

#endif
