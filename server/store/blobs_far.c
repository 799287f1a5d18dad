/* blobs_far.c: the files in a bucket, and copies of some near by.
 *
 * The bucket counts: a write is done when the bucket has taken it, and the copy in DATA/near is
 * made after that, if there is room. The copies are for what follows at once: the answer that holds
 * a picture just painted, the thumbnail of it. When they are more than bucket_near, those unread
 * for longest go, but none that was read in the last minutes, since an answer may still be
 * reading it. Any copy may be removed at any time.
 *
 * What is removed goes by a thread: whoever deletes a job does not wait for a hundred objects. If
 * the bucket is away then, the thread tries again until the server ends; what is left is an object
 * without a row, which fsck finds. */
#include "server/store/blobs_far.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/store/bucket.h"

#define READ_LATELY_S 600
#define REMOVALS_MAX 100000
#define LAST_REMOVALS_MS 5000 /* of the end of a server */
#define AGAIN_LEAST_MS 1000
#define AGAIN_MOST_MS 60000

struct removal {
    struct removal *next;
    char name[BUCKET_NAME_MAX];
};

struct blobs_far {
    const char *data; /* borrowed */
    struct bucket *bucket;
    size_t near_max;
    bool redirect;
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t near_bytes; /* about what lies there; (size_t)-1: not counted yet */
    struct removal *first, **last;
    size_t removals;
    bool stop;
    int64_t stop_at;
    pthread_t remover;
};

/* The object's name: the path behind DATA/. */
static const char *name_of(const struct blobs_far *f, const char *path)
{
    return path + strlen(f->data) + 1;
}

/* DATA/near/images-ab-ID.png: no folders, so that all of them are read at once. */
static void near_path(char out[BLOBS_PATH_SIZE], const struct blobs_far *f, const char *path)
{
    int n = snprintf(out, BLOBS_PATH_SIZE, "%s/near/", f->data);
    if (n < BLOBS_PATH_SIZE)
        snprintf(out + n, (size_t)(BLOBS_PATH_SIZE - n), "%s", name_of(f, path));
    for (char *p = out + n; n < BLOBS_PATH_SIZE && *p; p++)
        if (*p == '/')
            *p = '-';
}

/* ---- copies near by ---- */

struct copy {
    char *name;
    size_t size;
    time_t read;
};

static int by_reading(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    return x->read < y->read ? -1 : x->read > y->read;
}

static size_t list_copies(int folder, struct copy **copies, size_t *bytes)
{
    size_t count = 0;
    int again = dup(folder);
    DIR *dir = again >= 0 ? fdopendir(again) : NULL;
    *copies = NULL;
    *bytes = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat info;
        if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        if (count % 1024 == 0) {
            struct copy *grown = realloc(*copies, (count + 1024) * sizeof *grown);
            if (!grown)
                break;
            *copies = grown;
        }
        struct copy *c = &(*copies)[count];
        *c = (struct copy){strdup(entry->d_name), (size_t)info.st_size, info.st_mtime};
        *bytes += c->size;
        count += c->name != NULL;
    }
    if (dir)
        closedir(dir);
    else if (again >= 0)
        close(again);
    return count;
}

/* Removes the copies unread for longest until a quarter of the room is free. Under the lock. */
static void make_room(struct blobs_far *f)
{
    char path[BLOBS_PATH_SIZE];
    struct copy *copies;
    size_t bytes;
    snprintf(path, sizeof path, "%s/near", f->data);
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    size_t count = list_copies(folder, &copies, &bytes);
    if (count > 0)
        qsort(copies, count, sizeof *copies, by_reading);
    time_t lately = time(NULL) - READ_LATELY_S;
    size_t wanted = bytes > f->near_max ? f->near_max / 4 * 3 : f->near_max;
    for (size_t i = 0; i < count; i++) {
        if (bytes > wanted && copies[i].read < lately && unlinkat(folder, copies[i].name, 0) == 0)
            bytes -= copies[i].size;
        free(copies[i].name);
    }
    free(copies);
    close(folder);
    f->near_bytes = bytes;
}

static void keep_near(struct blobs_far *f, const char *path, const void *bytes, size_t size)
{
    char near[BLOBS_PATH_SIZE];
    struct err ignored;
    if (size > f->near_max / 4)
        return;
    near_path(near, f, path);
    if (!blobs_write_here(near, bytes, size, &ignored))
        return;
    pthread_mutex_lock(&f->lock);
    if (f->near_bytes != (size_t)-1)
        f->near_bytes += size;
    if (f->near_bytes > f->near_max)
        make_room(f);
    pthread_mutex_unlock(&f->lock);
}

/* `size` -1: whatever it has. */
static int open_near(struct blobs_far *f, const char *path, size_t *size)
{
    char near[BLOBS_PATH_SIZE];
    struct stat info;
    near_path(near, f, path);
    int fd = open(near, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) ||
        (*size != (size_t)-1 && (size_t)info.st_size != *size)) {
        close(fd);
        return -1;
    }
    *size = (size_t)info.st_size;
    futimens(fd, NULL);
    return fd;
}

int blobs_far_open_near(struct blobs_far *f, const char *path, size_t size)
{
    return open_near(f, path, &size);
}

/* ---- the bucket ---- */

static const char *type_of(const char *name)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".png", "image/png"}, {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"},
                 {".webp", "image/webp"}};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (n > strlen(types[i].ending) &&
            strcmp(name + n - strlen(types[i].ending), types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

bool blobs_far_write(struct blobs_far *f, const char *path, const void *bytes, size_t size,
                     struct err *err)
{
    const char *name = name_of(f, path);
    if (!bucket_put(f->bucket, name, type_of(name), bytes, size, err))
        return false;
    keep_near(f, path, bytes, size);
    return true;
}

/* The whole object; ERR_IO when it is missing or has another size than the row says. */
static bool fetch(struct blobs_far *f, const char *path, size_t most, bool exact, void **data,
                  size_t *size, struct err *err)
{
    if (!bucket_get(f->bucket, name_of(f, path), most, data, size, err)) {
        if (exact && err->code == ERR_NOT_FOUND)
            err_at(err, path, ERR_IO, "a picture's file is missing in the bucket");
        return false;
    }
    if (exact && *size != most) {
        free(*data);
        return err_at(err, path, ERR_IO, "a picture's file has %zu bytes, the store says %zu",
                      *size, most);
    }
    return true;
}

/* A file without a name, where there is no room for a copy. */
static int unnamed(const void *data, size_t size, struct err *err)
{
    int fd = memfd_create("pictor", MFD_CLOEXEC);
    const char *from = data;
    for (size_t n = 0; fd >= 0 && n < size;) {
        ssize_t wrote = write(fd, from + n, size - n);
        if (wrote <= 0) {
            close(fd);
            fd = -1;
        } else {
            n += (size_t)wrote;
        }
    }
    if (fd < 0 || lseek(fd, 0, SEEK_SET) != 0)
        err_set(err, ERR_UNAVAILABLE, "no memory for a picture's file: %s", strerror(errno));
    return fd;
}

static int open_far(struct blobs_far *f, const char *path, size_t most, bool exact, size_t *size,
                    struct err *err)
{
    void *data;
    if (!fetch(f, path, most, exact, &data, size, err))
        return -1;
    keep_near(f, path, data, *size);
    size_t near_size = *size;
    int fd = open_near(f, path, &near_size);
    if (fd < 0)
        fd = unnamed(data, *size, err);
    free(data);
    return fd;
}

int blobs_far_open(struct blobs_far *f, const char *path, size_t size, struct err *err)
{
    int fd = open_near(f, path, &size);
    return fd >= 0 ? fd : open_far(f, path, size, true, &size, err);
}

int blobs_far_open_any(struct blobs_far *f, const char *path, size_t most, bool wait, size_t *size,
                       struct err *err)
{
    *size = (size_t)-1;
    int fd = open_near(f, path, size);
    if (fd < 0 && wait)
        return open_far(f, path, most, false, size, err);
    *err = (struct err){0};
    return fd;
}

char *blobs_far_path(struct blobs_far *f, const char *path, size_t size, struct err *err)
{
    char near[BLOBS_PATH_SIZE];
    void *data;
    int fd = open_near(f, path, &size);
    near_path(near, f, path);
    if (fd >= 0) {
        close(fd);
    } else {
        if (!fetch(f, path, size, true, &data, &size, err))
            return NULL;
        bool kept = blobs_write_here(near, data, size, err); /* whatever its size */
        free(data);
        if (!kept)
            return NULL;
        pthread_mutex_lock(&f->lock);
        if (f->near_bytes != (size_t)-1)
            f->near_bytes += size;
        pthread_mutex_unlock(&f->lock);
    }
    char *copy = strdup(near);
    if (!copy)
        err_set(err, ERR_INTERNAL, "no memory for a picture's name");
    return copy;
}

char *blobs_far_link(struct blobs_far *f, const char *path, const char *file_name, int seconds)
{
    return f->redirect ? bucket_link(f->bucket, name_of(f, path), file_name, seconds, time(NULL))
                       : NULL;
}

bool blobs_far_probe(struct blobs_far *f, struct err *err)
{
    return bucket_probe(f->bucket, err);
}

/* ---- removing ---- */

void blobs_far_remove(struct blobs_far *f, const char *path)
{
    char near[BLOBS_PATH_SIZE];
    near_path(near, f, path);
    blobs_remove_here(near);
    struct removal *r = strlen(name_of(f, path)) < BUCKET_NAME_MAX ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return;
    snprintf(r->name, sizeof r->name, "%s", name_of(f, path));
    pthread_mutex_lock(&f->lock);
    bool room = f->removals < REMOVALS_MAX;
    if (room) {
        *f->last = r;
        f->last = &r->next;
        f->removals++;
        pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->lock);
    if (!room)
        free(r);
}

/* Waits under the lock until there is more to do than rest until `deadline`, or until the end. */
static void rest(struct blobs_far *f, int64_t deadline)
{
    struct timespec t = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    while (!f->stop && now_ms() < deadline)
        pthread_cond_timedwait(&f->more, &f->lock, &t);
}

static void *remove_objects(void *arg)
{
    struct blobs_far *f = arg;
    struct err err;
    int failures = 0;
    pthread_mutex_lock(&f->lock);
    make_room(f); /* counts them */
    for (;;) {
        while (!f->first && !f->stop)
            pthread_cond_wait(&f->more, &f->lock);
        if (!f->first || (f->stop && (failures > 0 || now_ms() >= f->stop_at)))
            break;
        struct removal *r = f->first;
        pthread_mutex_unlock(&f->lock);
        bool done = bucket_delete(f->bucket, r->name, &err);
        if (!done)
            log_err(LOG_WARN, "object_not_removed", &err, "object=%s", r->name);
        pthread_mutex_lock(&f->lock);
        if (done) {
            f->first = r->next;
            if (!f->first)
                f->last = &f->first;
            f->removals--;
            failures = 0;
            free(r);
        } else {
            if (r->next) { /* what the bucket does not let go is in nobody's way */
                f->first = r->next;
                r->next = NULL;
                *f->last = r;
                f->last = &r->next;
            }
            rest(f, now_ms() + backoff_ms(++failures, AGAIN_LEAST_MS, AGAIN_MOST_MS));
        }
    }
    if (f->removals > 0)
        log_event(LOG_WARN, "objects_left", "count=%zu", f->removals);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

struct blobs_far *blobs_far_new(const char *data, const struct settings *s, struct err *err)
{
    struct bucket_options options = {s->blobs, s->bucket_key, s->bucket_secret, s->bucket_timeout};
    struct blobs_far *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(err, ERR_INTERNAL, "no memory for the files");
        return NULL;
    }
    f->data = data;
    f->near_max = s->bucket_near;
    f->near_bytes = (size_t)-1;
    f->redirect = strcmp(s->bucket_gets, "redirect") == 0;
    f->last = &f->first;
    if (!(f->bucket = bucket_new(&options, err))) {
        free(f);
        return NULL;
    }
    pthread_mutex_init(&f->lock, NULL);
    now_cond_init(&f->more);
    if (pthread_create(&f->remover, NULL, remove_objects, f) == 0)
        return f;
    err_set(err, ERR_INTERNAL, "no thread for the bucket");
    bucket_free(f->bucket);
    free(f);
    return NULL;
}

void blobs_far_free(struct blobs_far *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    f->stop_at = now_ms() + LAST_REMOVALS_MS;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->remover, NULL);
    while (f->first) {
        struct removal *r = f->first;
        f->first = r->next;
        free(r);
    }
    bucket_free(f->bucket);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- all of them ---- */

struct walking {
    struct blobs_far *f;
    blobs_fn *fn;
    void *ctx;
    bool stopped;
};

static bool show(void *ctx, const char *name, size_t size, time_t modified)
{
    struct walking *w = ctx;
    char path[BLOBS_PATH_SIZE];
    struct stat info = {
        .st_mode = S_IFREG | 0600, .st_size = (off_t)size, .st_mtime = modified};
    /* The name is whose the bucket is; who moves or removes it takes it for a path here. */
    if (!strstr(name, "..") &&
        snprintf(path, sizeof path, "%s/%s", w->f->data, name) < (int)sizeof path)
        w->stopped = !w->fn(w->ctx, path, &info);
    return !w->stopped;
}

bool blobs_far_walk(struct blobs_far *f, blobs_fn *fn, void *ctx, struct err *err)
{
    static const char *const folders[] = {"images/", "inputs/", "files/", "thumbs/"};
    struct walking w = {.f = f, .fn = fn, .ctx = ctx};
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !w.stopped; i++)
        if (!bucket_list(f->bucket, folders[i], show, &w, err))
            return false;
    return true;
}

bool blobs_far_tidy(struct blobs_far *f, time_t before, bool end, blobs_fn *fn, void *ctx,
                    struct err *err)
{
    struct walking w = {.f = f, .fn = fn, .ctx = ctx};
    return bucket_list_parts(f->bucket, before, end, show, &w, err);
}

bool blobs_far_lose(struct blobs_far *f, const char *path, struct err *err)
{
    char to[BUCKET_NAME_MAX], name[BUCKET_NAME_MAX];
    size_t size;
    struct err trouble;
    snprintf(name, sizeof name, "%s", strrchr(path, '/') + 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(to, sizeof to, i ? "lost/%.200s.%d" : "lost/%.200s", name, i);
        if (!bucket_size(f->bucket, to, &size, &trouble))
            return trouble.code == ERR_NOT_FOUND
                       ? bucket_move(f->bucket, name_of(f, path), to, err)
                       : err_copy(err, &trouble);
    }
    return err_set(err, ERR_IO, "a thousand files of that name are lost already");
}

/* What lies on this disk, mapped: it may be large. */
static bool put_file(struct blobs_far *f, const char *here, const char *path, size_t size,
                     struct err *err)
{
    const char *name = name_of(f, path);
    int fd = blobs_open_here(here, size, err);
    if (fd < 0)
        return false;
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (data == MAP_FAILED)
        return err_set(err, ERR_UNAVAILABLE, "no memory for a picture's file");
    bool done = bucket_put(f->bucket, name, type_of(name), data, size, err);
    if (data)
        munmap(data, size);
    return done;
}

bool blobs_far_adopt(struct blobs_far *f, const char *temporary, const char *path, size_t size,
                     struct err *err)
{
    if (!put_file(f, temporary, path, size, err))
        return false;
    blobs_remove_here(temporary);
    return true;
}

bool blobs_far_restore(struct blobs_far *f, const char *path, size_t size, struct err *err)
{
    char near[BLOBS_PATH_SIZE];
    near_path(near, f, path);
    return put_file(f, near, path, size, err);
}

/* ---- moving in and out ---- */

/* Whether the bucket has just these bytes under the path's name. False without `err` set: it has
 * none, or others. */
static bool has(struct blobs_far *f, const char *path, const void *data, size_t size,
                struct err *err)
{
    char hash[BUCKET_HASH_SIZE], kept[BUCKET_HASH_SIZE];
    size_t there;
    *err = (struct err){0};
    if (!bucket_look(f->bucket, name_of(f, path), &there, kept, err)) {
        if (err->code == ERR_NOT_FOUND)
            *err = (struct err){0};
        return false;
    }
    bucket_hash(hash, data, size);
    return there == size && strcmp(hash, kept) == 0;
}

bool blobs_far_push(struct blobs_far *f, const char *path, bool *there, size_t *size,
                    struct err *err)
{
    struct stat info;
    void *data;
    *there = false;
    if (stat(path, &info) != 0)
        return err_at(err, path, ERR_IO, "%s", strerror(errno));
    *size = (size_t)info.st_size;
    if (!blobs_read_here(path, *size, &data, err))
        return false;
    *there = has(f, path, data, *size, err);
    bool done = *there;
    if (!done && err->code == ERR_NONE)
        done = bucket_put(f->bucket, name_of(f, path), type_of(path), data, *size, err);
    if (done && !*there && !has(f, path, data, *size, err))
        done = err->code == ERR_NONE &&
               err_at(err, path, ERR_IO, "the bucket has other bytes than were just put there");
    free(data);
    return done;
}

bool blobs_far_pull(struct blobs_far *f, const char *path, size_t size, bool *there,
                    struct err *err)
{
    void *here, *data;
    size_t got;
    *there = false;
    if (blobs_read_here(path, size, &here, err)) {
        *there = has(f, path, here, size, err);
        free(here);
        if (*there || err->code != ERR_NONE)
            return *there;
    }
    if (!fetch(f, path, size, true, &data, &got, err))
        return false;
    bool done = blobs_write_here(path, data, got, err);
    free(data);
    return done;
}

bool blobs_far_drop(struct blobs_far *f, const char *path, struct err *err)
{
    return bucket_delete(f->bucket, name_of(f, path), err);
}
