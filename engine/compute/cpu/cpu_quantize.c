/* cpu_quantize.c: activations as int8 for the products of coarse matrices.
 *
 * Symmetric: the largest |x| that a scale serves becomes 127. Pixels of a linear layer have a scale
 * each; a 3x3 convolution sums nine of them, so a picture has one, which takes a pass over it to
 * find. */
#include <math.h>
#include <string.h>

#include "engine/compute/cpu/cpu.h"

struct quantize {
    struct cpu_device *dev;
    const struct tensor *x;
    struct tensor q;
    float *scale; /* [pixels], or [pictures] */
    float *most;  /* [rows of pictures]: the largest |x| */
};

static float largest(const struct quantize *z, int b, int y, int x)
{
    return z->dev->k->amax(z->x->dtype, tensor_at(z->x, b, y, x), (size_t)z->x->c);
}

static void put(const struct quantize *z, int b, int y, int x, float scale)
{
    int8_t *q = tensor_at(&z->q, b, y, x);
    size_t c = (size_t)z->x->c;
    z->dev->k->to_s8(z->x->dtype, q, tensor_at(z->x, b, y, x), scale > 0 ? 1 / scale : 0, c);
    memset(q + c, 0, (size_t)z->q.c - c);
}

/* A row of pixels with a scale each. */
static void pixels(void *ctx, size_t task, int thread)
{
    const struct quantize *z = ctx;
    int b = (int)(task / (size_t)z->x->h), y = (int)(task % (size_t)z->x->h);
    for (int x = 0; x < z->x->w; x++) {
        float *scale = &z->scale[task * (size_t)z->x->w + (size_t)x];
        *scale = largest(z, b, y, x) / 127;
        put(z, b, y, x, *scale);
    }
}

static void largest_of_row(void *ctx, size_t task, int thread)
{
    const struct quantize *z = ctx;
    int b = (int)(task / (size_t)z->x->h), y = (int)(task % (size_t)z->x->h);
    float most = 0;
    for (int x = 0; x < z->x->w; x++)
        most = fmaxf(most, largest(z, b, y, x));
    z->most[task] = most;
}

/* A row with its border, or of the border, which holds zeros or pixels of the other side. */
static void row(void *ctx, size_t task, int thread)
{
    const struct quantize *z = ctx;
    int rows = z->x->h + 2, b = (int)(task / (size_t)rows), y = (int)(task % (size_t)rows) - 1;
    for (int x = -1; x <= z->x->w; x++)
        put(z, b, y, x, z->scale[b]);
}

struct tensor cpu_quantize(struct ops *o, const struct tensor *x, float **scale)
{
    size_t rows = (size_t)x->b * (size_t)x->h;
    int c = (int)kernels_pack_k(DTYPE_I8, (size_t)x->c);
    struct quantize z = {.dev = cpu_of(o), .x = x};
    z.q = tensor_new(o->arena, DTYPE_I8, x->b, x->h, x->w, c, x->pad);
    z.scale = arena_alloc(o->arena, x->pad ? (size_t)x->b : rows * (size_t)x->w, sizeof *z.scale);
    z.most = arena_alloc(o->arena, rows, sizeof *z.most);
    *scale = z.scale;
    if (arena_planning(o->arena))
        return z.q;
    if (!x->pad) {
        pool_run(z.dev->pool, rows, pixels, &z);
        return z.q;
    }
    pool_run(z.dev->pool, rows, largest_of_row, &z);
    for (size_t b = 0; b < (size_t)x->b; b++) {
        float most = 0;
        for (size_t y = 0; y < (size_t)x->h; y++)
            most = fmaxf(most, z.most[b * (size_t)x->h + y]);
        z.scale[b] = most / 127;
    }
    pool_run(z.dev->pool, rows + 2 * (size_t)x->b, row, &z);
    return z.q;
}
