/* pull.h: fetches a model file, or one of another kind, into the folder of its kind.
 *
 * The file grows as NAME.safetensors.part in the models folder and gets its name when it is one:
 * complete, with a sound header, of the size and the SHA-256 that were promised. Beside it lies
 * NAME.safetensors.part.etag: which version of which address the part is of, so that a second call
 * goes on where the first one stopped and never glues two files together. What is fetched is data;
 * it is only read by the engine's checked readers. No state; any thread. */
#ifndef PICTOR_SERVER_PULL_H
#define PICTOR_SERVER_PULL_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/pictor.h"
#include "server/pull/pull_source.h"

struct settings;

struct pull_watch {
    /* May be NULL. `total` 0: unknown. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    const atomic_bool *stop; /* once true it ends with ERR_CANCELLED; may be NULL */
};

struct pull_result {
    char path[PATH_MAX];
    char sha256[SHA256_HEX_SIZE]; /* "" of what was there */
    bool was_there;
    enum pictor_kind kind;
    struct err problem; /* of a model that cannot be painted with; ERR_NONE */
};

/* Takes what a reference says it is: a short name's own name and hash, unless the source has them
 * already. Asks hubs where the reference is one. */
bool pull_find(struct pull_source *s, const struct settings *settings, const char *ref,
               struct err *err);

/* Fetches it. What came so far is kept where the transfer broke or was stopped, and goes where it
 * is not what was promised. */
bool pull_run(const struct settings *settings, const struct pull_source *s,
              const struct pull_watch *watch, struct pull_result *out, struct err *err);

/* Removes what a pull that was given up has left. ERR_BUSY while one writes it. */
bool pull_forget(const struct settings *settings, const char *name, struct err *err);

#endif
