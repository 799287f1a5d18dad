/* bench.c: see bench.h. The list of operations is made by walking the network's structure, so it
 * adds up to the whole; equal shapes are measured once and counted. */
#include "engine/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/compute/ops.h"

#define MAX_ROWS 160
#define RUNS 5 /* the median of */
#define CONTEXT 77
#define HEADS 8

struct shape {
    enum bench_kind kind;
    int b, side, k, n; /* side x side pixels; attention: n heads of k channels */
    int count;
    const char *part;
};

struct list {
    struct shape at[MAX_ROWS];
    int count;
};

static void add(struct list *l, const char *part, enum bench_kind kind, int b, int side, int k,
                int n)
{
    for (int i = 0; i < l->count; i++) {
        struct shape *s = &l->at[i];
        if (s->kind == kind && s->b == b && s->side == side && s->k == k && s->n == n &&
            s->part == part) {
            s->count++;
            return;
        }
    }
    if (l->count < MAX_ROWS)
        l->at[l->count++] = (struct shape){kind, b, side, k, n, 1, part};
}

static void add_resnet(struct list *l, const char *part, int b, int side, int cin, int cout)
{
    add(l, part, BENCH_GROUP_NORM, b, side, cin, 0);
    add(l, part, BENCH_CONV, b, side, cin, cout);
    add(l, part, BENCH_GROUP_NORM, b, side, cout, 0);
    add(l, part, BENCH_CONV, b, side, cout, cout);
    if (cin != cout)
        add(l, part, BENCH_LINEAR, b, side, cin, cout);
}

static void add_transformer(struct list *l, int side, int c)
{
    static const int widths[][2] = {{1, 1}, {1, 3}, {1, 1}, {1, 1}, {1, 1}, {4, 1}, {1, 1}};
    add(l, "unet", BENCH_GROUP_NORM, 2, side, c, 0);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        add(l, "unet", BENCH_LINEAR, 2, side, widths[i][0] * c, widths[i][1] * c);
    add(l, "unet", BENCH_GATED, 2, side, c, 4 * c);
    for (int i = 0; i < 3; i++)
        add(l, "unet", BENCH_LAYER_NORM, 2, side, c, 0);
    add(l, "unet", BENCH_ATTENTION, 2, side, c / HEADS, HEADS);
    add(l, "unet", BENCH_CROSS, 2, side, c / HEADS, HEADS);
}

static void add_unet(struct list *l, int side)
{
    static const int channels[] = {320, 640, 1280, 1280};
    int left[16], lefts = 0, c = 320;
    add(l, "unet", BENCH_CONV, 2, side, 4, c);
    left[lefts++] = c;
    for (int level = 0; level < 4; level++, side = level < 4 ? side / 2 : side) {
        for (int i = 0; i < 2; i++) {
            add_resnet(l, "unet", 2, side, c, channels[level]);
            c = left[lefts++] = channels[level];
            if (level < 3)
                add_transformer(l, side, c);
        }
        if (level < 3) {
            add(l, "unet", BENCH_CONV_HALF, 2, side, c, c);
            left[lefts++] = c;
        }
    }
    add_resnet(l, "unet", 2, side, c, c);
    add_transformer(l, side, c);
    add_resnet(l, "unet", 2, side, c, c);
    for (int level = 3; level >= 0; level--) {
        for (int i = 0; i < 3; i++) {
            add_resnet(l, "unet", 2, side, c + left[--lefts], channels[level]);
            c = channels[level];
            if (level < 3)
                add_transformer(l, side, c);
        }
        if (level > 0) {
            side *= 2;
            add(l, "unet", BENCH_UPSAMPLE, 2, side, c, c);
        }
    }
    add(l, "unet", BENCH_GROUP_NORM, 2, side, c, 0);
    add(l, "unet", BENCH_CONV, 2, side, c, 4);
}

static void add_decoder(struct list *l, int side)
{
    static const int channels[] = {512, 512, 256, 128};
    int c = 512;
    add(l, "vae", BENCH_CONV, 1, side, 4, c);
    add_resnet(l, "vae", 1, side, c, c);
    add(l, "vae", BENCH_GROUP_NORM, 1, side, c, 0);
    add(l, "vae", BENCH_LINEAR, 1, side, c, 3 * c);
    add(l, "vae", BENCH_ATTENTION, 1, side, c, 1);
    add(l, "vae", BENCH_LINEAR, 1, side, c, c);
    add_resnet(l, "vae", 1, side, c, c);
    for (int level = 0; level < 4; level++) {
        for (int i = 0; i < 3; i++) {
            add_resnet(l, "vae", 1, side, c, channels[level]);
            c = channels[level];
        }
        if (level < 3) {
            side *= 2;
            add(l, "vae", BENCH_UPSAMPLE, 1, side, c, c);
        }
    }
    add(l, "vae", BENCH_GROUP_NORM, 1, side, c, 0);
    add(l, "vae", BENCH_CONV, 1, side, c, 3);
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
            ops_upsample(o, &y, &x, m);
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
        struct matrix_part part = {kind == MATRIX_GATED ? 2 * s->n : s->n, DTYPE_F32, DTYPE_F32,
                                   bench->random, bench->random};
        /* Of the UNet all but the first and the last convolution may be coarse. */
        bool coarse = strcmp(s->part, "unet") == 0 && s->k >= 64 && s->n >= 64;
        m = coarse ? matrix_new_coarse(bench->dev, kind, s->k, &part, 1, err)
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
    add_unet(list, side / 8);
    add_decoder(list, side / 8);
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
