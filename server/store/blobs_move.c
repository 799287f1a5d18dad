/* blobs_move.c: a file at a time, and each is compared by its hash before anything is removed. */
#include "server/store/blobs_move.h"

#include <string.h>
#include <sys/stat.h>

#include "server/store/blobs_far.h"

struct moving {
    struct blobs *b;
    const struct blobs_move_options *options;
    struct blobs_moved *moved;
    FILE *out;
};

static bool move_one(void *ctx, const char *path, const struct stat *info)
{
    struct moving *m = ctx;
    struct err err = {0};
    bool there, done;
    size_t size = (size_t)info->st_size;
    if (!S_ISREG(info->st_mode) || blobs_is_unfinished(path))
        return true;
    done = m->options->back ? blobs_far_pull(m->b->far, path, size, &there, &err)
                            : blobs_far_push(m->b->far, path, &there, &size, &err);
    if (done && m->options->remove && m->options->back)
        done = blobs_far_drop(m->b->far, path, &err);
    else if (done && m->options->remove)
        blobs_remove_here(path);
    if (done) {
        m->moved->moved += !there;
        m->moved->there += there;
        m->moved->bytes += size;
    } else {
        m->moved->failed++;
        fprintf(m->out, "%s: %s\n", path, err.msg);
    }
    return true;
}

bool blobs_move(struct blobs *b, const struct blobs_move_options *options, FILE *out,
                struct blobs_moved *moved, struct err *err)
{
    struct moving m = {b, options, moved, out};
    *moved = (struct blobs_moved){0};
    if (!b->far)
        return err_set(err, ERR_INVALID, "there is no bucket in the settings: blobs = s3://...");
    if (!blobs_init(b, err))
        return false;
    return options->back ? blobs_far_walk(b->far, move_one, &m, err)
                         : blobs_walk_here(b->data, true, move_one, &m, err);
}
