/* facts.h: what the headers of model files say, remembered by path and version, so that a start
 * with thousands of files reads none of them again: in memory, and in DATA/model-facts, a line a
 * file. What is in there is forgotten when another build of the program reads it: it may
 * know more kinds of models. Thread-safe, but for facts_new and facts_free. */
#ifndef PICTOR_SERVER_FACTS_H
#define PICTOR_SERVER_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

struct facts_store;

struct facts {
    struct pictor_file_info info;
    enum err_code fault; /* why it cannot be used, ERR_INVALID or ERR_UNSUPPORTED; or ERR_NONE */
    char problem[256];
};

/* Which version of the file at a path; size and time are of all files of a folder. */
struct facts_version {
    uint64_t size, inode;
    int64_t mtime_ms;
};

/* Reads `path`, which need not exist; one that is broken counts as empty, and is logged. Returns
 * owned. */
struct facts_store *facts_new(const char *path, struct err *err);
/* Writes what is new. NULL is fine. */
void facts_free(struct facts_store *s);

/* Whether the facts of this version of the file are known without reading it. */
bool facts_known(struct facts_store *s, const char *path, struct facts_version version,
                 struct facts *out);

/* The same, reading the file where they are not known. Fails for what passes: a disk that cannot
 * be read, no descriptors. */
bool facts_of(struct facts_store *s, const char *path, struct facts_version version,
              struct facts *out, struct err *err);

/* Writes what is new since the last time. A failure is logged: nothing is lost but time. */
void facts_save(struct facts_store *s);

#endif
