/* ops.c: the operations' contract: shapes are checked here, once, for every device; the work is
 * the device's. */
#include "engine/compute/ops.h"

#include <assert.h>
#include <string.h>

#include "engine/compute/device.h"

struct device *device_new(const struct device_options *options, struct err *err)
{
    return cpu_device_new(options, err);
}

void device_free(struct device *dev)
{
    if (dev)
        dev->table->free(dev);
}

const char *device_level_name(int i)
{
    return cpu_device_level_name(i);
}

const char *device_level(const struct device *dev)
{
    return dev->level;
}

int device_threads(const struct device *dev)
{
    return dev->threads;
}

uint64_t device_beats(const struct device *dev)
{
    return dev->table->beats(dev);
}

enum dtype device_dtype(const struct device *dev)
{
    return dev->dtype;
}

double device_peak(struct device *dev)
{
    return dev->table->peak(dev);
}

void device_run(struct device *dev, size_t n, pool_fn *fn, void *ctx)
{
    dev->table->run(dev, n, fn, ctx);
}

static int rows_of(const struct matrix_part *parts, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += parts[i].n;
    return n;
}

static void check_parts(enum matrix_kind kind, const struct matrix_part *parts, int count)
{
    assert(kind != MATRIX_GATED || count == 1);
    assert(!matrix_kind_gated(kind) || rows_of(parts, count) % 2 == 0);
}

struct matrix *matrix_new_stacked(struct device *dev, enum matrix_kind kind, int k,
                                  const struct matrix_part *parts, int count, struct err *err)
{
    check_parts(kind, parts, count);
    return dev->table->matrix_new(dev, kind, k, parts, count, false, err);
}

struct matrix *matrix_new_coarse(struct device *dev, enum matrix_kind kind, int k,
                                 const struct matrix_part *parts, int count, struct err *err)
{
    check_parts(kind, parts, count);
    return dev->table->matrix_new(dev, kind, k, parts, count, true, err);
}

struct matrix *matrix_new(struct device *dev, enum matrix_kind kind, int n, int k,
                          enum dtype w_dtype, const void *w, enum dtype bias_dtype,
                          const void *bias, struct err *err)
{
    struct matrix_part part = {
        .n = n, .dtype = w_dtype, .bias_dtype = bias_dtype, .w = w, .bias = bias};
    return matrix_new_stacked(dev, kind, k, &part, 1, err);
}

bool matrix_refill(struct device *dev, struct matrix *m, const struct matrix_part *parts, int count,
                   struct err *err)
{
    assert(rows_of(parts, count) == (matrix_kind_gated(m->kind) ? 2 * m->n : m->n));
    return dev->table->matrix_refill(dev, m, parts, count, err);
}

void matrix_rest(struct matrix *m)
{
    if (m->table->matrix_rest)
        m->table->matrix_rest(m);
}

void matrix_free(struct matrix *m)
{
    if (m)
        m->table->matrix_free(m);
}

size_t matrix_mapped(const struct matrix *m)
{
    return m->mapped;
}

size_t matrix_bytes(const struct matrix *m)
{
    return m->bytes;
}

int matrix_rows(const struct matrix *m)
{
    return m->n;
}

enum matrix_kind matrix_kind_of(const struct matrix *m)
{
    return m->kind;
}

bool matrix_is_coarse(const struct matrix *m)
{
    return m->coarse;
}

static bool same_pixels(const struct tensor *a, const struct tensor *b)
{
    return a->b == b->b && a->h == b->h && a->w == b->w;
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return same_pixels(a, b) && a->c == b->c;
}

static void check_epilogue(const struct tensor *y, const struct matrix *w, const struct epilogue *e)
{
    assert(y->c == w->n && !(matrix_kind_gated(w->kind) && e));
    assert(!e || !e->residual || same_shape(e->residual, y));
    assert(!e || !e->row || e->row_ld == 0 || e->row_ld >= (size_t)w->n);
    assert(!e || !e->gate || e->gate_ld == 0 || e->gate_ld >= (size_t)w->n);
}

void device_heed(struct device *dev, const atomic_bool *flag)
{
    dev->stop = flag;
}

bool device_stopped(const struct device *dev)
{
    return dev->stop && atomic_load_explicit(dev->stop, memory_order_relaxed);
}

static bool is_stopped(const struct ops *o)
{
    return device_stopped(o->dev) && !arena_planning(o->arena);
}

void ops_linear(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                const struct epilogue *e)
{
    check_epilogue(y, w, e);
    assert((w->kind == MATRIX_LINEAR || matrix_kind_gated(w->kind)) && x->c == w->k &&
           x->pad == 0 && y->pad == 0 && same_pixels(x, y) &&
           (!e || !e->residual || e->residual->pad == 0));
    if (!is_stopped(o))
        o->dev->table->linear(o, y, x, w, e);
}

bool device_wrap(struct device *dev, bool on)
{
    bool before = dev->wrap;
    dev->wrap = on;
    return before;
}

/* Makes the border of x what is on the other side. */
static void wrap(const struct ops *o, const struct tensor *x)
{
    size_t bytes = (size_t)x->c * dtype_size(x->dtype);
    if (!o->dev->wrap || arena_planning(o->arena))
        return;
    for (int b = 0; b < x->b; b++) {
        for (int i = 0; i < x->h; i++) {
            memcpy(tensor_at(x, b, i, -1), tensor_at(x, b, i, x->w - 1), bytes);
            memcpy(tensor_at(x, b, i, x->w), tensor_at(x, b, i, 0), bytes);
        }
        for (int i = -1; i <= x->w; i++) { /* corners, too */
            memcpy(tensor_at(x, b, -1, i), tensor_at(x, b, x->h - 1, i), bytes);
            memcpy(tensor_at(x, b, x->h, i), tensor_at(x, b, 0, i), bytes);
        }
    }
}

void ops_conv3x3(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                 int stride, bool even, const struct epilogue *e)
{
    check_epilogue(y, w, e);
    assert(w->kind == MATRIX_CONV3X3 && x->c == w->k && x->pad == 1 && x->b == y->b);
    assert((stride == 1 && !even && same_pixels(x, y)) ||
           (stride == 2 && !even && y->h == (x->h + 1) / 2 && y->w == (x->w + 1) / 2) ||
           (stride == 2 && even && y->h == x->h / 2 && y->w == x->w / 2));
    if (is_stopped(o))
        return;
    if (!even)
        wrap(o, x);
    o->dev->table->conv3x3(o, y, x, w, stride, even, e);
}

void ops_upsample(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                  const struct epilogue *e)
{
    check_epilogue(y, w, e);
    assert(w->kind == MATRIX_UPSAMPLE && x->c == w->k && x->pad == 1 && x->b == y->b);
    assert(y->h == 2 * x->h && y->w == 2 * x->w);
    if (is_stopped(o))
        return;
    wrap(o, x);
    o->dev->table->upsample(o, y, x, w, e);
}

void ops_group_norm(struct ops *o, struct tensor *y, const struct tensor *x, int groups, float eps,
                    const float *gamma, const float *beta, enum activation act)
{
    assert(same_shape(x, y) && x->pad == 0 && x->c % groups == 0 && x->data != y->data);
    assert(x->dtype == y->dtype);
    if (!is_stopped(o))
        o->dev->table->group_norm(o, y, x, groups, eps, gamma, beta, act);
}

void ops_norm(struct ops *o, struct tensor *y, const struct tensor *x, const struct norm_how *how)
{
    struct norm_how all = *how;
    if (all.group == 0)
        all.group = x->c;
    assert(same_shape(x, y) && x->pad == 0 && y->pad == 0 && x->dtype == y->dtype);
    assert(x->c % all.group == 0 && (all.ld == 0 || all.ld >= (size_t)all.group));
    assert(!all.rms || !all.beta);
    if (!is_stopped(o))
        o->dev->table->norm(o, y, x, &all);
}

void ops_layer_norm(struct ops *o, struct tensor *y, const struct tensor *x, float eps,
                    const float *gamma, const float *beta)
{
    ops_norm(o, y, x, &(struct norm_how){.eps = eps, .gamma = gamma, .beta = beta});
}

void ops_rms_norm(struct ops *o, struct tensor *y, const struct tensor *x, int group, float eps,
                  const float *gamma)
{
    ops_norm(o, y, x, &(struct norm_how){.rms = true, .group = group, .eps = eps, .gamma = gamma});
}

void ops_rope(struct ops *o, struct tensor *y, const struct tensor *x, const float *cos,
              const float *sin, int heads, enum rope_pairs pairs)
{
    assert(same_shape(x, y) && x->pad == 0 && y->pad == 0 && x->dtype == y->dtype);
    assert(heads > 0 && x->c % heads == 0 && x->c / heads % 2 == 0);
    if (!arena_planning(o->arena))
        o->dev->table->rope(o, y, x, cos, sin, heads, pairs);
}

void ops_attend(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                const struct tensor *v, const struct attention_how *how)
{
    struct attention_how all = *how;
    if (all.kv_heads == 0)
        all.kv_heads = all.heads;
    if (all.keys == 0)
        all.keys = k->w;
    assert(all.heads > 0 && all.kv_heads > 0 && all.heads % all.kv_heads == 0);
    assert(same_shape(q, y) && same_shape(k, v) && q->c % all.heads == 0);
    assert(k->c % all.kv_heads == 0 && q->c / all.heads == k->c / all.kv_heads);
    assert(q->h == 1 && k->h == 1 && !q->pad && !k->pad && !v->pad && !y->pad);
    assert((k->b == q->b || k->b == 1) && all.keys > 0 && all.keys <= k->w);
    if (!is_stopped(o))
        o->dev->table->attention(o, y, q, k, v, &all);
}

void ops_attention(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, int heads, bool causal)
{
    ops_attend(o, y, q, k, v, &(struct attention_how){.heads = heads, .causal = causal});
}

void ops_activate(struct ops *o, struct tensor *y, const struct tensor *x, enum activation act)
{
    assert(same_shape(x, y) && x->dtype == y->dtype);
    assert((x->pad == 0 && y->pad == 0) || (x->pad == y->pad && x->data == y->data));
    if (!arena_planning(o->arena))
        o->dev->table->activate(o, y, x, act);
}

void ops_add(struct ops *o, struct tensor *y, const struct tensor *x, float s)
{
    assert(same_shape(x, y) && x->dtype == y->dtype);
    if (!arena_planning(o->arena))
        o->dev->table->add(o, y, x, s);
}

void ops_resize(struct ops *o, struct tensor *y, const struct tensor *x)
{
    assert(x->b == y->b && x->c == y->c && x->pad == 0);
    if (!arena_planning(o->arena))
        o->dev->table->resize(o, y, x);
}

void ops_from_floats(struct ops *o, struct tensor *y, const float *src)
{
    if (!arena_planning(o->arena))
        o->dev->table->from_floats(o, y, src);
}

void ops_to_floats(struct ops *o, float *dst, const struct tensor *x)
{
    if (!arena_planning(o->arena))
        o->dev->table->to_floats(o, dst, x);
}
