#include "engine/compute/hollow.h"

#include <stdlib.h>

#include "engine/compute/device.h"

struct hollow {
    struct device base;
    hollow_fn *fn;
    void *ctx;
};

static void note(struct ops *o, struct hollow_note n)
{
    const struct hollow *h = (const struct hollow *)o->dev;
    h->fn(h->ctx, &n);
}

static void hollow_free(struct device *dev)
{
    free(dev);
}

static double peak(struct device *dev)
{
    return 0;
}

static void free_matrix(struct matrix *m)
{
    free(m);
}

static struct matrix *new_matrix(struct device *dev, enum matrix_kind kind, int k,
                                 const struct matrix_part *parts, int count, bool coarse,
                                 struct err *err)
{
    struct matrix *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a matrix");
        return NULL;
    }
    *m = (struct matrix){.table = dev->table, .kind = kind, .k = k, .coarse = coarse};
    for (int i = 0; i < count; i++)
        m->n += parts[i].n;
    if (matrix_kind_gated(kind))
        m->n /= 2;
    return m;
}

static void linear(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                   const struct epilogue *e)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_LINEAR, y, x, NULL, w, 0});
}

static void conv3x3(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                    int stride, bool even, const struct epilogue *e)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_CONV3X3, y, x, NULL, w, 0});
}

static void upsample(struct ops *o, struct tensor *y, const struct tensor *x,
                     const struct matrix *w, const struct epilogue *e)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_UPSAMPLE, y, x, NULL, w, 0});
}

static void group_norm(struct ops *o, struct tensor *y, const struct tensor *x, int groups,
                       float eps, const float *gamma, const float *beta, enum activation act)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_GROUP_NORM, y, x, NULL, NULL, 0});
}

static void norm(struct ops *o, struct tensor *y, const struct tensor *x,
                 const struct norm_how *how)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_LAYER_NORM, y, x, NULL, NULL, 0});
}

static void attention(struct ops *o, struct tensor *y, const struct tensor *q,
                      const struct tensor *k, const struct tensor *v,
                      const struct attention_how *how)
{
    note(o, (struct hollow_note){o->arena, HOLLOW_ATTENTION, y, q, k, NULL, how->heads});
}

/* What ops.c does not call while planning is not here. */
static const struct device_table table = {
    .free = hollow_free,
    .peak = peak,
    .matrix_new = new_matrix,
    .matrix_free = free_matrix,
    .linear = linear,
    .conv3x3 = conv3x3,
    .upsample = upsample,
    .group_norm = group_norm,
    .norm = norm,
    .attention = attention,
};

struct device *hollow_new(enum dtype dtype, hollow_fn *fn, void *ctx, struct err *err)
{
    struct hollow *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, ERR_INTERNAL, "no memory for a device");
        return NULL;
    }
    h->base = (struct device){.table = &table, .level = "hollow", .threads = 1, .dtype = dtype};
    h->fn = fn;
    h->ctx = ctx;
    return &h->base;
}
