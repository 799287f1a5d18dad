#include "engine/io/file_bytes.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/raw_tensor.h"

/* Not by fstat: its system call also takes paths, which a sandbox cannot tell apart. */
static bool size_of(int fd, size_t *size, struct err *err)
{
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return err_set(err, ERR_INVALID, "not a file");
    *size = (size_t)end;
    return true;
}

bool file_bytes_map(struct file_bytes *b, int fd, struct err *err)
{
    size_t size = 0;
    *b = (struct file_bytes){.fd = -1};
    if (!size_of(fd, &size, err))
        return false;
    if (!size) {
        b->data = (const unsigned char *)"";
        return true;
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_set(err, ERR_IO, "cannot map %zu bytes: %s", size, strerror(errno));
    *b = (struct file_bytes){data, size, true, -1};
    return true;
}

bool file_bytes_unmapped(struct file_bytes *b, int fd, struct err *err)
{
    *b = (struct file_bytes){.fd = fd};
    return size_of(fd, &b->size, err);
}

void file_bytes_memory(struct file_bytes *b, const void *data, size_t size)
{
    *b = (struct file_bytes){data, size, false, -1};
}

void file_bytes_close(struct file_bytes *b)
{
    if (b->mapped)
        munmap((void *)b->data, b->size);
    *b = (struct file_bytes){.fd = -1};
}

bool file_bytes_read(const struct file_bytes *b, size_t from, void *to, size_t bytes,
                     struct err *err)
{
    if (from > b->size || bytes > b->size - from)
        return err_set(err, ERR_INVALID, "cut short: wanted %zu bytes at %zu, the file has %zu",
                       bytes, from, b->size);
    if (!b->data)
        return raw_tensor_read_at(b->fd, from, to, bytes, err);
    if (bytes)
        memcpy(to, b->data + from, bytes);
    return true;
}

void file_bytes_release(const struct file_bytes *b, const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t first = (at + page - 1) / page * page, last = (at + bytes) / page * page;
    bool inside = at >= (uintptr_t)b->data && at - (uintptr_t)b->data < b->size;
    if (b->mapped && inside && first < last)
        madvise((void *)first, last - first, MADV_DONTNEED);
}
