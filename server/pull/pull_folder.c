/* pull_folder.c: a folder of parts, each with files in it: two levels, no more. */
#include "server/pull/pull_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Of the model that is to be called `name`. */
static bool set_path(const char *models, const char *name, char path[PATH_MAX], struct err *err)
{
    int n = snprintf(path, PATH_MAX, "%s/.%s.part", models, name);
    return (n > 0 && n < PATH_MAX - PULL_SOURCE_NAME - 100) ||
           err_set(err, ERR_INVALID, "the path of the models folder is too long");
}

/* Opens and locks the folder; -1. */
static int lock(const char *path, struct err *err)
{
    struct stat named, open_one;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        err_at(err, path, ERR_IO, "cannot open it: %s", strerror(errno));
        return -1;
    }
    /* Who had it before may have made a model of it. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &open_one) == 0 &&
        lstat(path, &named) == 0 && named.st_ino == open_one.st_ino &&
        named.st_dev == open_one.st_dev)
        return fd;
    close(fd);
    err_at(err, path, ERR_BUSY, "another pull writes it");
    return -1;
}

/* ---- what is there ---- */

/* Whether a file, or what is kept of it while it comes, is one of the wanted. */
static bool is_wanted(const struct pull_source *s, const char *path)
{
    for (size_t i = 0; s && i < s->file_count; i++) {
        size_t n = strlen(s->files[i].inner);
        if (strncmp(path, s->files[i].inner, n) == 0 &&
            (!path[n] || strcmp(path + n, ".part") == 0 || strcmp(path + n, ".part.etag") == 0))
            return true;
    }
    return false;
}

/* Removes what is not wanted of a folder, which is `prefix` in the whole; and folders that are
 * empty then. Borrows `fd`. */
static void sweep(int fd, const char *prefix, const struct pull_source *s)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *item; dir && (item = readdir(dir));) {
        char path[2 * NAME_MAX + 8];
        const char *name = item->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s%s", prefix, name);
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        int inner = *prefix ? -1 : openat(fd, name, flags);
        if (inner >= 0) {
            snprintf(path, sizeof path, "%s/", name);
            sweep(inner, path, s);
            close(inner);
            unlinkat(fd, name, AT_REMOVEDIR);
        } else if (!is_wanted(s, path)) {
            unlinkat(fd, name, 0);
        }
    }
    if (dir)
        closedir(dir);
    else if (again >= 0)
        close(again);
}

/* Whether the file came before: of its size and, where it is known, its SHA-256. An empty one is of
 * size 0, as one of which nothing is known. */
static bool is_there(const char *path, const struct pull_source_file *f,
                     const struct pull_watch *watch)
{
    char hex[SHA256_HEX_SIZE];
    struct stat st;
    struct err unused;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           (!f->size || (uint64_t)st.st_size == f->size) &&
           (f->size || *f->sha256 || st.st_size == 0) &&
           (!*f->sha256 || (pull_part_hash(path, watch->stop, hex, &unused) &&
                            strcmp(hex, f->sha256) == 0));
}

bool pull_folder_is(const char *path, const struct pull_source *s, const struct pull_watch *watch)
{
    char file[PATH_MAX];
    for (size_t i = 0; i < s->file_count; i++) {
        int n = snprintf(file, sizeof file, "%s/%s", path, s->files[i].inner);
        if (n < 0 || n >= PATH_MAX || !is_there(file, &s->files[i], watch))
            return false;
    }
    return true;
}

/* ---- fetching ---- */

static bool has_room(int fd, uint64_t missing, struct err *err)
{
    struct statvfs disk;
    if (fstatvfs(fd, &disk) != 0)
        return true;
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    return left >= missing ||
           err_set(err, ERR_NO_ROOM, "%.1f MB are missing, and the disk has %.1f MB left",
                   (double)missing / 1e6, (double)left / 1e6);
}

/* Bytes of what has come of the folder's files. */
static uint64_t bytes_of(const char *path, const struct pull_source *s)
{
    char file[PATH_MAX];
    struct stat st;
    uint64_t sum = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        int n = snprintf(file, sizeof file, "%s/%s", path, s->files[i].inner);
        if (n > 0 && (size_t)n + 5 < sizeof file &&
            (stat(file, &st) == 0 || (strcpy(file + n, ".part"), stat(file, &st) == 0)))
            sum += (uint64_t)st.st_size;
    }
    return sum;
}

/* One file of it, into "PATH/unet/" or "PATH/"; `before`: bytes of those that came earlier. */
static bool fetch(const struct pull_source *s, const struct pull_source_file *f,
                  const struct pull_watch *watch, const char *path, uint64_t before,
                  struct err *err)
{
    struct pull_source one = *s;
    struct pull_part p;
    char folder[PATH_MAX], whole[PATH_MAX], sha256[SHA256_HEX_SIZE];
    const char *slash = strchr(f->inner, '/'), *name = slash ? slash + 1 : f->inner;
    int n = snprintf(folder, sizeof folder, "%s%s%.*s", path, slash ? "/" : "",
                     slash ? (int)(slash - f->inner) : 0, f->inner);
    int m = snprintf(whole, sizeof whole, "%s/%s", path, f->inner);
    if (n < 0 || n >= PATH_MAX || m < 0 || m >= PATH_MAX)
        return err_set(err, ERR_INVALID, "the path of the models folder is too long");
    if (is_there(whole, f, watch))
        return true;
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return err_at(err, folder, ERR_IO, "cannot make the folder: %s", strerror(errno));
    one.url = f->url;
    one.size = f->size;
    one.guessed = false;
    memcpy(one.sha256, f->sha256, sizeof one.sha256);
    bool done = pull_part_init(&p, &one, watch, folder, name, err);
    p.before = before;
    p.all = s->size;
    done = done && pull_part_fetch(&p, sha256, err);
    if (done && rename(p.part, p.path) != 0)
        done = err_at(err, p.part, ERR_IO, "cannot rename it: %s", strerror(errno));
    if (done)
        unlink(p.etag_path);
    pull_part_close(&p);
    return done || err_prefix(err, "%s", f->inner);
}

int pull_folder_fetch(const struct pull_source *s, const struct pull_watch *watch,
                      const char *models, char path[PATH_MAX], struct err *err)
{
    uint64_t before = 0;
    if (!set_path(models, s->name, path, err))
        return -1;
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        err_at(err, path, ERR_IO, "cannot make the folder: %s", strerror(errno));
        return -1;
    }
    int fd = lock(path, err);
    if (fd < 0)
        return -1;
    sweep(fd, "", s);
    uint64_t have = bytes_of(path, s);
    bool done = has_room(fd, s->size > have ? s->size - have : 0, err);
    for (size_t i = 0; done && i < s->file_count; i++) {
        done = fetch(s, &s->files[i], watch, path, before, err);
        before += s->files[i].size;
    }
    if (!done) {
        if (bytes_of(path, s) == 0) {
            sweep(fd, "", NULL);
            rmdir(path); /* nothing came: nothing to go on with */
        }
        close(fd);
        return -1;
    }
    if (watch->progress)
        watch->progress(watch->ctx, before, before);
    return fd;
}

bool pull_folder_forget(const char *models, const char *name, struct err *err)
{
    char path[PATH_MAX];
    if (!set_path(models, name, path, err))
        return false;
    if (access(path, F_OK) != 0)
        return true;
    int fd = lock(path, err);
    if (fd < 0)
        return false;
    sweep(fd, "", NULL);
    bool done = rmdir(path) == 0 ||
                err_at(err, path, ERR_IO, "cannot remove it: %s", strerror(errno));
    close(fd);
    return done;
}
