/* pull.h: fetches a model file, or one of another kind, into the folder of its kind.
 *
 * The file grows as a part in the models folder (pull_part.h) and gets its name when it is one:
 * complete, readable by the engine's reader of such files, of the size and the SHA-256 that were
 * promised. Its ending is one that is looked for in the folder of its kind.
 * No state; any thread. */
#ifndef PICTOR_SERVER_PULL_H
#define PICTOR_SERVER_PULL_H

#include <limits.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/pictor.h"
#include "server/pull/pull_part.h"
#include "server/pull/pull_source.h"

struct settings;

struct pull_result {
    char path[PATH_MAX];
    char sha256[SHA256_HEX_SIZE]; /* "" of what was there */
    bool was_there, unchecked; /* unchecked: nothing says that it is the one that was wanted */
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

/* Whether a file of this name (without an ending) is in the folder of VAEs or of text encoders,
 * whatever container it is. */
bool pull_has_part(const struct settings *settings, const char *name);

/* Removes what a pull that was given up has left. ERR_BUSY while one writes it. */
bool pull_forget(const struct settings *settings, const char *name, struct err *err);

#endif
