/* bench.c: The list of operations is what the model asks for while it is planned on a device
 * without weights, so it adds up to the whole; equal shapes are measured once and counted. */
#include "engine/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/compute/hollow.h"
#include "engine/compute/ops.h"
#include "engine/family/family.h"

#define MAX_ROWS 160
#define RUNS 5     /* the median of */
#define CONTEXT 77 /* tokens of a prompt */

struct shape {
    enum bench_kind kind;
    int b, side, k, n; /* side x side pixels; attention: n heads of k channels */
    bool coarse;       /* the weights may be int8 */
    int count;
    const char *part;
};

struct list {
    struct shape at[MAX_ROWS];
    int count;
    const char *part;          /* of what is noted now */
    const struct arena *arena; /* what is planned over it is noted */
};

static enum bench_kind kind_of(const struct hollow_note *n)
{
    switch (n->kind) {
    case HOLLOW_LINEAR:
        return matrix_kind_gated(matrix_kind_of(n->w)) ? BENCH_GATED : BENCH_LINEAR;
    case HOLLOW_CONV3X3:
        return n->y->h < n->x->h ? BENCH_CONV_HALF : BENCH_CONV;
    case HOLLOW_UPSAMPLE:
        return BENCH_UPSAMPLE;
    case HOLLOW_ATTENTION:
        return n->keys->w == n->x->w ? BENCH_ATTENTION : BENCH_CROSS;
    case HOLLOW_GROUP_NORM:
        return BENCH_GROUP_NORM;
    case HOLLOW_LAYER_NORM:
        return BENCH_LAYER_NORM;
    }
    return BENCH_LINEAR;
}

/* The picture is a square, and so are its tokens. Products of a single pixel, which embed the time,
 * take no time worth a row. */
static void add(void *ctx, const struct hollow_note *n)
{
    struct list *l = ctx;
    if (n->arena != l->arena)
        return;
    enum bench_kind kind = kind_of(n);
    const struct tensor *t = kind == BENCH_CONV_HALF ? n->x : n->y;
    struct shape s = {.kind = kind, .b = t->b, .k = n->x->c, .n = n->y->c, .part = l->part};
    s.side = (int)lround(sqrt((double)t->h * t->w));
    s.coarse = n->w && matrix_is_coarse(n->w);
    if (s.b * s.side == 1)
        return;
    if (kind == BENCH_ATTENTION || kind == BENCH_CROSS) {
        s.k = n->x->c / n->heads;
        s.n = n->heads;
    } else if (kind == BENCH_GROUP_NORM || kind == BENCH_LAYER_NORM) {
        s.n = 0;
    }
    for (int i = 0; i < l->count; i++) {
        struct shape *o = &l->at[i];
        if (o->kind == s.kind && o->b == s.b && o->side == s.side && o->k == s.k && o->n == s.n &&
            o->part == s.part) {
            o->count++;
            return;
        }
    }
    s.count = 1;
    if (l->count < MAX_ROWS)
        l->at[l->count++] = s;
}

/* A guided call of the network, both prompts as a batch, and a decode. */
static bool list_operations(struct list *l, enum dtype dtype, int side, struct err *err)
{
    const struct family *family = &family_sd1;
    struct device *dev = hollow_new(dtype, add, l, err);
    struct family_model *m = dev ? family->sketch(dev, err) : NULL;
    bool ok = false;
    if (!m)
        goto done;
    struct arena arena;
    struct ops o = {.dev = dev, .arena = &arena};
    struct pictor_params params = {0};
    int n = side / m->facts.factor;
    struct family_picture picture = {.width = n, .height = n, .params = &params};
    const struct family_words words[2] = {{.tokens = CONTEXT}, {.tokens = CONTEXT}};
    arena_plan(&arena);
    struct family_call *call = family->call_new(m, &o, &picture, words, 2, err);
    if (!call)
        goto done;
    l->arena = &arena;
    l->part = "unet";
    family->predict(m, &o, call, NULL, 0, false, NULL);
    family->call_free(call);
    l->part = "vae";
    family->decode(m, &o, NULL, n, n, NULL);
    ok = true;
done:
    if (m)
        family->free(m);
    device_free(dev);
    return ok;
}

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

/* Random numbers of unit size; the same pattern again and again is random enough for a multiplier.
 */
static void fill(float *p, size_t n)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes */
        p[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    }
}

static double flops_of(const struct shape *s)
{
    double pixels = (double)s->b * s->side * s->side;
    switch (s->kind) {
    case BENCH_CONV:
        return 2 * 9 * pixels * s->k * s->n;
    case BENCH_CONV_HALF:
        return 2 * 9 * pixels / 4 * s->k * s->n;
    case BENCH_UPSAMPLE: /* what the sums of weights leave of nine taps */
        return 2 * 4 * pixels * s->k * s->n;
    case BENCH_LINEAR:
        return 2 * pixels * s->k * s->n;
    case BENCH_GATED:
        return 4 * pixels * s->k * s->n;
    case BENCH_ATTENTION:
        return 4 * pixels * s->side * s->side * s->k * s->n;
    case BENCH_CROSS:
        return 4 * pixels * CONTEXT * s->k * s->n;
    case BENCH_GROUP_NORM:
    case BENCH_LAYER_NORM:
        return 0; /* bound by memory; only the time counts */
    }
    return 0;
}

static void name_of(const struct shape *s, char *buf, size_t size)
{
    switch (s->kind) {
    case BENCH_CONV:
        snprintf(buf, size, "conv 3x3 %d -> %d", s->k, s->n);
        break;
    case BENCH_CONV_HALF:
        snprintf(buf, size, "conv 3x3 /2 %d -> %d", s->k, s->n);
        break;
    case BENCH_UPSAMPLE:
        snprintf(buf, size, "upsample + conv 3x3 %d -> %d", s->k, s->n);
        break;
    case BENCH_LINEAR:
        snprintf(buf, size, "linear %d -> %d", s->k, s->n);
        break;
    case BENCH_GATED:
        snprintf(buf, size, "linear + geglu %d -> %d", s->k, s->n);
        break;
    case BENCH_ATTENTION:
        snprintf(buf, size, "self-attention %d x %d", s->n, s->k);
        break;
    case BENCH_CROSS:
        snprintf(buf, size, "cross-attention %d x %d", s->n, s->k);
        break;
    case BENCH_GROUP_NORM:
        snprintf(buf, size, "group norm + silu %d", s->k);
        break;
    case BENCH_LAYER_NORM:
        snprintf(buf, size, "layer norm %d", s->k);
        break;
    }
}

struct bench {
    struct device *dev;
    float *random; /* weights of the largest matrix */
};

/* One operation, planned or run; `times` gets RUNS durations when it is run. */
static void run_shape(struct ops *o, const struct shape *s, const struct matrix *m,
                      const float *norm, double *times)
{
    size_t mark = arena_mark(o->arena);
    enum dtype dtype = device_dtype(o->dev);
    bool attends = s->kind == BENCH_ATTENTION || s->kind == BENCH_CROSS;
    bool conv = s->kind <= BENCH_UPSAMPLE;
    int cin = attends ? s->k * s->n : s->k;
    int cout = s->kind == BENCH_GROUP_NORM || s->kind == BENCH_LAYER_NORM ? s->k
               : attends                                                  ? cin
                                                                          : s->n;
    int side = s->kind == BENCH_CONV_HALF ? s->side / 2 : s->side;
    int x_side = s->kind == BENCH_UPSAMPLE ? s->side / 2 : s->side;
    struct tensor x = tensor_new(o->arena, dtype, s->b, x_side, x_side, cin, conv);
    struct tensor y =
        tensor_new(o->arena, dtype, s->b, side, side, cout, s->kind == BENCH_GROUP_NORM);
    struct tensor kv = tensor_new(o->arena, dtype, s->b, 1,
                                  s->kind == BENCH_CROSS ? CONTEXT : s->side * s->side, 2 * cin, 0);
    if (!arena_planning(o->arena)) {
        memset(x.data, 0x3c, tensor_bytes(&x)); /* about 0.01 in either format */
        memset(kv.data, 0x3c, tensor_bytes(&kv));
    }
    struct tensor k = tensor_slice(&kv, 0, cin), v = tensor_slice(&kv, cin, cin);
    for (int i = 0; i < (times ? RUNS + 1 : 1); i++) {
        double began = bench_now();
        switch (s->kind) {
        case BENCH_CONV:
            ops_conv3x3(o, &y, &x, m, 1, false, NULL);
            break;
        case BENCH_CONV_HALF:
            ops_conv3x3(o, &y, &x, m, 2, false, NULL);
            break;
        case BENCH_UPSAMPLE:
            ops_upsample(o, &y, &x, m, NULL);
            break;
        case BENCH_LINEAR:
        case BENCH_GATED:
            ops_linear(o, &y, &x, m, NULL);
            break;
        case BENCH_ATTENTION:
        case BENCH_CROSS: {
            struct tensor q = tensor_tokens(&x), out = tensor_tokens(&y);
            ops_attention(o, &out, &q, &k, &v, s->n, false);
            break;
        }
        case BENCH_GROUP_NORM:
            ops_group_norm(o, &y, &x, 32, 1e-5f, norm, norm, ACT_SILU);
            break;
        case BENCH_LAYER_NORM:
            ops_layer_norm(o, &y, &x, 1e-5f, norm, norm);
            break;
        }
        if (times && i > 0) /* the first run brings the pages in */
            times[i - 1] = bench_now() - began;
    }
    arena_reset(o->arena, mark);
}

static bool measure(struct bench *bench, const struct shape *s, struct bench_row *row, double *peak,
                    struct err *err)
{
    struct arena arena;
    struct ops o = {bench->dev, &arena};
    struct matrix *m = NULL;
    if (s->kind <= BENCH_GATED) {
        enum matrix_kind kind = s->kind == BENCH_GATED      ? MATRIX_GATED
                                : s->kind == BENCH_LINEAR   ? MATRIX_LINEAR
                                : s->kind == BENCH_UPSAMPLE ? MATRIX_UPSAMPLE
                                                            : MATRIX_CONV3X3;
        struct matrix_part part = {.n = kind == MATRIX_GATED ? 2 * s->n : s->n,
                                   .dtype = DTYPE_F32,
                                   .bias_dtype = DTYPE_F32,
                                   .w = bench->random,
                                   .bias = bench->random};
        m = s->coarse ? matrix_new_coarse(bench->dev, kind, s->k, &part, 1, err)
                      : matrix_new_stacked(bench->dev, kind, s->k, &part, 1, err);
        if (!m)
            return false;
    }
    arena_plan(&arena);
    run_shape(&o, s, m, bench->random, NULL);
    bool ok = arena_init(&arena, arena.peak, err);
    if (ok) {
        double times[RUNS], before = device_peak(bench->dev);
        run_shape(&o, s, m, bench->random, times);
        double after = device_peak(bench->dev);
        *peak = (before + after) / 2;
        *row = (struct bench_row){.part = s->part,
                                  .kind = s->kind,
                                  .batch = s->b,
                                  .k = s->k,
                                  .n = s->n,
                                  .width = s->side,
                                  .height = s->side,
                                  .count = s->count,
                                  .flops = flops_of(s)};
        name_of(s, row->name, sizeof row->name);
        row->seconds = bench_median(times, RUNS);
        row->share = row->flops / row->seconds / *peak;
        arena_free(&arena);
    }
    matrix_free(m);
    return ok;
}

bool bench_operations(const struct pictor_engine_options *options, int side,
                      void (*row)(void *ctx, const struct bench_row *row), void *ctx, double *peak,
                      struct err *err)
{
    struct device_options device = {.threads = options->threads, .cpu = options->cpu};
    device.int8 = options->precision == PICTOR_PRECISION_INT8;
    device.bf16 = options->precision == PICTOR_PRECISION_AUTO || device.int8
                      ? -1
                      : options->precision == PICTOR_PRECISION_BF16;
    struct bench bench = {.dev = device_new(&device, err)};
    struct list *list = calloc(1, sizeof *list);
    size_t largest = (size_t)2560 * 1280 * 9; /* the first resnet on the way up */
    double peaks[MAX_ROWS];
    bool ok = false;
    if (!bench.dev)
        goto done;
    bench.random = malloc(largest * sizeof *bench.random);
    if (!list || !bench.random) {
        err_set(err, ERR_INTERNAL, "no memory for the benchmark");
        goto done;
    }
    fill(bench.random, largest);
    if (!list_operations(list, device_dtype(bench.dev), side, err))
        goto done;
    for (int i = 0; i < list->count; i++) {
        struct bench_row r;
        if (!measure(&bench, &list->at[i], &r, &peaks[i], err))
            goto done;
        row(ctx, &r);
    }
    *peak = bench_median(peaks, list->count);
    ok = true;
done:
    free(bench.random);
    free(list);
    device_free(bench.dev);
    return ok;
}
