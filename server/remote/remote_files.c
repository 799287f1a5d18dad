#include "server/remote/remote_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/base/sha256.h"
#include "server/base/ids.h"
#include "server/paint/fetch.h"

#define LOOK_MS 200 /* between looks whether another worker has fetched it */
#define NAME_SIZE (64 + sizeof ".part")
#define WHOLE_MODE 0444
#define PART_SECONDS 86400 /* unused for so long, a part is given up */

static bool io_error(struct err *err, const struct remote_files *files)
{
    int why = errno;
    return err_at(err, files->folder, why == ENOSPC || why == EDQUOT ? ERR_NO_ROOM : ERR_IO, "%s",
                  strerror(why));
}

static int open_folder(const struct remote_files *files, struct err *err)
{
    mkdir(files->folder, 0700);
    int dir = open(files->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        io_error(err, files);
    return dir;
}

/* One that is there whole; it was used now. */
static int open_whole(int dir, const char *name, uint64_t size)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        futimens(fd, NULL);
    return fd;
}

/* ---- room ---- */

/* Bytes of all files but `name`, and which of them was unused for longest ("": there is none). */
static uint64_t measure(int dir, const char *name, char oldest[NAME_SIZE])
{
    uint64_t total = 0;
    struct timespec least = {0};
    *oldest = '\0';
    int again = dup(dir);
    DIR *list = again < 0 ? NULL : fdopendir(again);
    if (!list) {
        if (again >= 0)
            close(again);
        return 0;
    }
    rewinddir(list);
    for (struct dirent *e; (e = readdir(list));) {
        struct stat st;
        if (strspn(e->d_name, "0123456789abcdef") != 64 || strlen(e->d_name) >= NAME_SIZE ||
            strcmp(e->d_name, name) == 0 || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        total += (uint64_t)st.st_size;
        /* One that is on its way, perhaps another worker's, is left alone. */
        if (strlen(e->d_name) > 64 && st.st_mtim.tv_sec > time(NULL) - PART_SECONDS)
            continue;
        bool older = st.st_mtim.tv_sec < least.tv_sec ||
                     (st.st_mtim.tv_sec == least.tv_sec && st.st_mtim.tv_nsec < least.tv_nsec);
        if (*oldest && !older)
            continue;
        least = st.st_mtim;
        snprintf(oldest, NAME_SIZE, "%s", e->d_name);
    }
    closedir(list);
    return total;
}

static bool make_room(const struct remote_files *files, int dir, const char *part, uint64_t size,
                      struct err *err)
{
    char oldest[NAME_SIZE];
    if (size > files->limit)
        return err_set(err, ERR_TOO_LARGE,
                       "a file of %llu bytes, and worker_files_limit is %llu",
                       (unsigned long long)size, (unsigned long long)files->limit);
    while (measure(dir, part, oldest) > files->limit - size && *oldest) {
        log_event(LOG_INFO, "worker_file_removed", "sha256=%.64s", oldest);
        if (unlinkat(dir, oldest, 0) != 0 && errno != ENOENT)
            return io_error(err, files);
    }
    return true;
}

/* ---- fetching ---- */

struct arrival {
    FILE *out;
    uint64_t size;
    bool restarted, too_long;
};

static bool begin(void *ctx, const struct fetch_head *head)
{
    struct arrival *a = ctx;
    if (head->restart) {
        rewind(a->out);
        if (ftruncate(fileno(a->out), 0) != 0)
            return false;
    }
    a->too_long = head->total > a->size;
    return !a->too_long;
}

static bool watch(void *ctx, uint64_t done, uint64_t total)
{
    struct arrival *a = ctx;
    (void)total;
    a->too_long = done > a->size;
    return !a->too_long;
}

/* Whether the open part is still the file of that name. */
static bool is_named(int dir, int part, const char *part_name)
{
    struct stat here, there;
    return fstat(part, &here) == 0 &&
           fstatat(dir, part_name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

/* What is in the locked part is the file, or is removed. */
static bool check(const struct remote_files *files, int dir, int part, const char *part_name,
                  const struct remote_file *file, const atomic_bool *stop, struct err *err)
{
    unsigned char digest[SHA256_SIZE];
    char name[64], hex[SHA256_HEX_SIZE];
    snprintf(name, sizeof name, "/proc/self/fd/%d", part);
    if (!sha256_file(name, stop, digest, err))
        return false;
    sha256_hex(digest, hex);
    if (strcmp(hex, file->sha256) != 0) {
        unlinkat(dir, part_name, 0);
        return err_set(err, ERR_INVALID, "the server sent another file than that of SHA-256 %s",
                       file->sha256);
    }
    if (!is_named(dir, part, part_name))
        return err_set(err, ERR_UPSTREAM, "the file was removed while it came");
    if (fchmod(part, WHOLE_MODE) != 0 || fsync(part) != 0 ||
        renameat(dir, part_name, dir, file->sha256) != 0)
        return io_error(err, files);
    return true;
}

static bool fetch_part(const struct remote_files *files, int dir, int part, const char *part_name,
                       const struct remote_file *file, const char *url, const char *key,
                       const atomic_bool *stop, struct err *err)
{
    struct stat st;
    int copy = dup(part);
    FILE *out = copy < 0 ? NULL : fdopen(copy, "r+");
    struct arrival a = {.out = out, .size = file->size};
    if (!out) {
        if (copy >= 0)
            close(copy);
        return io_error(err, files);
    }
    uint64_t from = fstat(part, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (from > file->size)
        from = 0;
    bool done = fseeko(out, (off_t)from, SEEK_SET) == 0 || io_error(err, files);
    log_event(LOG_INFO, "worker_file_fetched", "sha256=%s bytes=%llu from=%llu", file->sha256,
              (unsigned long long)file->size, (unsigned long long)from);
    struct fetch_file f = {.url = url,
                           .key = key,
                           .out = out,
                           .from = from,
                           .etag = "",
                           .stay = true,
                           .progress = watch,
                           .ctx = &a,
                           .stop = stop,
                           .begin = begin};
    done = done && (from == file->size || fetch_file(&f, err));
    if (!done && a.too_long)
        err_set(err, ERR_INVALID, "the server sent more than the %llu bytes that it told of",
                (unsigned long long)file->size);
    if (fclose(out) != 0 && done)
        done = io_error(err, files);
    return done;
}

/* Until the lock of the part is ours; false: somebody else's is whole, or `err`. */
static bool lock(int part, const atomic_bool *stop, struct err *err)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    while (flock(part, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set(err, ERR_IO, "a file cannot be locked: %s", strerror(errno));
        if (atomic_load(stop))
            return err_set(err, ERR_CANCELLED, "stopped");
        nanosleep(&pause, NULL);
    }
    return true;
}

int remote_files_get(const struct remote_files *files, const struct remote_file *file,
                     const char *url, const char *key, const atomic_bool *stop, struct err *err)
{
    char part_name[NAME_SIZE];
    int fd = -1, part = -1, dir = open_folder(files, err);
    if (dir < 0)
        return -1;
    snprintf(part_name, sizeof part_name, "%s.part", file->sha256);
    if ((fd = open_whole(dir, file->sha256, file->size)) >= 0)
        goto done;
    part = openat(dir, part_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (part < 0) {
        io_error(err, files);
        goto done;
    }
    if (!lock(part, stop, err))
        goto done;
    /* Who had the lock may have finished it; then this part is no file any more. */
    if ((fd = open_whole(dir, file->sha256, file->size)) >= 0) {
        if (is_named(dir, part, part_name))
            unlinkat(dir, part_name, 0);
        goto done;
    }
    if (!is_named(dir, part, part_name)) { /* removed meanwhile: from the start */
        err_set(err, ERR_UPSTREAM, "the file was removed while it came");
        goto done;
    }
    if (make_room(files, dir, part_name, file->size, err) &&
        fetch_part(files, dir, part, part_name, file, url, key, stop, err) &&
        check(files, dir, part, part_name, file, stop, err) &&
        (fd = open_whole(dir, file->sha256, file->size)) < 0)
        err_set(err, ERR_IO, "a file that was fetched is gone");
done:
    if (part >= 0)
        close(part);
    close(dir);
    return fd;
}

void remote_files_list(const struct remote_files *files, struct cJSON *out)
{
    DIR *list = opendir(files->folder);
    if (!list)
        return; /* it is made with the first file */
    int count = 0;
    for (struct dirent *e; count < REMOTE_FILES_LISTED && (e = readdir(list));) {
        if (!ids_sha256(e->d_name))
            continue;
        cJSON_AddItemToArray(out, cJSON_CreateString(e->d_name));
        count++;
    }
    closedir(list);
}
