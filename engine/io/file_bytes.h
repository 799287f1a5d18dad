/* file_bytes.h: the bytes of a file of weights: mapped, or read piece by piece where the file must
 * not be able to kill the process (another process may shorten a mapped file), or already in
 * memory. */
#ifndef PICTOR_ENGINE_IO_FILE_BYTES_H
#define PICTOR_ENGINE_IO_FILE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

/* {0} is no file; file_bytes_close is fine with it. */
struct file_bytes {
    const unsigned char *data; /* the whole file; NULL: not mapped, read from `fd` */
    size_t size;
    bool mapped;
    int fd; /* borrowed, of a file that is not mapped; or -1 */
};

/* Maps the file; `fd` may be closed afterwards. */
bool file_bytes_map(struct file_bytes *b, int fd, struct err *err);

/* Maps nothing. Borrows `fd`. */
bool file_bytes_unmapped(struct file_bytes *b, int fd, struct err *err);

/* Borrows `data`. */
void file_bytes_memory(struct file_bytes *b, const void *data, size_t size);

void file_bytes_close(struct file_bytes *b);

/* Copies `bytes` from `from` on; an error where the file has fewer, or fewer than it had. */
bool file_bytes_read(const struct file_bytes *b, size_t from, void *to, size_t bytes,
                     struct err *err);

/* Gives back the memory of bytes that were read, if they lie in this mapping; reading them again is
 * fine, but slower. */
void file_bytes_release(const struct file_bytes *b, const void *data, size_t bytes);

#endif
