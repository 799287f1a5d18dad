/* registry_hash.h: the SHA-256 of a model's file, kept by its path, size and time. Thread-safe as
 * the functions of `hashes` are. */
#ifndef PICTOR_SERVER_REGISTRY_HASH_H
#define PICTOR_SERVER_REGISTRY_HASH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/job/registry.h"

/* Sets `m`'s hash to the one that was kept; false: there is none of a file of its size and time. */
bool registry_hash_recall(const struct registry_hashes *hashes, struct registry_model *m,
                          const char *path);

/* Reads the file for it, and keeps it. False, with a line in the log: it cannot be read; false also
 * when it is not as `m` has it any more, or *stop. */
bool registry_hash_read(const struct registry_hashes *hashes, struct registry_model *m,
                        const char *path, const atomic_bool *stop);

#endif
