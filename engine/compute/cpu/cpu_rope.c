/* cpu_rope.c: rotary positions.
 *
 * A token's angles serve all its heads, so they are spread out once: channel i becomes
 * x[i] near[i] + x[i's partner] far[i], which has no special cases for a vector. */
#include <assert.h>

#include "engine/compute/cpu/cpu.h"

struct rope {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *x;
    const float *cos, *sin;
    enum rope_pairs pairs;
    size_t heads, d;        /* d channels a head */
    size_t pixels, picture; /* of all pictures; of one */
};

#define ROPE_ROWS 16 /* pixels a task */

static void spread(const struct rope *r, size_t token, float *near, float *far)
{
    const float *cos = r->cos + token * (r->d / 2), *sin = r->sin + token * (r->d / 2);
    for (size_t i = 0; i < r->d / 2; i++) {
        size_t u = r->pairs == ROPE_ADJACENT ? 2 * i : i;
        size_t v = r->pairs == ROPE_ADJACENT ? 2 * i + 1 : i + r->d / 2;
        near[u] = near[v] = cos[i];
        far[u] = -sin[i];
        far[v] = sin[i];
    }
}

static void rope_rows(void *ctx, size_t task, int thread)
{
    const struct rope *r = ctx;
    enum dtype dtype = r->x->dtype;
    size_t head = r->d * dtype_size(dtype);
    float *near = (float *)cpu_scratch(r->dev, thread), *far = near + r->d;
    for (size_t i = task * ROPE_ROWS; i < r->pixels && i < (task + 1) * ROPE_ROWS; i++) {
        spread(r, i % r->picture, near, far);
        unsigned char *y = (unsigned char *)r->y->data + i * (size_t)r->y->ld * dtype_size(dtype);
        const unsigned char *x =
            (const unsigned char *)r->x->data + i * (size_t)r->x->ld * dtype_size(dtype);
        for (size_t h = 0; h < r->heads; h++)
            r->dev->k->rope(dtype, y + h * head, x + h * head, near, far, r->d, r->pairs);
    }
}

void cpu_rope(struct ops *o, struct tensor *y, const struct tensor *x, const float *cos,
              const float *sin, int heads, enum rope_pairs pairs)
{
    struct rope r = {cpu_of(o), y, x, cos, sin, pairs, (size_t)heads, 0, 0, 0};
    r.d = (size_t)x->c / r.heads;
    r.picture = (size_t)x->h * (size_t)x->w;
    r.pixels = (size_t)x->b * r.picture;
    assert(2 * r.d * sizeof(float) <= CPU_SCRATCH);
    pool_run(r.dev->pool, (r.pixels + ROPE_ROWS - 1) / ROPE_ROWS, rope_rows, &r);
}
