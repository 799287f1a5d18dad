/* wildcards.h: files of one entry a line, for __NAME__ in prompts (server/job/dynamic.h):
 * "color.txt" and "style/ink.txt" in the folder `wildcards` of the settings are called color and
 * style/ink.
 *
 * Lines are stripped; empty ones, and those that begin with '#', are no entries. Names come from
 * clients and are compared with what is there; no path is made of one. Not thread-safe: who
 * resolves a job's prompts has one of his own. */
#ifndef PICTOR_SERVER_WILDCARDS_H
#define PICTOR_SERVER_WILDCARDS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct wildcards;

/* Looks at the folder when something is asked for first; one that is not there is empty. */
struct wildcards *wildcards_new(const char *folder, struct err *err);
void wildcards_free(struct wildcards *w); /* NULL is fine */

/* Whether there is any file. */
bool wildcards_any(struct wildcards *w, bool *any, struct err *err);

/* The file of this whole name, or the first with it behind the last slash; with a '*' in it every
 * file that it fits, which stands for anything but a slash, "**" for anything. Numbers of files, in
 * order of name; the caller frees *files. ERR_NOT_FOUND: there is none. */
bool wildcards_find(struct wildcards *w, const char *name, size_t length, size_t **files,
                    size_t *count, struct err *err);

const char *wildcards_name(const struct wildcards *w, size_t file);
size_t wildcards_count(const struct wildcards *w); /* files, once something was asked for */

struct wildcards_entries {
    const char **at;
    size_t count;
};
/* Of one file, at least one; as long as `w`. */
bool wildcards_entries(struct wildcards *w, size_t file, struct wildcards_entries *out,
                       struct err *err);

#endif
