/* access.h: whether a request may come in at all, before its key is looked at.
 *
 * Two gates. Host: a name that somebody else's DNS points at this machine must not reach a
 * server that trusts its own machine (DNS rebinding). Origin: a page of another site must not
 * change anything here with the visitor's rights (CSRF), unless cors_origins names it. The third
 * gate, the key, is handed to http_start. Thread-safe; no state. */
#ifndef PICTOR_SERVER_ACCESS_H
#define PICTOR_SERVER_ACCESS_H

#include <stdbool.h>

#include "engine/base/err.h"

struct settings;

/* What of a request the gates look at; NULL: the header is absent. */
struct access_request {
    const char *method, *host, *origin, *fetch_site, *authorization, *api_key;
    const char *remote;        /* the address that the connection comes from */
    const char *user, *secret; /* what a proxy says: forward_auth_header, X-Pictor-Secret */
    bool throttled;            /* no password is tried: too many from there were wrong */
};

/* With a loopback address only its own names and allowed_hosts are answered. With another one also
 * addresses (DNS leads to none) and names that nobody can register (`pictor`, `box.local`,
 * `host.docker.internal`), and any name as long as there is no list and a key is needed. */
bool access_check_host(const struct settings *s, bool loopback, const struct access_request *r,
                       struct err *err);

/* Whether the page at r->origin may read answers: cors_origins has it or "*". */
bool access_is_cors(const struct settings *s, const struct access_request *r);

bool access_check_origin(const struct settings *s, const struct access_request *r, struct err *err);

#define ACCESS_KEY_ID_SIZE 33

/* What the key of a request allows. */
struct access_grant {
    char key_id[ACCESS_KEY_ID_SIZE]; /* "": nobody's, when the server asks for no keys */
    bool admin;                      /* may see and manage everybody's jobs */
    bool worker;                     /* opens the workers' routes, and no others */
    bool limited;                    /* answers that paint tell of its quotas */
};

/* Whether such a key opens a route that is for administrators, for workers, or for everybody. */
bool access_check_right(const struct access_grant *grant, bool admin, bool worker, struct err *err);

#endif
