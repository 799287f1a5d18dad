/* remote_files.h: the files that a worker has from its server, by what is in them.
 *
 *     FOLDER/SHA256       whole and checked; read only from then on
 *     FOLDER/SHA256.part  on its way; goes on where it ended, and is locked by who fetches it
 *
 * Names are the SHA-256 alone, so nothing that a server says becomes a path. Several workers of a
 * machine share the folder: one fetches a file, the others wait for it. A file that is removed to
 * make room is still there for who has it open. Waits; any thread. */
#ifndef PICTOR_SERVER_REMOTE_FILES_H
#define PICTOR_SERVER_REMOTE_FILES_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/remote/remote_order.h"

struct remote_files {
    const char *folder; /* is made when it is missing */
    uint64_t limit;     /* bytes of all files */
};

/* The file, open to be read; -1: ERR_CANCELLED once *stop, ERR_TOO_LARGE when the limit has no room
 * for it, ERR_INVALID when what came is another file, and what fetch_file says. `url` is where it
 * is to be had, with `key`. */
int remote_files_get(const struct remote_files *files, const struct remote_file *file,
                     const char *url, const char *key, const atomic_bool *stop, struct err *err);

/* Adds the SHA-256 of those that are whole to an array, of very many only some. */
#define REMOTE_FILES_LISTED 500
struct cJSON;
void remote_files_list(const struct remote_files *files, struct cJSON *out);

#endif
