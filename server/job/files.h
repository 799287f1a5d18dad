/* files.h: the files of one kind that is no model (LoRAs, VAEs, upscalers...) by name, in all the
 * folders that hold the kind (server/job/folders.h); a folder that is not there is empty.
 *
 * A file is named as models are, by its place below its folder without the ending. The folders are
 * scanned for names that are not known and for lists, at most once a second, less often where it
 * takes long, and when a file is gone; what is known costs no scan. Thread-safe. */
#ifndef PICTOR_SERVER_FILES_H
#define PICTOR_SERVER_FILES_H

#include <limits.h>

#include "server/job/folders.h"
#include "server/job/registry_scan.h"

struct files;

struct registry;

/* Borrows the folders, and the registry, in whose folders of models some may lie as well (NULL:
 * none do); scans nothing yet. Returns owned. */
struct files *files_new(struct folders *folders, enum folders_kind kind, struct registry *registry,
                        struct err *err);
void files_free(struct files *f); /* NULL is fine */

/* Looks at the folders now. On failure what was known stays. */
bool files_refresh(struct files *f, struct err *err);

/* A copy of what there is; entries whose `same` is not their own index are other names of a file.
 * Of those that were read, which is known by `was_read`, architecture is what they go with, and
 * `fault` and `problem` say what is wrong. A list reads headers for a while; what is left then is
 * read by the next. registry_scan_free(out). */
bool files_list(struct files *f, struct registry_table *out, struct err *err);

/* "style" of "anime/style": what prompts and lists call it. */
const char *files_stem(const struct registry_entry *entry);

/* The path of the one of this whole name, or the first with this stem, or the only LoRA that its
 * trainer called so; ERR_NOT_FOUND. */
bool files_find(struct files *f, const char *name, char path[PATH_MAX], struct err *err);

/* The same of a name that may have one of the kind's endings. */
bool files_find_file(struct files *f, const char *name, char path[PATH_MAX], struct err *err);

/* An open file and which version of it that is, for a worker that keeps what it has read. */
struct files_open {
    int fd;
    uint64_t size;
    int64_t mtime_ms;
};

/* files_find, opened to be read. The caller closes out->fd. ERR_BUSY without descriptors. */
bool files_open(struct files *f, const char *name, struct files_open *out, struct err *err);

#endif
