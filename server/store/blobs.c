/* blobs.c: paths from ids, and files that are whole or not there. Where a bucket keeps them,
 * blobs_far.c takes over after the folder was looked into. */
#include "server/store/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/ids.h"
#include "server/base/settings.h"
#include "server/job/inputs.h"
#include "server/store/blobs_far.h"

#define RESERVE "reserve"
#define RESERVE_BYTES (1 << 20) /* pages that change when a job goes are some fifty KB */
#define OWN_DIGITS 12           /* of a file that is being written */

static bool fail_io(const char *path, struct err *err)
{
    bool passing = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    return err_at(err, path, passing ? ERR_UNAVAILABLE : ERR_IO,
                  "a picture's file cannot be read: %s", strerror(errno));
}

/* Whatever keeps us from writing where we always write is the machine's trouble, not the job's. */
static bool fail_write(const char *path, struct err *err)
{
    enum err_code code = errno == ENOSPC || errno == EDQUOT ? ERR_NO_ROOM : ERR_UNAVAILABLE;
    return err_at(err, path, code, "a picture's file cannot be written: %s", strerror(errno));
}

/* fsync of the folder that `path` lies in: makes a new name in it last. */
static bool sync_parent(const char *path, struct err *err)
{
    char folder[BLOBS_PATH_SIZE];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_write(folder, err);
    bool done = fsync(fd) == 0 || fail_write(folder, err);
    close(fd);
    return done;
}

static bool make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0700) == 0)
        return sync_parent(path, err);
    return errno == EEXIST || fail_write(path, err);
}

struct blobs *blobs_new(const char *data, const struct settings *settings, struct err *err)
{
    struct blobs *b = calloc(1, sizeof *b);
    if (!b || !(b->data = strdup(data))) {
        free(b);
        err_set(err, ERR_INTERNAL, "no memory for the files");
        return NULL;
    }
    if (!settings || strcmp(settings->blobs, "folder") == 0 ||
        (b->far = blobs_far_new(b->data, settings, err)) != NULL)
        return b;
    blobs_free(b);
    return NULL;
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    blobs_far_free(b->far);
    free(b->data);
    free(b);
}

bool blobs_init(const struct blobs *b, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    static const char *const folders[] = {"images", "thumbs", "inputs", "files", "near"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders - !b->far; i++) {
        snprintf(path, sizeof path, "%s/%s", b->data, folders[i]);
        if (!make_folder(path, err))
            return false;
    }
    return true;
}

bool blobs_image_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id,
                      enum image_format format, struct err *err)
{
    if (!ids_valid(id) || format < IMAGE_PNG || format > IMAGE_WEBP)
        return err_set(err, ERR_INVALID, "no picture is called %.40s", id ? id : "");
    int n = snprintf(path, BLOBS_PATH_SIZE, "%s/images/%.2s/%s.%s", data, id, id,
                     image_formats[format]);
    return n < BLOBS_PATH_SIZE || err_set(err, ERR_INVALID, "the data folder's path is too long");
}

bool blobs_thumb_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id,
                      struct err *err)
{
    if (!ids_valid(id))
        return err_set(err, ERR_INVALID, "no picture is called %.40s", id ? id : "");
    int n = snprintf(path, BLOBS_PATH_SIZE, "%s/thumbs/%.2s/%s.webp", data, id, id);
    return n < BLOBS_PATH_SIZE || err_set(err, ERR_INVALID, "the data folder's path is too long");
}

bool blobs_input_path(char path[BLOBS_PATH_SIZE], const char *data, const char *job_id,
                      const char *name, struct err *err)
{
    if (!ids_valid(job_id) || inputs_index(name) < 0)
        return err_set(err, ERR_INVALID, "no input is called %.40s.%.8s", job_id ? job_id : "",
                       name);
    int n = snprintf(path, BLOBS_PATH_SIZE, "%s/inputs/%s.%s", data, job_id, name);
    return n < BLOBS_PATH_SIZE || err_set(err, ERR_INVALID, "the data folder's path is too long");
}

bool blobs_file_path(char path[BLOBS_PATH_SIZE], const char *data, const char *id, struct err *err)
{
    if (!ids_valid(id))
        return err_set(err, ERR_INVALID, "no file is called %.40s", id ? id : "");
    int n = snprintf(path, BLOBS_PATH_SIZE, "%s/files/%s", data, id);
    return n < BLOBS_PATH_SIZE || err_set(err, ERR_INVALID, "the data folder's path is too long");
}

static bool write_all(int fd, const void *bytes, size_t size)
{
    const char *from = bytes;
    while (size > 0) {
        ssize_t n = write(fd, from, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        from += n;
        size -= (size_t)n;
    }
    return true;
}

bool blobs_write_here(const char *path, const void *bytes, size_t size, struct err *err)
{
    char temporary[BLOBS_PATH_SIZE + 32], folder[BLOBS_PATH_SIZE], own[OWN_DIGITS + 1];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    /* Two may write it at once: a thumbnail that both have made, a copy of what both have read. */
    if (!ids_random(own, OWN_DIGITS, err) || !make_folder(folder, err))
        return false;
    snprintf(temporary, sizeof temporary, "%s.%s.tmp", path, own);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_write(temporary, err);
    bool written = write_all(fd, bytes, size) && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && written) {
        written = false;
        reason = errno;
    }
    if (written && rename(temporary, path) != 0) {
        written = false;
        reason = errno;
    }
    if (!written) {
        unlink(temporary);
        errno = reason;
        return fail_write(path, err);
    }
    if (sync_parent(path, err))
        return true;
    unlink(path); /* what nobody is told of is nobody's */
    return false;
}

bool blobs_write(struct blobs *b, const char *path, const void *bytes, size_t size, struct err *err)
{
    return b->far ? blobs_far_write(b->far, path, bytes, size, err)
                  : blobs_write_here(path, bytes, size, err);
}

void blobs_remove_image(struct blobs *b, const char *id, enum image_format format)
{
    char path[BLOBS_PATH_SIZE];
    if (blobs_image_path(path, b->data, id, format, NULL))
        blobs_remove(b, path);
    if (blobs_thumb_path(path, b->data, id, NULL))
        blobs_remove(b, path);
}

int blobs_open_here(const char *path, size_t size, struct err *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &info) != 0)
        fail_io(path, err);
    else if (!S_ISREG(info.st_mode) || info.st_size < 0 || (size_t)info.st_size != size)
        err_at(err, path, ERR_IO, "a picture's file has %lld bytes, the store says %zu",
               (long long)info.st_size, size);
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* What was written before there was a bucket stays where it is. */
static bool is_here(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

int blobs_open(struct blobs *b, const char *path, size_t size, struct err *err)
{
    bool here = !b->far || is_here(path);
    int fd = here ? blobs_open_here(path, size, err) : blobs_far_open(b->far, path, size, err);
    if (fd < 0 && b->far && here != is_here(path)) /* blobs_move.h has just moved it */
        fd = here ? blobs_far_open(b->far, path, size, err) : blobs_open_here(path, size, err);
    return fd;
}

int blobs_open_any(struct blobs *b, const char *path, size_t most, bool wait, size_t *size,
                   struct err *err)
{
    struct stat info;
    if (b->far && !is_here(path))
        return blobs_far_open_any(b->far, path, most, wait, size, err);
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
        err_set(err, ERR_NOT_FOUND, "there is no such file");
        return -1;
    }
    *size = (size_t)info.st_size;
    return blobs_open_here(path, *size, err);
}

char *blobs_path(struct blobs *b, const char *path, size_t size, struct err *err)
{
    if (b->far && !is_here(path))
        return blobs_far_path(b->far, path, size, err);
    int fd = blobs_open_here(path, size, err);
    if (fd < 0)
        return NULL;
    close(fd);
    char *copy = strdup(path);
    if (!copy)
        err_set(err, ERR_INTERNAL, "no memory for a picture's name");
    return copy;
}

int blobs_open_near(struct blobs *b, const char *path, size_t size, struct err *err)
{
    *err = (struct err){0};
    return b->far && !is_here(path) ? blobs_far_open_near(b->far, path, size)
                                    : blobs_open_here(path, size, err);
}

char *blobs_link(struct blobs *b, const char *path, const char *file_name, int seconds)
{
    return b->far && !is_here(path) ? blobs_far_link(b->far, path, file_name, seconds) : NULL;
}

/* Of the descriptor, which it closes; -1: false, and the reason has been said. */
static bool read_all(int fd, const char *path, size_t size, void **bytes, struct err *err)
{
    char *all = NULL;
    *bytes = NULL;
    if (fd < 0)
        return false;
    if (!(all = malloc(size ? size : 1))) {
        err_set(err, ERR_UNAVAILABLE, "no memory for %zu bytes", size);
        goto fail;
    }
    for (size_t n = 0; n < size;) {
        ssize_t got = read(fd, all + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            err_at(err, path, ERR_IO, "a picture's file cannot be read: %s",
                   got ? strerror(errno) : "it became shorter");
            goto fail;
        }
        n += (size_t)got;
    }
    close(fd);
    *bytes = all;
    return true;
fail:
    free(all);
    close(fd);
    return false;
}

bool blobs_read(struct blobs *b, const char *path, size_t size, void **bytes, struct err *err)
{
    return read_all(blobs_open(b, path, size, err), path, size, bytes, err);
}

bool blobs_read_here(const char *path, size_t size, void **bytes, struct err *err)
{
    return read_all(blobs_open_here(path, size, err), path, size, bytes, err);
}

bool blobs_adopt(struct blobs *b, const char *temporary, const char *path, size_t size,
                 struct err *err)
{
    if (b->far)
        return blobs_far_adopt(b->far, temporary, path, size, err);
    return rename(temporary, path) == 0 || fail_write(path, err);
}

static bool write_zeros(char path[BLOBS_PATH_SIZE], const char *data, const char *name, size_t size,
                        struct err *err)
{
    int n = snprintf(path, BLOBS_PATH_SIZE, "%s/%s", data, name);
    void *zeros = calloc(1, size);
    bool done = n < BLOBS_PATH_SIZE && zeros && blobs_write_here(path, zeros, size, err);
    if (n >= BLOBS_PATH_SIZE || !zeros)
        err_set(err, ERR_UNAVAILABLE, "no memory to try the disk with %zu bytes", size);
    free(zeros);
    return done;
}

bool blobs_probe(struct blobs *b, size_t size, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    bool done = write_zeros(path, b->data, "images/probe", size, err);
    if (done)
        blobs_remove_here(path);
    return done && (!b->far || blobs_far_probe(b->far, err));
}

/* False: the path is too long, so that there is nothing. */
static bool reserve_path(char path[BLOBS_PATH_SIZE], const char *data)
{
    return snprintf(path, BLOBS_PATH_SIZE, "%s/" RESERVE, data) < BLOBS_PATH_SIZE;
}

bool blobs_reserve(const char *data, struct err *err)
{
    char path[BLOBS_PATH_SIZE];
    struct stat info;
    return (reserve_path(path, data) && stat(path, &info) == 0 &&
            info.st_size == RESERVE_BYTES) ||
           write_zeros(path, data, RESERVE, RESERVE_BYTES, err);
}

void blobs_reserve_free(const char *data)
{
    char path[BLOBS_PATH_SIZE];
    if (reserve_path(path, data))
        blobs_remove_here(path);
}

bool blobs_is_tight(const char *data)
{
    struct statvfs disk;
    return statvfs(data, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < BLOBS_TIGHT;
}

void blobs_remove(struct blobs *b, const char *path)
{
    if (b->far)
        blobs_far_remove(b->far, path);
    blobs_remove_here(path);
}

void blobs_remove_here(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        log_event(LOG_WARN, "file_not_removed", "reason=\"%s\"", strerror(errno));
}

/* ---- all files ---- */

struct walk {
    blobs_fn *fn;
    void *ctx;
    bool stopped;
};

/* `depth` is how many levels of folders may lie below. */
static bool walk(struct walk *w, const char *folder, int depth, struct err *err)
{
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) /* no server has run here yet */
        return true;
    if (!dir)
        return err_at(err, folder, ERR_IO, "%s", strerror(errno));
    bool done = true;
    struct dirent *entry;
    while (done && !w->stopped && (errno = 0, entry = readdir(dir)) != NULL) {
        char path[BLOBS_PATH_SIZE];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (n >= (int)sizeof path || lstat(path, &info) != 0)
            continue; /* gone since, or nothing of ours */
        if (S_ISDIR(info.st_mode) && depth > 0)
            done = walk(w, path, depth - 1, err);
        else
            w->stopped = !w->fn(w->ctx, path, &info);
    }
    if (done && !w->stopped && errno)
        done = err_at(err, folder, ERR_IO, "%s", strerror(errno));
    closedir(dir);
    return done;
}

bool blobs_walk_here(const char *data, bool others, blobs_fn *fn, void *ctx, struct err *err)
{
    static const struct {
        const char *name;
        int depth;
        bool other;
    } folders[] = {{"images", 1, false}, {"inputs", 0, false}, {"files", 0, true},
                   {"thumbs", 1, true}};
    struct walk w = {.fn = fn, .ctx = ctx};
    bool done = true;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && done && !w.stopped; i++) {
        char path[BLOBS_PATH_SIZE];
        snprintf(path, sizeof path, "%s/%s", data, folders[i].name);
        if (others || !folders[i].other)
            done = walk(&w, path, folders[i].depth, err);
    }
    return done;
}

bool blobs_walk(struct blobs *b, blobs_fn *fn, void *ctx, struct err *err)
{
    return blobs_walk_here(b->data, true, fn, ctx, err) &&
           (!b->far || blobs_far_walk(b->far, fn, ctx, err));
}

bool blobs_restore(struct blobs *b, const char *path, size_t size, struct err *err)
{
    return b->far && blobs_far_restore(b->far, path, size, err);
}

bool blobs_tidy(struct blobs *b, time_t before, bool end, blobs_fn *fn, void *ctx, struct err *err)
{
    return !b->far || blobs_far_tidy(b->far, before, end, fn, ctx, err);
}

bool blobs_is_unfinished(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".tmp") == 0;
}

bool blobs_lose(struct blobs *b, const char *path, struct err *err)
{
    return b->far && !is_here(path) ? blobs_far_lose(b->far, path, err)
                                    : blobs_lose_here(b->data, path, err);
}

bool blobs_lose_here(const char *data, const char *path, struct err *err)
{
    char folder[BLOBS_PATH_SIZE], to[BLOBS_PATH_SIZE + 300];
    const char *name = strrchr(path, '/') + 1;
    snprintf(folder, sizeof folder, "%s/lost", data);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_at(err, folder, ERR_IO, "%s", strerror(errno));
    for (int i = 0; i < 1000; i++) {
        snprintf(to, sizeof to, i ? "%s/%.250s.%d" : "%s/%.250s", folder, name, i);
        /* link(2), unlike rename(2), never overwrites what is there. */
        if (link(path, to) == 0)
            return unlink(path) == 0 || err_at(err, path, ERR_IO, "%s", strerror(errno));
        if (errno != EEXIST)
            break;
    }
    return err_at(err, to, ERR_IO, "%s", strerror(errno));
}
