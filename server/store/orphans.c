/* orphans.c: a file comes before its row and goes after it, so a server that is killed may leave
 * files without rows. Each file's row is looked for by the name of the file. */
#include "server/store/orphans.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/blobs.h"
#include "server/store/store.h"

struct orphans {
    struct store *store;
    time_t before;
    pthread_mutex_t *files;
    bool (*stop)(void *ctx);
    void *ctx;
    size_t count;
    bool failed;
    struct err *err;
};

static bool is_picture(struct store *st, const char *path, const char *id, struct err *err)
{
    struct job_image image = {0};
    char known[BLOBS_PATH_SIZE];
    bool found = store_image_held(st, id, &image, err);
    free(image.infotext);
    if (!found)
        return err->code != ERR_NOT_FOUND; /* a damaged row is a row */
    return blobs_image_path(known, store_data(st), id, image.format, NULL) &&
           strcmp(known, path) == 0;
}

static bool is_input(struct store *st, const char *path, const char *id, const char *name,
                     struct err *err)
{
    char known[BLOBS_PATH_SIZE];
    size_t bytes;
    return blobs_input_path(known, store_data(st), id, name, NULL) && strcmp(known, path) == 0 &&
           (store_input_bytes(st, id, name, &bytes, err) || err->code != ERR_NOT_FOUND);
}

static bool has_row(struct store *st, const char *path, struct err *err)
{
    const char *name = strrchr(path, '/') + 1, *dot = strchr(name, '.');
    char id[JOB_ID_SIZE] = "";
    if (!dot || dot - name != JOB_ID_SIZE - 1)
        return false;
    memcpy(id, name, JOB_ID_SIZE - 1);
    return is_input(st, path, id, dot + 1, err) || is_picture(st, path, id, err);
}

static bool put_away(struct orphans *o, const char *path)
{
    struct err err = {0};
    if (blobs_is_unfinished(path)) {
        blobs_remove_here(path);
    } else if (has_row(o->store, path, &err)) {
        return !err_is_passing(err.code) || err_copy(o->err, &err);
    } else if (access(path, F_OK) != 0) { /* removed since */
        return true;
    } else if (!blobs_lose_here(store_data(o->store), path, o->err)) {
        return false;
    }
    o->count++;
    return true;
}

static bool check_file(void *ctx, const char *path, const struct stat *info)
{
    struct orphans *o = ctx;
    if (o->stop(o->ctx))
        return false;
    if (!S_ISREG(info->st_mode) || info->st_mtime >= o->before)
        return true;
    pthread_mutex_lock(o->files);
    o->failed = !put_away(o, path);
    pthread_mutex_unlock(o->files);
    return !o->failed;
}

bool orphans_put_away(struct store *st, time_t before, pthread_mutex_t *files,
                      bool (*stop)(void *ctx), void *ctx, size_t *count, struct err *err)
{
    struct orphans o = {.store = st,
                        .before = before,
                        .files = files,
                        .stop = stop,
                        .ctx = ctx,
                        .err = err};
    bool done = blobs_walk_here(store_data(st), false, check_file, &o, err) && !o.failed;
    *count = o.count;
    return done;
}
