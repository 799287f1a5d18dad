/* registry_hash.h: the SHA-256 of a model's file, kept by its path, size and time. Thread-safe as
 * the functions of `hashes` are. */
#ifndef PICTOR_SERVER_REGISTRY_HASH_H
#define PICTOR_SERVER_REGISTRY_HASH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/job/registry.h"

/* Sets `m`'s hash to the one that was kept; false: there is none of a file of its size and time. */
bool registry_hash_recall(const struct registry_hashes *hashes, struct registry_model *m,
                          const char *path);

/* Files that could not be read, the last few of them; zeroed but for its lock. */
#define REGISTRY_HASH_BAD 8
#define REGISTRY_HASH_BAD_MS 60000 /* then one is tried anew */
struct registry_hash_bad {
    pthread_mutex_t lock;
    struct {
        uint64_t path; /* a hash */
        int64_t at_ms; /* now_ms; 0: none */
        struct err why;
    } files[REGISTRY_HASH_BAD];
};
/* Whether it was one of them within the last minute. */
bool registry_hash_is_bad(struct registry_hash_bad *bad, const char *path, struct err *err);

/* Reads the file for it, and keeps it. False, with a line in the log and noted in `bad`: it cannot
 * be read; false also when it is not as `m` has it any more, or *stop. */
bool registry_hash_read(const struct registry_hashes *hashes, struct registry_model *m,
                        const char *path, const atomic_bool *stop,
                        struct registry_hash_bad *bad);

#endif
