/* pulls.h: pulls that the server does, one after another, and what became of them.
 *
 * The list outlives the process, in DATA/pulls: what was under way then is stopped, and goes on
 * from where it was when somebody asks for that. Thread-safe. */
#ifndef PICTOR_SERVER_PULLS_H
#define PICTOR_SERVER_PULLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/pictor.h"
#include "server/pull/pull_source.h"

#define PULLS_MAX 64 /* in the list; of those that ended the oldest goes */
#define PULLS_REF 1024
#define PULLS_ID 24

struct registry;
struct settings;
struct pulls;

enum pulls_state {
    PULLS_WAITING,
    PULLS_FETCHING,
    PULLS_CHECKING, /* all of it came */
    PULLS_DONE,
    PULLS_FAILED,
    PULLS_STOPPED
};

/* "waiting", "fetching", ... */
const char *pulls_state_name(enum pulls_state state);

struct pulls_entry {
    char id[PULLS_ID];
    char ref[PULLS_REF];          /* as it was asked for */
    char name[PULL_SOURCE_NAME];  /* of the file; "" until it is known */
    char sha256[SHA256_HEX_SIZE]; /* that was asked for; "" */
    enum pulls_state state;
    enum pictor_kind kind; /* of what is done; before, PICTOR_KIND_UNKNOWN */
    uint64_t done, total;  /* bytes; total 0: unknown */
    double rate;           /* bytes a second, while it is fetched */
    int64_t created_ms, ended_ms; /* since 1970 */
    enum err_code fault; /* of one that failed, or of a model that cannot be painted with */
    char problem[256];
};

/* Borrows both. Returns owned. */
struct pulls *pulls_new(const struct settings *settings, struct registry *registry,
                        struct err *err);
/* Stops what runs, which goes on when it is asked for. NULL is fine. */
void pulls_free(struct pulls *p);

/* `name` and `sha256` may be "". ERR_INVALID for what is no reference; ERR_BUSY when too many
 * wait. */
bool pulls_add(struct pulls *p, const char *ref, const char *name, const char *sha256,
               struct pulls_entry *out, struct err *err);

bool pulls_get(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err);
/* The newest first; *list is malloc'd. */
bool pulls_list(struct pulls *p, struct pulls_entry **list, size_t *count, struct err *err);

/* Stops one that waits or runs: what came is kept. ERR_INVALID for one that has ended. */
bool pulls_stop(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err);
/* One that failed or was stopped goes on. ERR_INVALID for others. */
bool pulls_resume(struct pulls *p, const char *id, struct pulls_entry *out, struct err *err);
/* Takes one that does not run off the list, and what came of it off the disk; what is done
 * stays. */
bool pulls_remove(struct pulls *p, const char *id, struct err *err);

#endif
