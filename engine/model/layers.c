#include "engine/model/layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_SIZE 192

static bool get(struct loader *l, const char *prefix, const char *name, const char *suffix,
                int ndim, const size_t *shape, struct raw_tensor *out)
{
    char full[NAME_SIZE];
    if (l->failed)
        return false;
    if (!l->cp) {
        *out = (struct raw_tensor){.dtype = DTYPE_F32, .ndim = ndim};
        return true;
    }
    int n = snprintf(full, sizeof full, "%s%s%s", prefix, name, suffix);
    if (n < 0 || (size_t)n >= sizeof full)
        l->failed = !err_set(l->err, ERR_INTERNAL, "tensor name too long: %s", full);
    else
        l->failed = !checkpoint_get(l->cp, full, ndim, shape, out, l->err);
    return !l->failed;
}

static struct matrix *load_parts(struct loader *l, enum matrix_kind kind, const char *prefix,
                                 const char *const *names, const int *rows, int count, int k,
                                 bool bias)
{
    struct matrix_part parts[WEIGHTS_PARTS] = {{0}};
    struct raw_tensor w[WEIGHTS_PARTS], b[WEIGHTS_PARTS] = {{0}};
    if (!l->failed && (k < 1 || k > LAYERS_MAX_K))
        l->failed = !err_set(l->err, ERR_UNSUPPORTED,
                             "%s%s.weight: wanted 1..%d channels to take in, found %d", prefix,
                             names[0], LAYERS_MAX_K, k);
    for (int i = 0; i < count; i++) {
        int n = rows[i];
        const size_t shape[4] = {(size_t)n, (size_t)k, 3, 3};
        if (!get(l, prefix, names[i], ".weight", kind < MATRIX_CONV3X3 ? 2 : 4, shape, &w[i]) ||
            (bias && !get(l, prefix, names[i], ".bias", 1, shape, &b[i])))
            return NULL;
        parts[i] = (struct matrix_part){.n = n,
                                        .dtype = w[i].dtype,
                                        .bias_dtype = b[i].dtype,
                                        .w = w[i].data,
                                        .bias = b[i].data,
                                        .scale = w[i].scale,
                                        .stays = true,
                                        .lean = l->lean,
                                        .scales = w[i].scales,
                                        .first_row = w[i].first_row};
    }
    struct matrix *m =
        (l->coarse ? matrix_new_coarse : matrix_new_stacked)(l->dev, kind, k, parts, count, l->err);
    for (int i = 0; i < count && l->cp; i++)
        checkpoint_release(l->cp, &w[i]);
    l->failed =
        !m || (l->cp && l->weights && !weights_add(l->weights, m, w, b, count, l->lean, l->err));
    return m;
}

static struct matrix *load(struct loader *l, enum matrix_kind kind, const char *prefix,
                           const char *const *names, int count, int n, int k, bool bias)
{
    int rows[WEIGHTS_PARTS];
    for (int i = 0; i < count; i++)
        rows[i] = n;
    return load_parts(l, kind, prefix, names, rows, count, k, bias);
}

struct matrix *layers_linear(struct loader *l, const char *prefix, const char *name, int n, int k,
                             bool bias)
{
    return load(l, MATRIX_LINEAR, prefix, &name, 1, n, k, bias);
}

struct matrix *layers_gated(struct loader *l, const char *prefix, const char *name, int n, int k)
{
    return load(l, MATRIX_GATED, prefix, &name, 1, 2 * n, k, true);
}

struct matrix *layers_conv3x3(struct loader *l, const char *prefix, const char *name, int n, int k)
{
    return load(l, MATRIX_CONV3X3, prefix, &name, 1, n, k, true);
}

struct matrix *layers_upsample(struct loader *l, const char *prefix, const char *name, int n, int k)
{
    return load(l, MATRIX_UPSAMPLE, prefix, &name, 1, n, k, true);
}

struct matrix *layers_bare_conv3x3(struct loader *l, const char *prefix, const char *name, int n,
                                   int k)
{
    return load(l, MATRIX_CONV3X3, prefix, &name, 1, n, k, false);
}

struct matrix *layers_bare_upsample(struct loader *l, const char *prefix, const char *name, int n,
                                    int k)
{
    return load(l, MATRIX_UPSAMPLE, prefix, &name, 1, n, k, false);
}

struct matrix *layers_stacked(struct loader *l, const char *prefix, const char *const *names,
                              int count, int n, int k, bool bias)
{
    return load(l, MATRIX_LINEAR, prefix, names, count, n, k, bias);
}

struct matrix *layers_parts(struct loader *l, enum matrix_kind kind, const char *prefix,
                            const char *const *names, const int *rows, int count, int k)
{
    return load_parts(l, kind, prefix, names, rows, count, k, false);
}

/* `t` becomes n of its `all` rows, from `from` on. */
static void cut_rows(const struct loader *l, struct raw_tensor *t, int from, int n, int all)
{
    size_t row = t->bytes / (size_t)all;
    t->shape[0] = (size_t)n;
    t->bytes = row * (size_t)n;
    t->first_row += (size_t)from;
    if (l->cp)
        t->data = (const char *)t->data + row * (size_t)from;
}

struct matrix *layers_rows(struct loader *l, enum matrix_kind kind, const char *prefix,
                           const char *name, int from, int n, int all, int k, bool bias)
{
    struct raw_tensor t, b = {0};
    const size_t shape[2] = {(size_t)all, (size_t)k};
    if (!get(l, prefix, name, ".weight", 2, shape, &t) ||
        (bias && !get(l, prefix, name, ".bias", 1, shape, &b)))
        return NULL;
    if (k < 1 || k > LAYERS_MAX_K || (l->cp && (size_t)k % dtype_block(t.dtype))) {
        l->failed = !err_set(l->err, ERR_UNSUPPORTED,
                             "%s%s.weight: wanted 1..%d channels to take in, whole blocks of its "
                             "type, found %d",
                             prefix, name, LAYERS_MAX_K, k);
        return NULL;
    }
    if (bias && l->cp && dtype_block(b.dtype) != 1) {
        l->failed = !err_set(l->err, ERR_UNSUPPORTED,
                             "%s%s.bias: wanted single numbers, found blocks", prefix, name);
        return NULL;
    }
    cut_rows(l, &t, from, n, all);
    if (bias)
        cut_rows(l, &b, from, n, all);
    struct matrix_part part = {.n = n,
                               .dtype = t.dtype,
                               .bias_dtype = b.dtype,
                               .w = t.data,
                               .bias = b.data,
                               .scale = t.scale,
                               .stays = true,
                               .lean = l->lean,
                               .scales = t.scales,
                               .first_row = t.first_row};
    struct matrix *m =
        (l->coarse ? matrix_new_coarse : matrix_new_stacked)(l->dev, kind, k, &part, 1, l->err);
    if (l->cp)
        checkpoint_release(l->cp, &t);
    l->failed =
        !m || (l->cp && l->weights && !weights_add(l->weights, m, &t, &b, 1, l->lean, l->err));
    return m;
}

struct norm layers_norm(struct loader *l, const char *prefix, const char *name, int c)
{
    struct norm n = {.c = c};
    struct raw_tensor w, b;
    size_t shape[1] = {(size_t)c};
    if (!get(l, prefix, name, ".weight", 1, shape, &w) ||
        !get(l, prefix, name, ".bias", 1, shape, &b))
        return n;
    n.gamma = calloc(2 * (size_t)c, sizeof *n.gamma);
    if (!n.gamma) {
        l->failed = !err_set(l->err, ERR_INTERNAL, "no memory for a norm of %d channels", c);
        return n;
    }
    n.beta = n.gamma + c;
    if (l->cp) {
        raw_tensor_floats(&w, 0, (size_t)c, n.gamma);
        raw_tensor_floats(&b, 0, (size_t)c, n.beta);
    }
    return n;
}

void layers_norm_free(struct norm *n)
{
    free(n->gamma);
    *n = (struct norm){0};
}

float *layers_floats(struct loader *l, const char *prefix, const char *name, int ndim,
                     const size_t *shape)
{
    struct raw_tensor t;
    if (!get(l, prefix, name, "", ndim, shape, &t))
        return NULL;
    size_t n = raw_tensor_count(&t);
    float *f = malloc(n * sizeof *f);
    if (!f) {
        l->failed = !err_set(l->err, ERR_TOO_LARGE, "no memory for %s%s", prefix, name);
        return NULL;
    }
    raw_tensor_floats(&t, 0, n, f);
    if (l->weights)
        l->weights->bytes += n * sizeof *f;
    return f;
}

void layers_sinusoids(double x, int n, float *out)
{
    int half = n / 2;
    for (int i = 0; i < half; i++) {
        double angle = x * exp(-log(10000.0) * i / half);
        out[i] = (float)cos(angle);
        out[half + i] = (float)sin(angle);
    }
}

void layers_group_norm(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct norm *n, float eps, enum activation act)
{
    ops_group_norm(o, y, x, LAYERS_GROUPS, eps, n->gamma, n->beta, act);
}

void layers_layer_norm(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct norm *n)
{
    ops_layer_norm(o, y, x, 1e-5f, n->gamma, n->beta);
}

void layers_resnet(struct ops *o, const struct resnet *r, struct tensor *y, const struct tensor *x,
                   const struct tensor *emb)
{
    size_t mark = arena_mark(o->arena);
    struct tensor h2 = tensor_new(o->arena, x->dtype, x->b, x->h, x->w, r->cout, 0);
    struct epilogue first = {0}, last = {.residual = x};
    struct tensor row;
    if (r->emb) {
        row = tensor_new(o->arena, DTYPE_F32, emb->b, 1, 1, r->cout, 0);
        ops_linear(o, &row, emb, r->emb, NULL);
        first.row = row.data;
        first.row_ld = emb->b > 1 ? (size_t)row.ld : 0;
    }
    size_t padded = arena_mark(o->arena);
    struct tensor h1 = tensor_new(o->arena, x->dtype, x->b, x->h, x->w, r->cin, 1);
    layers_group_norm(o, &h1, x, &r->norm1, r->eps, ACT_SILU);
    ops_conv3x3(o, &h2, &h1, r->conv1, 1, false, &first);
    arena_reset(o->arena, padded);
    struct tensor h3 = tensor_new(o->arena, x->dtype, x->b, x->h, x->w, r->cout, 1);
    layers_group_norm(o, &h3, &h2, &r->norm2, r->eps, ACT_SILU);
    if (r->skip) {
        ops_linear(o, y, x, r->skip, NULL);
        last.residual = y;
    }
    ops_conv3x3(o, y, &h3, r->conv2, 1, false, &last);
    arena_reset(o->arena, mark);
}

void layers_resnet_free(struct resnet *r)
{
    layers_norm_free(&r->norm1);
    layers_norm_free(&r->norm2);
    matrix_free(r->conv1);
    matrix_free(r->conv2);
    matrix_free(r->emb);
    matrix_free(r->skip);
    *r = (struct resnet){0};
}
