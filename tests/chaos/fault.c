/* fault.c: makes one system call below a folder fail, wherever a program makes it. Preloaded into
 * the server by test_trouble.py, which counts the calls of a job and then lets each of them fail
 * in turn, as SQLite's own tests do.
 *
 * FAULT_FOLDER is the folder; FAULT_CONTROL a file of four 64-bit numbers that both sides map:
 * calls made so far, the first call that fails (0: none), how many fail in a row, and errno. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 4096

static _Atomic int64_t *control;
static const char *folder;
static atomic_bool ours[FDS]; /* descriptors of files below the folder */

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, 4 * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return;
    close(fd);
    folder = getenv("FAULT_FOLDER");
    control = map;
}

static int fails(int counts)
{
    if (!control || !counts)
        return 0;
    int64_t call = ++control[0], first = control[1];
    if (first == 0 || call < first || call >= first + control[2])
        return 0;
    errno = (int)control[3];
    return 1;
}

static int below(const char *path)
{
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int known(int fd)
{
    return fd >= 0 && fd < FDS && ours[fd];
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int remember(int fd, const char *path)
{
    if (fd >= 0 && fd < FDS)
        ours[fd] = below(path);
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                      \
        va_end(ap);                                                                                \
        return fails(below(path)) ? -1 : remember(REAL(name)(path, flags, mode), path);            \
    }
OPEN(open)
OPEN(open64)

#define CALL(type, name, args, counts, pass)                                                       \
    type name args                                                                                 \
    {                                                                                              \
        return fails(counts) ? -1 : REAL(name) pass;                                               \
    }
CALL(ssize_t, write, (int fd, const void *data, size_t n), known(fd), (fd, data, n))
CALL(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), known(fd), (fd, data, n, at))
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t at), known(fd),
     (fd, data, n, at))
CALL(ssize_t, read, (int fd, void *data, size_t n), known(fd), (fd, data, n))
CALL(ssize_t, pread, (int fd, void *data, size_t n, off_t at), known(fd), (fd, data, n, at))
CALL(ssize_t, pread64, (int fd, void *data, size_t n, off64_t at), known(fd), (fd, data, n, at))
CALL(int, fsync, (int fd), known(fd), (fd))
CALL(int, fdatasync, (int fd), known(fd), (fd))
CALL(int, ftruncate, (int fd, off_t n), known(fd), (fd, n))
CALL(int, ftruncate64, (int fd, off64_t n), known(fd), (fd, n))
CALL(int, rename, (const char *from, const char *to), below(from), (from, to))
CALL(int, mkdir, (const char *path, mode_t mode), below(path), (path, mode))
