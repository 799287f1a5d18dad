/* cpu_rows.c: the operations that touch every pixel once: activation, resizing, and to and
 * from plain floats. */
#include <assert.h>
#include <string.h>

#include "engine/compute/cpu/cpu.h"

struct rows {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *x;
    enum activation act;
    float s;
    const float *src; /* [b, h, w, c] */
    float *dst;
};

static void run_rows(struct rows *r, const struct tensor *t, pool_fn *fn)
{
    pool_run(r->dev->pool, (size_t)t->b * (size_t)t->h, fn, r);
}

void cpu_clear_border(struct tensor *t)
{
    if (!t->pad)
        return;
    size_t pixel = (size_t)t->c * dtype_size(t->dtype);
    for (int b = 0; b < t->b; b++) {
        for (int x = -1; x <= t->w; x++) {
            memset(tensor_at(t, b, -1, x), 0, pixel);
            memset(tensor_at(t, b, t->h, x), 0, pixel);
        }
        for (int y = 0; y < t->h; y++) {
            memset(tensor_at(t, b, y, -1), 0, pixel);
            memset(tensor_at(t, b, y, t->w), 0, pixel);
        }
    }
}

static void activate_row(void *ctx, size_t task, int thread)
{
    const struct rows *r = ctx;
    const struct kernels *k = r->dev->k;
    int b = (int)(task / (size_t)r->x->h), y = (int)(task % (size_t)r->x->h);
    for (int i = 0; i < r->x->w; i++)
        k->activate(r->x->dtype, tensor_at(r->y, b, y, i), tensor_at(r->x, b, y, i),
                    (size_t)r->x->c, r->act);
}

void cpu_rows_activate(struct ops *o, struct tensor *y, const struct tensor *x, enum activation act)
{
    struct rows r = {.dev = cpu_of(o), .y = y, .x = x, .act = act};
    run_rows(&r, x, activate_row);
}

static void add_row(void *ctx, size_t task, int thread)
{
    const struct rows *r = ctx;
    const struct kernels *k = r->dev->k;
    struct tensor *y = r->y;
    int b = (int)(task / (size_t)y->h), row = (int)(task % (size_t)y->h), c = y->c;
    float *v = (float *)cpu_scratch(r->dev, thread), *s = v + (c + LANES) / LANES * LANES;
    for (int i = 0; i < c; i++)
        s[i] = r->s;
    for (int i = 0; i < y->w; i++) {
        k->to_f32(v, y->dtype, tensor_at(y, b, row, i), (size_t)c);
        k->affine(y->dtype, tensor_at(y, b, row, i), tensor_at(r->x, b, row, i), s, v, (size_t)c,
                  ACT_NONE);
    }
}

void cpu_rows_add(struct ops *o, struct tensor *y, const struct tensor *x, float s)
{
    struct rows r = {.dev = cpu_of(o), .y = y, .x = x, .s = s};
    assert((size_t)(y->c + LANES) * 2 <= CPU_SCRATCH / sizeof s);
    run_rows(&r, y, add_row);
}

static void resize_row(void *ctx, size_t task, int thread)
{
    const struct rows *r = ctx;
    const struct tensor *x = r->x;
    struct tensor *y = r->y;
    int b = (int)(task / (size_t)y->h), row = (int)(task % (size_t)y->h);
    int from = (int)((int64_t)row * x->h / y->h);
    size_t bytes = (size_t)x->c * dtype_size(x->dtype);
    for (int i = 0; i < y->w; i++)
        memcpy(tensor_at(y, b, row, i), tensor_at(x, b, from, (int)((int64_t)i * x->w / y->w)),
               bytes);
}

void cpu_rows_resize(struct ops *o, struct tensor *y, const struct tensor *x)
{
    struct rows r = {.dev = cpu_of(o), .y = y, .x = x};
    cpu_clear_border(y);
    run_rows(&r, y, resize_row);
}

static void from_row(void *ctx, size_t task, int thread)
{
    const struct rows *r = ctx;
    struct tensor *y = r->y;
    int b = (int)(task / (size_t)y->h), row = (int)(task % (size_t)y->h);
    const float *src = r->src + task * (size_t)y->w * (size_t)y->c;
    float *v = (float *)cpu_scratch(r->dev, thread);
    memset(v, 0, (size_t)y->ld * sizeof *v);
    for (int i = 0; i < y->w; i++) {
        memcpy(v, src + (size_t)i * (size_t)y->c, (size_t)y->c * sizeof *v);
        r->dev->k->from_f32(y->dtype, tensor_at(y, b, row, i), v, (size_t)y->ld);
    }
}

void cpu_rows_from_floats(struct ops *o, struct tensor *y, const float *src)
{
    struct rows r = {.dev = cpu_of(o), .y = y, .src = src};
    assert((size_t)y->ld <= CPU_SCRATCH / sizeof *src);
    if (y->pad)
        memset(y->data, 0, tensor_bytes(y));
    run_rows(&r, y, from_row);
}

static void to_row(void *ctx, size_t task, int thread)
{
    const struct rows *r = ctx;
    const struct tensor *x = r->x;
    int b = (int)(task / (size_t)x->h), row = (int)(task % (size_t)x->h);
    float *dst = r->dst + task * (size_t)x->w * (size_t)x->c;
    float *v = (float *)cpu_scratch(r->dev, thread); /* a kernel may write past c */
    for (int i = 0; i < x->w; i++) {
        r->dev->k->to_f32(v, x->dtype, tensor_at(x, b, row, i), (size_t)x->c);
        memcpy(dst + (size_t)i * (size_t)x->c, v, (size_t)x->c * sizeof *v);
    }
}

void cpu_rows_to_floats(struct ops *o, float *dst, const struct tensor *x)
{
    struct rows r = {.dev = cpu_of(o), .x = x, .dst = dst};
    run_rows(&r, x, to_row);
}
