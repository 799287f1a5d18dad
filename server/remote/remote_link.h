/* remote_link.h: where the server is, and who this worker is there. Immutable. */
#ifndef PICTOR_SERVER_REMOTE_LINK_H
#define PICTOR_SERVER_REMOTE_LINK_H

#include "server/paint/afar.h"

#define REMOTE_URL_SIZE 1024
#define REMOTE_BASE_SIZE 512

struct remote_link {
    char base[REMOTE_BASE_SIZE]; /* without a '/' at its end */
    const char *key;             /* or "" */
    char name[AFAR_NAME_MAX + 1];
};

/* `url` must be http:// or https:// and have no user, query or fragment; `name` NULL: that of this
 * machine, and a number. Borrows the key. */
bool remote_link_init(struct remote_link *link, const char *url, const char *key, const char *name,
                      struct err *err);

/* BASE/api/worker/... */
void remote_link_url(const struct remote_link *link, char out[REMOTE_URL_SIZE], const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* Whether the key would travel in the clear. */
bool remote_link_is_open(const struct remote_link *link);

#endif
