/* small_file.h: the one way to read a file that other people may have put where it lies: what
 * stands beside models, lists of other programs, what an earlier run has left. It may be a pipe, a
 * device, a folder, a link in a circle, or as large as the disk, and none of these keeps anybody
 * waiting or fills the memory. Links are followed. No state; any thread. */
#ifndef PICTOR_SERVER_SMALL_FILE_H
#define PICTOR_SERVER_SMALL_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "engine/base/err.h"

/* All of it, with a NUL behind it; *size (may be NULL) is without that. Owned; NULL: ERR_NOT_FOUND,
 * ERR_INVALID for what is no file, ERR_TOO_LARGE above `most` bytes, ERR_BUSY without descriptors,
 * ERR_IO. */
char *small_file_read(const char *path, size_t most, size_t *size, struct err *err);

/* The same as a stream, which whoever writes the file meanwhile may make longer. The caller closes
 * it. */
FILE *small_file_open(const char *path, size_t most, struct err *err);

#endif
