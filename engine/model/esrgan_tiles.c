/* esrgan_tiles.c: pictures of any size in bounded memory.
 *
 *     |<------ tile ------>|            A tile's outermost pixels lack a part of what they would
 *     |       ......................    see in the whole picture. The seam to the next tile lies
 *     |       :  |  :      |       :    in the middle of what both have (`margin` from the edges),
 *     |       :  |  :      |       :    and one goes over into the other within `fade` pixels on
 *     |       :  |  :      |       :    either side of it.
 *             :  seam
 *
 * All tiles of a picture are of one size, so that the memory is known before: the last one of a
 * line or column reaches back. A line of tiles is put together as floats, then faded into the
 * picture above it. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/model/esrgan.h"

#define STEP 4 /* tiles begin and end at multiples of it: the largest unshuffle */
#define RRDB_MARGIN 32
#define RRDB_FADE 8
#define LEAST 64 /* pixels of a tile beside its margins */
#define MOST 512

struct tiles {
    int margin, fade;  /* of the input's pixels */
    int width, height; /* of the picture, filled up to multiples of `unshuffle` */
    int tile_w, tile_h;
};

static struct tiles tiles_of(const struct esrgan_config *c, int w, int h, int tile)
{
    struct tiles t = {.margin = RRDB_MARGIN, .fade = RRDB_FADE};
    if (c->compact) { /* a layer sees one pixel further */
        t.margin = (c->blocks + 2 + STEP - 1) / STEP * STEP;
        t.fade = 0;
    }
    t.width = (w + c->unshuffle - 1) / c->unshuffle * c->unshuffle;
    t.height = (h + c->unshuffle - 1) / c->unshuffle * c->unshuffle;
    t.tile_w = t.width < tile ? t.width : tile;
    t.tile_h = t.height < tile ? t.height : tile;
    return t;
}

static size_t peak(struct device *dev, const struct esrgan *e, int w, int h, int tile)
{
    struct arena plan;
    struct ops dry = {dev, &plan};
    arena_plan(&plan);
    esrgan_enlarge(&dry, e, tile, NULL, NULL, w, h, NULL, NULL);
    return plan.peak;
}

int esrgan_tile(struct device *dev, const struct esrgan *e, int w, int h, size_t room,
                size_t *least)
{
    int smallest = LEAST + 2 * tiles_of(esrgan_config(e), w, h, MOST).margin;
    int tile = smallest > MOST ? smallest : MOST;
    for (;; tile = tile - LEAST > smallest ? tile - LEAST : smallest) {
        size_t bytes = peak(dev, e, w, h, tile);
        if (bytes <= room)
            return tile;
        if (least)
            *least = bytes;
        if (tile == smallest)
            return 0;
    }
}

/* Where the tile after `at` begins; `at` itself behind the last. */
static int next_tile(int at, int size, int tile, int margin)
{
    int last = size - tile, next = at + tile - 2 * margin;
    return next < last ? next : last;
}

/* How much of pixel i a tile gives that begins at `at`, where the pixel before it is given. */
static float share(int i, int at, int scale, const struct tiles *t)
{
    if (at == 0)
        return 1;
    float from = (float)((at + t->margin - t->fade) * scale);
    if (!t->fade)
        return (float)i >= from;
    float s = ((float)i + 0.5f - from) / (float)(2 * t->fade * scale);
    return s < 0 ? 0 : s < 1 ? s : 1;
}

/* A pixel outside is the one that mirrors it (PyTorch's "reflect"); pictures of one pixel have
 * none. */
static int mirror(int i, int size)
{
    int at = i < size ? i : 2 * (size - 1) - i;
    return at < 0 ? 0 : at;
}

/* Values of a tile at (x, y), 0..1. */
static void take(const uint8_t *in, int w, int h, const struct tiles *t, int x, int y, float *out)
{
    for (int i = 0; i < t->tile_h; i++)
        for (int j = 0; j < t->tile_w; j++, out += 3) {
            const uint8_t *p =
                in + ((size_t)mirror(y + i, h) * (size_t)w + (size_t)mirror(x + j, w)) * 3;
            for (int c = 0; c < 3; c++)
                out[c] = (float)p[c] / 255;
        }
}

/* Into a line of tiles, [scale tile_h, scale width, 3]. */
static void put(const float *tile, const struct tiles *t, int scale, int x, float *line)
{
    size_t wide = (size_t)(t->width * scale) * 3, tile_wide = (size_t)(t->tile_w * scale) * 3;
    for (int j = 0; j < t->tile_w * scale; j++) {
        float s = share(x * scale + j, x, scale, t);
        for (int i = 0; i < t->tile_h * scale && s > 0; i++) {
            const float *from = tile + (size_t)i * tile_wide + (size_t)j * 3;
            float *to = line + (size_t)i * wide + (size_t)(x * scale + j) * 3;
            for (int c = 0; c < 3; c++)
                to[c] = s < 1 ? to[c] + s * (from[c] - to[c]) : from[c];
        }
    }
}

static float clamp(float v)
{
    return v > 0 ? v < 1 ? v : 1 : 0;
}

/* A line of tiles at y into the picture [scale h, scale w, 3]. */
static void finish(const float *line, const struct tiles *t, int scale, int w, int h, int y,
                   uint8_t *out)
{
    size_t wide = (size_t)(t->width * scale) * 3, row = (size_t)(w * scale) * 3;
    for (int i = 0; i < t->tile_h * scale && y * scale + i < h * scale; i++) {
        float s = share(y * scale + i, y, scale, t);
        uint8_t *to = out + (size_t)(y * scale + i) * row;
        const float *from = line + (size_t)i * wide;
        for (size_t j = 0; j < row && s > 0; j++) {
            float v = 255 * clamp(from[j]);
            to[j] = (uint8_t)(s < 1 ? to[j] + s * (v - to[j]) + 0.5f : v + 0.5f);
        }
    }
}

/* How much of the picture was done before the tile at work. */
struct part {
    const struct esrgan_watch *watch;
    int done, count;
};

static bool part_goes_on(void *ctx, double share_of_tile)
{
    const struct part *p = ctx;
    return p->watch->go_on(p->watch->ctx, (p->done + share_of_tile) / p->count);
}

static int count_tiles(int size, int tile, int margin)
{
    int n = 1;
    for (int at = 0; at < size - tile; n++)
        at = next_tile(at, size, tile, margin);
    return n;
}

/* One that is none is in every pixel around it, and would be a black one. */
static bool check_numbers(const float *numbers, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return err_set(err, ERR_INVALID,
                           "the upscaler made numbers that are none (NaN or infinite): its weights "
                           "are broken");
    return true;
}

bool esrgan_enlarge(struct ops *o, const struct esrgan *e, int tile,
                    const struct esrgan_watch *watch, const uint8_t *in, int w, int h, uint8_t *out,
                    struct err *err)
{
    const struct esrgan_config *c = esrgan_config(e);
    struct tiles t = tiles_of(c, w, h, tile);
    int s = c->scale;
    size_t mark = arena_mark(o->arena), pixels = (size_t)t.tile_w * (size_t)t.tile_h * 3;
    size_t line_pixels = (size_t)(t.width * s) * (size_t)(t.tile_h * s) * 3;
    bool planning = arena_planning(o->arena), ok = true;
    assert(w > 0 && h > 0 && tile > 2 * t.margin && tile % STEP == 0);
    float *from = arena_alloc(o->arena, pixels, sizeof *from);
    float *to = arena_alloc(o->arena, pixels * (size_t)(s * s), sizeof *to);
    float *line = arena_alloc(o->arena, line_pixels, sizeof *line);
    struct part part = {watch, 0,
                        count_tiles(t.width, t.tile_w, t.margin) *
                            count_tiles(t.height, t.tile_h, t.margin)};
    const struct esrgan_watch of_part = {part_goes_on, &part};
    for (int y = 0; ok; y = next_tile(y, t.height, t.tile_h, t.margin)) {
        for (int x = 0; ok; x = next_tile(x, t.width, t.tile_w, t.margin)) {
            if (!planning)
                take(in, w, h, &t, x, y, from);
            ok = esrgan_forward(o, e, watch ? &of_part : NULL, from, t.tile_h, t.tile_w, to) ||
                 err_set(err, ERR_CANCELLED, "cancelled");
            ok = ok && (planning || check_numbers(to, pixels * (size_t)(s * s), err));
            if (ok && !planning)
                put(to, &t, s, x, line);
            part.done++;
            if (planning || x == t.width - t.tile_w)
                break;
        }
        if (ok && !planning)
            finish(line, &t, s, w, h, y, out);
        if (planning || y == t.height - t.tile_h)
            break;
    }
    arena_reset(o->arena, mark);
    return ok;
}
