/* pull_set.h: what one reference fetches: a file or a folder, and the parts that a short name
 * brings with it. Each is found first, so that all sizes are known before anything comes; then the
 * parts come, and what wants them last. A part that is there already, whatever brought it, stays.
 * No state; any thread. */
#ifndef PICTOR_SERVER_PULL_SET_H
#define PICTOR_SERVER_PULL_SET_H

#include "server/pull/pull.h"
#include "server/pull/pull_catalogue.h"

#define PULL_SET_MAX (PULL_CATALOGUE_NEEDS + 1)

struct pull_set {
    /* The first is what was asked for. */
    struct pull_source items[PULL_SET_MAX];
    const struct pull_catalogue_entry *known[PULL_SET_MAX]; /* NULL: no short name */
    size_t count;
    uint64_t size; /* of all; 0: not known */
};

/* Finds all of it. items[0] holds what pull_find wants to be set. A SHA-256 is one file's: with
 * parts it is ERR_INVALID. To be freed also where it fails. */
bool pull_set_find(struct pull_set *set, const struct settings *settings, const char *ref,
                   struct err *err);

/* Fetches it; progress is that of all. *out: of the first, but for a part's problem, if it has
 * none. */
bool pull_set_run(const struct settings *settings, const struct pull_set *set,
                  const struct pull_watch *watch, struct pull_result *out, struct err *err);

/* Removes what a pull of `ref` that was given up has left; `name`: of its first. */
bool pull_set_forget(const struct settings *settings, const char *ref, const char *name,
                     struct err *err);

void pull_set_free(struct pull_set *set);

#endif
