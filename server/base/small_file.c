#include "server/base/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool too_large(const char *path, size_t most, struct err *err)
{
    return err_at(err, path, ERR_TOO_LARGE, "wanted at most %zu bytes, it is larger",
                  most);
}

static bool failed(const char *path, int why, struct err *err)
{
    enum err_code code = why == ENOENT || why == ENOTDIR  ? ERR_NOT_FOUND
                         : why == EMFILE || why == ENFILE ? ERR_BUSY
                                                          : ERR_IO;
    return err_at(err, path, code, "%s", strerror(why));
}

FILE *small_file_open(const char *path, size_t most, struct err *err)
{
    struct stat st;
    FILE *file = NULL;
    /* Not blocking, since a pipe without a writer would; nothing that is no file is read. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0)
        failed(path, errno, err);
    else if (!S_ISREG(st.st_mode))
        err_at(err, path, ERR_INVALID, "wanted a file, this is a %s",
               S_ISDIR(st.st_mode)    ? "folder"
               : S_ISFIFO(st.st_mode) ? "pipe"
                                      : "device");
    else if ((unsigned long long)st.st_size > most)
        too_large(path, most, err);
    else if (!(file = fdopen(fd, "r")))
        failed(path, errno, err);
    if (!file && fd >= 0)
        close(fd);
    return file;
}

char *small_file_read(const char *path, size_t most, size_t *size, struct err *err)
{
    FILE *file = small_file_open(path, most, err);
    size_t have = 0, room = 0, got = 1;
    char *text = NULL;
    bool ok = file;
    while (ok && got > 0 && have <= most) { /* it may grow while it is read */
        if (have + 1 >= room) {
            room = room ? 2 * room : 4096;
            char *more = realloc(text, room);
            ok = more || err_at(err, path, ERR_INTERNAL, "no memory for %zu bytes of it", room);
            text = more ? more : text;
        }
        if (ok)
            have += got = fread(text + have, 1, room - have - 1, file);
    }
    if (ok && ferror(file))
        ok = failed(path, errno, err);
    else if (ok && have > most)
        ok = too_large(path, most, err);
    if (file)
        fclose(file);
    if (!ok) {
        free(text);
        return NULL;
    }
    text[have] = '\0';
    if (size)
        *size = have;
    return text;
}
