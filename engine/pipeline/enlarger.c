/* enlarger.c: the steps from a picture's size to a larger one. Tiles are as large as the memory
 * limit leaves room for, and which those are is found anew in both runs, of which each has
 * allocated as much so far. */
#include "engine/pipeline/enlarger.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/builtin/builtin.h"
#include "engine/io/image.h"
#include "engine/pipeline/model.h"

#define PASSES 3
#define ROOM ((size_t)1 << 30) /* bytes for tiles where there is no limit */

void enlarger_hold(struct enlarger_held *held, size_t bytes)
{
    held->now += bytes;
    if (held->now > held->most)
        held->most = held->now;
}

void enlarger_drop(struct enlarger_held *held, size_t bytes)
{
    held->now -= bytes;
}

static size_t bytes_of(const struct pictor_image *image)
{
    return (size_t)image->width * (size_t)image->height * 3;
}

/* ---- opening ---- */

/* Takes `cp`, which may be NULL: then it could not be opened, and `err` is set. */
static struct pictor_upscaler *open_upscaler(struct pictor_engine *engine, struct checkpoint *cp,
                                             struct err *err)
{
    struct pictor_upscaler *u = cp ? calloc(1, sizeof *u) : NULL;
    if (cp && !u)
        err_set(err, ERR_INTERNAL, "no memory for an upscaler");
    if (u) {
        u->engine = engine;
        u->network = esrgan_load(engine->dev, cp, err);
    }
    checkpoint_free(cp);
    if (!u || !u->network) {
        free(u);
        return NULL;
    }
    u->info.scale = esrgan_config(u->network)->scale;
    u->info.weight_bytes = esrgan_bytes(u->network);
    size_t limit = engine->memory_limit;
    if (!limit || u->info.weight_bytes <= limit)
        return u;
    err_set(err, ERR_TOO_LARGE, "the upscaler's weights take %zu MiB, the memory limit is %zu MiB",
            u->info.weight_bytes >> 20, limit >> 20);
    pictor_upscaler_free(u);
    return NULL;
}

struct pictor_upscaler *pictor_upscaler_open_files(struct pictor_engine *engine,
                                                   const struct pictor_files *files,
                                                   struct err *err)
{
    size_t size;
    if (files->count > 0)
        return open_upscaler(engine, checkpoint_open_files(files, err), err);
    const void *data = builtin_upscaler(&size);
    return open_upscaler(engine, checkpoint_open_memory(data, size, err), err);
}

void pictor_upscaler_free(struct pictor_upscaler *u)
{
    if (!u)
        return;
    esrgan_free(u->network);
    free(u);
}

const struct pictor_upscaler_info *pictor_upscaler_info(const struct pictor_upscaler *u)
{
    return &u->info;
}

struct pictor_upscaler *enlarger_builtin(struct pictor_engine *engine, struct err *err)
{
    static const struct pictor_files none = {.count = 0};
    if (!engine->upscaler)
        engine->upscaler = pictor_upscaler_open_files(engine, &none, err);
    return engine->upscaler;
}

/* ---- enlarging ---- */

/* What tiles may take: what the limit leaves. Where that is too little, the smallest tiles are
 * planned, and the plan says how much too little it is. */
static int tile_for(const struct enlarger *e, const struct pictor_image *image)
{
    const struct pictor_engine *engine = e->upscaler->engine;
    size_t used = e->weights + e->held->now + arena_mark(e->ops->arena), room = ROOM, least;
    size_t limit = engine->memory_limit;
    if (limit)
        room = limit > used ? limit - used : 0;
    if (room > ROOM)
        room = ROOM;
    int tile =
        esrgan_tile(engine->dev, e->upscaler->network, image->width, image->height, room, &least);
    return tile ? tile
                : esrgan_tile(engine->dev, e->upscaler->network, image->width, image->height, least,
                              NULL);
}

/* Puts `fresh`, made of *image, in its place. */
static void replace(const struct enlarger *e, struct pictor_image *image,
                    const struct pictor_image *fresh)
{
    enlarger_drop(e->held, bytes_of(image));
    pictor_image_free(image);
    *image = *fresh;
}

static bool run_network(const struct enlarger *e, struct pictor_image *image, struct err *err)
{
    bool planning = arena_planning(e->ops->arena), ok = true;
    int scale = e->upscaler->info.scale;
    struct pictor_image large = {scale * image->width, scale * image->height, 3, NULL};
    enlarger_hold(e->held, bytes_of(&large));
    int tile = tile_for(e, image);
    if (!planning)
        ok = image_new(&large, large.width, large.height, 3, err);
    ok = ok && esrgan_enlarge(e->ops, e->upscaler->network, tile, e->watch, image->pixels,
                              image->width, image->height, large.pixels, err);
    if (!ok)
        pictor_image_free(&large);
    replace(e, image, &large);
    return ok;
}

static bool run_filter(const struct enlarger *e, struct pictor_image *image, int width, int height,
                       enum image_filter filter, struct err *err)
{
    struct pictor_image other = {width, height, 3, NULL};
    bool ok = true;
    if (image->width == width && image->height == height)
        return true;
    enlarger_hold(e->held, bytes_of(&other));
    if (!arena_planning(e->ops->arena))
        ok = image_resize(image, width, height, filter, &other, err);
    replace(e, image, &other);
    return ok;
}

bool enlarger_run(const struct enlarger *e, struct pictor_image *image, int width, int height,
                  struct err *err)
{
    if (!e->upscaler)
        return run_filter(e, image, width, height, e->filter, err);
    for (int i = 0; i < PASSES && (image->width < width || image->height < height); i++) {
        int before = image->width;
        if (!run_network(e, image, err))
            return false;
        if (image->width == before) /* it cleans up, and enlarges nothing */
            break;
    }
    return run_filter(e, image, width, height, IMAGE_LANCZOS, err);
}

/* ---- by itself ---- */

struct progress {
    const struct pictor_upscaler *upscaler;
    pictor_upscale_fn *fn;
    void *ctx;
};

static bool go_on(void *ctx, double share)
{
    const struct progress *p = ctx;
    return !atomic_load(&p->upscaler->engine->cancel) && (!p->fn || p->fn(p->ctx, share));
}

bool pictor_upscale(struct pictor_upscaler *u, const struct pictor_image *in, int width, int height,
                    pictor_upscale_fn *fn, void *ctx, struct pictor_image *out, struct err *err)
{
    struct pictor_engine *engine = u->engine;
    struct enlarger_held held = {0};
    struct arena arena;
    struct ops ops = {engine->dev, &arena};
    struct progress progress = {u, fn, ctx};
    const struct esrgan_watch watch = {go_on, &progress};
    struct enlarger e = {.ops = &ops,
                         .held = &held,
                         .upscaler = u,
                         .weights = u->info.weight_bytes,
                         .watch = &watch};
    *out = (struct pictor_image){0};
    if (in->width < 1 || in->height < 1 || width < 1 || height < 1 || width > IMAGE_SIDE_MAX ||
        height > IMAGE_SIDE_MAX)
        return err_set(err, ERR_INVALID, "upscaling %dx%d to %dx%d: wanted sides of 1..%d",
                       in->width, in->height, width, height, IMAGE_SIDE_MAX);
    struct pictor_image planned = {in->width, in->height, 3, NULL};
    arena_plan(&arena);
    enlarger_hold(&held, bytes_of(&planned));
    if (!enlarger_run(&e, &planned, width, height, err))
        return false;
    size_t bytes = arena.peak + held.most, limit = engine->memory_limit;
    if (limit && bytes > limit - u->info.weight_bytes)
        return err_set(err, ERR_TOO_LARGE,
                       "upscaling %dx%d to %dx%d needs %zu MiB beside the upscaler's %zu MiB; the "
                       "limit is %zu MiB",
                       in->width, in->height, width, height, bytes >> 20,
                       u->info.weight_bytes >> 20, limit >> 20);
    atomic_store(&engine->cancel, false);
    ops.arena = &engine->arena;
    held = (struct enlarger_held){.now = bytes_of(in)};
    bool ok = image_convert(in, 3, out, err) && arena_renew(&engine->arena, arena.peak, err) &&
              enlarger_run(&e, out, width, height, err);
    arena_rest(&engine->arena);
    if (!ok)
        pictor_image_free(out);
    return ok;
}
