/* zip.h: what lies where in a zip archive, for entries that are stored as they are: PyTorch stores
 * all of its own. Nothing is unpacked; a compressed or encrypted entry is known by its name and
 * refused when somebody wants it. */
#ifndef PICTOR_ENGINE_IO_ZIP_H
#define PICTOR_ENGINE_IO_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "engine/io/file_bytes.h"

struct zip_entry {
    char *name;
    uint64_t at, size; /* the data, checked to lie in the file and in no other entry */
    unsigned method, flags;
};

struct zip {
    struct zip_entry *entries; /* in order of name, each once */
    size_t count;
};

/* Reads the directory; zip64 too. zip_free when it is not wanted any more, also after a failure. */
bool zip_read(struct zip *z, const struct file_bytes *bytes, struct err *err);
void zip_free(struct zip *z);

/* NULL when there is none. */
const struct zip_entry *zip_find(const struct zip *z, const char *name);

/* Whether the entry's data is what it stands for; the error says how it is packed. */
bool zip_is_stored(const struct zip_entry *e, struct err *err);

#endif
