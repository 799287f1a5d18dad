/* ops_test.c: every operation at every CPU level against plain loops written here, on sizes that
 * straddle vectors, panels, tiles and blocks, over memory that ends at a guard page; and the same
 * bits for one thread and three. Products in int8 are exact once both sides have been rounded by
 * the same rule. See ops_case.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compute/ops.h"
#include "tests/unit/nchw.h"
#include "tests/unit/ops_case.h"

/* A number halfway between two of int8 may become either, as the compiler orders what comes before:
 * one such in these small cases is 1e-4. */
static void compare_coarse(const struct fixture *f, const char *what, const float *got,
                           const float *want, size_t n)
{
    compare_to(f, what, got, want, n, f->dtype == DTYPE_F32 ? 5e-4 : 4e-3);
}

/* want [b, n, oh, ow] = 3x3 convolution of x [b, k, h, w] */
static void plain_conv(float *want, const float *x, const float *w, const float *bias, int b, int k,
                       int h, int wd, int n, int stride, bool even)
{
    int oh = even ? h / 2 : (h + stride - 1) / stride,
        ow = even ? wd / 2 : (wd + stride - 1) / stride;
    int origin = even ? 0 : -1;
    for (int i = 0; i < b * n * oh * ow; i++) {
        int xo = i % ow, yo = i / ow % oh, no = i / ow / oh % n, bo = i / ow / oh / n;
        double sum = bias[no];
        for (int c = 0; c < k; c++)
            for (int t = 0; t < 9; t++) {
                int yi = yo * stride + origin + t / 3, xi = xo * stride + origin + t % 3;
                if (yi >= 0 && yi < h && xi >= 0 && xi < wd)
                    sum += (double)x[((bo * k + c) * h + yi) * wd + xi] * w[(no * k + c) * 9 + t];
            }
        want[i] = (float)sum;
    }
}

static void conv_case(const struct fixture *f, int b, int k, int h, int w, int n, int stride,
                      bool even)
{
    struct err err;
    int oh = even ? h / 2 : (h + stride - 1) / stride,
        ow = even ? w / 2 : (w + stride - 1) / stride;
    size_t count = (size_t)(b * n * oh * ow);
    float *x = randoms((size_t)(b * k * h * w), f->dtype),
          *wt = randoms((size_t)(n * k * 9), f->dtype);
    float *bias = randoms((size_t)n, DTYPE_F32), *got = malloc(count * 4),
          *want = malloc(count * 4);
    plain_conv(want, x, wt, bias, b, k, h, w, n, stride, even);
    struct matrix *m =
        matrix_new(f->dev, MATRIX_CONV3X3, n, k, DTYPE_F32, wt, DTYPE_F32, bias, &err);
    assert_non_null(m);
    WITH_ARENA(f, {
        struct tensor y = tensor_new(o.arena, f->dtype, b, oh, ow, n, 0);
        struct tensor in = tensor_new(o.arena, f->dtype, b, h, w, k, 1);
        nchw_load(&o, &in, x);
        ops_conv3x3(&o, &y, &in, m, stride, even, NULL);
        nchw_store(&o, got, &y);
    });
    char what[96];
    snprintf(what, sizeof what, "conv b%d k%d %dx%d n%d stride %d%s", b, k, h, w, n, stride,
             even ? " even" : "");
    compare(f, what, got, want, count);
    matrix_free(m);
    free(x), free(wt), free(bias), free(got), free(want);
}

/* PReLU, a residual and y in padded tensors of which they are slices; then the same once more from
 * the one slice into the next, as dense blocks do. */
static void dense_case(const struct fixture *f, int h, int w)
{
    enum { K = 32, N = 32 };
    struct err err;
    size_t count = (size_t)(K * h * w);
    float *x = randoms(count, f->dtype), *wt = randoms((size_t)N * K * 9, f->dtype);
    float *bias = randoms(N, DTYPE_F32), *slope = randoms(N, DTYPE_F32);
    float *got = malloc(count * 4), *want = malloc(count * 4);
    plain_conv(want, x, wt, bias, 1, K, h, w, N, 1, false);
    for (size_t i = 0; i < count; i++) {
        float fallen = want[i] < 0 ? want[i] * slope[i / (size_t)(h * w)] : want[i];
        want[i] = fallen + x[i] - 0.5f * x[i];
    }
    struct matrix *m =
        matrix_new(f->dev, MATRIX_CONV3X3, N, K, DTYPE_F32, wt, DTYPE_F32, bias, &err);
    assert_non_null(m);
    WITH_ARENA(f, {
        struct tensor all = tensor_new(o.arena, f->dtype, 1, h, w, K + N, 1);
        struct tensor in = tensor_slice(&all, 0, K);
        struct tensor y = tensor_slice(&all, K, N);
        struct tensor wide = tensor_new(o.arena, f->dtype, 1, h, w, K, 1);
        struct epilogue e = {.slope = slope, .residual = &in};
        nchw_load(&o, &wide, x);
        if (!planning)
            memset(all.data, 0, tensor_bytes(&all));
        ops_add(&o, &in, &wide, 1);
        ops_conv3x3(&o, &y, &in, m, 1, false, &e);
        ops_add(&o, &y, &wide, -0.5f);
        nchw_store(&o, got, &y);
        if (!planning) {
            static const char zero[4];
            assert_memory_equal(tensor_at(&y, 0, -1, -1), zero, dtype_size(f->dtype));
            assert_memory_equal(tensor_at(&y, 0, h, w), zero, dtype_size(f->dtype));
        }
    });
    char what[96];
    snprintf(what, sizeof what, "dense %dx%d", h, w);
    compare_to(f, what, got, want, count, f->dtype == DTYPE_F32 ? 1e-5 : 8e-3);
    matrix_free(m);
    free(x), free(wt), free(bias), free(slope), free(got), free(want);
}

static void dense(const struct fixture *f)
{
    dense_case(f, 5, 7);   /* pictures as runs */
    dense_case(f, 20, 48); /* rows as runs */
}

static void conv(const struct fixture *f)
{
    conv_case(f, 1, 3, 8, 8, 32, 1, false);
    conv_case(f, 2, 32, 8, 8, 64, 1, false);
    conv_case(f, 1, 64, 5, 7, 33, 1, false);
    conv_case(f, 1, 32, 1, 1, 4, 1, false);
    conv_case(f, 1, 320, 3, 70, 40, 1, false);
    conv_case(f, 2, 32, 9, 11, 32, 2, false);
    conv_case(f, 1, 32, 16, 34, 96, 2, true);
    conv_case(f, 1, 4, 33, 17, 3, 1, false);
    conv_case(f, 2, 640, 12, 10, 40, 1, false); /* chunks of taps, several pieces a picture */
    conv_case(f, 2, 32, 40, 48, 65, 1, false);  /* rows that are runs, more than a block */
}

static void upsample_case(const struct fixture *f, int b, int k, int h, int w, int n, int pad)
{
    struct err err;
    float slope[64];
    size_t count = (size_t)(b * n * 4 * h * w);
    float *x = randoms((size_t)(b * k * h * w), f->dtype),
          *wt = randoms((size_t)(n * k * 9), f->dtype), *bias = randoms((size_t)n, DTYPE_F32);
    float *big = malloc((size_t)(b * k * 4 * h * w) * 4), *got = malloc(count * 4),
          *want = malloc(count * 4);
    for (int i = 0; i < b * k * 4 * h * w; i++)
        big[i] = x[(i / (4 * h * w) * h + i / (2 * w) % (2 * h) / 2) * w + i % (2 * w) / 2];
    plain_conv(want, big, wt, bias, b, k, 2 * h, 2 * w, n, 1, false);
    for (int i = 0; i < 64; i++)
        slope[i] = random_float();
    for (int i = 0; i < (int)count && pad; i++)
        want[i] *= want[i] < 0 ? slope[i / (4 * h * w) % n] : 1;
    struct matrix *m =
        matrix_new(f->dev, MATRIX_UPSAMPLE, n, k, DTYPE_F32, wt, DTYPE_F32, bias, &err);
    assert_non_null(m);
    WITH_ARENA(f, {
        struct tensor y = tensor_new(o.arena, f->dtype, b, 2 * h, 2 * w, n, pad);
        struct tensor in = tensor_new(o.arena, f->dtype, b, h, w, k, 1);
        struct epilogue falls = {.slope = slope};
        nchw_load(&o, &in, x);
        ops_upsample(&o, &y, &in, m, pad ? &falls : NULL);
        nchw_store(&o, got, &y);
    });
    char what[96];
    snprintf(what, sizeof what, "upsample b%d k%d %dx%d n%d", b, k, h, w, n);
    compare(f, what, got, want, count);
    matrix_free(m);
    free(x), free(wt), free(bias), free(big), free(got), free(want);
}

static void upsample(const struct fixture *f)
{
    upsample_case(f, 1, 32, 1, 1, 4, 0);
    upsample_case(f, 2, 32, 5, 7, 33, 0); /* pictures as runs */
    upsample_case(f, 2, 3, 6, 32, 64, 0); /* rows as runs */
    upsample_case(f, 1, 320, 9, 16, 40, 0);
    upsample_case(f, 2, 32, 5, 7, 33, 1); /* with PReLU and a border */
    upsample_case(f, 1, 64, 6, 32, 64, 1);
}

/* Two stacked matrices, a row added, an activation, a residual. */
static void linear_case(const struct fixture *f, int m, int k, int n1, int n2, enum activation act)
{
    struct err err;
    int n = n1 + n2, b = 2;
    size_t rows = (size_t)(b * m);
    float *x = randoms(rows * (size_t)k, f->dtype), *w = randoms((size_t)(n * k), f->dtype);
    float *bias = randoms((size_t)n, DTYPE_F32), *add = randoms((size_t)(b * n), DTYPE_F32);
    float *old = randoms(rows * (size_t)n, f->dtype);
    float *gate = randoms((size_t)(b * n), DTYPE_F32);
    float *got = malloc(rows * (size_t)n * 4), *want = malloc(rows * (size_t)n * 4);
    for (size_t i = 0; i < rows; i++)
        for (int j = 0; j < n; j++) {
            double sum = bias[j] + add[(int)i / m * n + j];
            for (int c = 0; c < k; c++)
                sum += (double)x[i * (size_t)k + (size_t)c] * w[j * k + c];
            want[i * (size_t)n + (size_t)j] =
                act_of((float)sum, act) * gate[(int)i / m * n + j] + old[i * (size_t)n + (size_t)j];
        }
    struct matrix_part parts[2] = {
        {n1, DTYPE_F32, DTYPE_F32, w, bias, 0, false, NULL, NULL, 0, false},
        {n2, DTYPE_F32, DTYPE_F32, w + n1 * k, bias + n1, 0, false, NULL, NULL, 0, false}};
    struct matrix *mx = matrix_new_stacked(f->dev, MATRIX_LINEAR, k, parts, n2 ? 2 : 1, &err);
    assert_non_null(mx);
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, b, 1, m, k, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, b, 1, m, n, 0);
        struct tensor in_rows = in;
        struct tensor y_rows = y;
        in_rows.b = y_rows.b = b * m;
        in_rows.w = y_rows.w = 1;
        nchw_load(&o, &in_rows, x);
        nchw_load(&o, &y_rows, old);
        struct epilogue e = {.act = act,
                             .row = add,
                             .row_ld = (size_t)n,
                             .gate = gate,
                             .gate_ld = (size_t)n,
                             .residual = &y};
        ops_linear(&o, &y, &in, mx, &e);
        nchw_store(&o, got, &y_rows);
    });
    char what[96];
    snprintf(what, sizeof what, "linear m%d k%d n%d+%d act %d", m, k, n1, n2, act);
    compare(f, what, got, want, rows * (size_t)n);
    matrix_free(mx);
    free(x), free(w), free(bias), free(add), free(gate), free(old), free(got), free(want);
}

/* Values and gates from one matrix, or gates and values from two. */
static void gated_case(const struct fixture *f, int m, int k, int n, enum matrix_kind kind)
{
    bool first = kind != MATRIX_GATED;
    enum activation act = kind == MATRIX_SWIGLU       ? ACT_SILU
                          : kind == MATRIX_GATED_TANH ? ACT_GELU_TANH
                                                      : ACT_GELU;
    struct err err;
    size_t count = (size_t)m * (size_t)n;
    float *x = randoms((size_t)(m * k), f->dtype), *w = randoms((size_t)(2 * n * k), f->dtype);
    float *bias = randoms((size_t)(2 * n), DTYPE_F32);
    float *got = malloc(count * 4), *want = malloc(count * 4);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double v = bias[j], g = bias[n + j];
            for (int c = 0; c < k; c++) {
                v += (double)x[i * k + c] * w[j * k + c];
                g += (double)x[i * k + c] * w[(n + j) * k + c];
            }
            want[i * n + j] =
                first ? act_of((float)v, act) * (float)g : (float)v * act_of((float)g, act);
        }
    struct matrix_part part = {
        2 * n, DTYPE_F32, DTYPE_F32, w, bias, 0, false, NULL, NULL, 0, false};
    struct matrix_part two[2] = {
        {n, DTYPE_F32, DTYPE_F32, w, bias, 0, false, NULL, NULL, 0, false},
        {n, DTYPE_F32, DTYPE_F32, w + n * k, bias + n, 0, false, NULL, NULL, 0, false}};
    struct matrix *mx =
        matrix_new_stacked(f->dev, kind, k, first ? two : &part, first ? 2 : 1, &err);
    assert_non_null(mx);
    assert_int_equal(matrix_rows(mx), n);
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, m, 1, 1, k, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, m, 1, 1, n, 0);
        nchw_load(&o, &in, x);
        ops_linear(&o, &y, &in, mx, NULL);
        nchw_store(&o, got, &y);
    });
    char what[96];
    snprintf(what, sizeof what, "%s m%d k%d n%d", first ? "gates first" : "gated", m, k, n);
    compare(f, what, got, want, count);
    matrix_free(mx);
    free(x), free(w), free(bias), free(got), free(want);
}

static void linear(const struct fixture *f)
{
    linear_case(f, 20, 6400, 33, 0, ACT_NONE); /* more than one chunk of k */
    for (enum matrix_kind kind = MATRIX_GATED; kind <= MATRIX_GATED_TANH; kind++) {
        gated_case(f, 35, 64, 128, kind);
        gated_case(f, 70, 32, 33, kind);
        gated_case(f, 1, 96, 1, kind);
    }
    linear_case(f, 35, 64, 65, 0, ACT_GELU_TANH);
    linear_case(f, 1, 32, 1, 0, ACT_NONE);
    linear_case(f, 77, 64, 64, 64, ACT_QUICK_GELU);
    linear_case(f, 33, 320, 40, 57, ACT_SILU);
    linear_case(f, 150, 96, 129, 0, ACT_GELU);
    linear_case(f, 33, 96, 65, 0, ACT_RELU);
    linear_case(f, 7, 4, 8, 0, ACT_NONE);
    linear_case(f, 300, 32, 320, 3, ACT_NONE);
}

/* n numbers, `stride` apart, rounded to int8 by the largest of them; returns their scale. */
static float rounded(float *x, size_t n, size_t stride)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i * stride]));
    float scale = most / 127, by = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < n; i++)
        x[i * stride] = (float)rint((double)x[i * stride] * by);
    return scale;
}

/* A coarse linear layer: every pixel and every row of weights has its own scale. */
static void coarse_linear_case(const struct fixture *f, int m, int k, int n, enum matrix_kind kind)
{
    struct err err;
    bool gated = matrix_kind_gated(kind);
    int rows = gated ? 2 * n : n;
    size_t count = (size_t)m * (size_t)n;
    float *x = randoms((size_t)(m * k), f->dtype), *w = randoms((size_t)(rows * k), f->dtype);
    float *bias = randoms((size_t)rows, DTYPE_F32), *got = malloc(count * 4);
    float *want = malloc(count * 4), *old = randoms(count, f->dtype);
    float *ws = malloc((size_t)rows * sizeof *ws);
    for (int i = 0; i < m; i++) /* pixels of very different size, one of zeros */
        for (int c = 0; c < k; c++)
            x[i * k + c] *= i % 5 == 4 ? 0 : ldexpf(1, i % 7);
    struct matrix_part part = {rows, DTYPE_F32, DTYPE_F32, w, bias, 0, false, NULL, NULL, 0, false};
    struct matrix *mx = matrix_new_coarse(f->dev, kind, k, &part, 1, &err);
    assert_non_null(mx);
    assert_int_equal(matrix_rows(mx), n);
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, m, 1, 1, k, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, m, 1, 1, n, 0);
        struct epilogue e = {.act = ACT_SILU, .residual = &y};
        nchw_load(&o, &in, x);
        nchw_load(&o, &y, old);
        ops_linear(&o, &y, &in, mx, gated ? NULL : &e);
        nchw_store(&o, got, &y);
    });
    for (int j = 0; j < rows; j++)
        ws[j] = rounded(w + j * k, (size_t)k, 1);
    for (int i = 0; i < m; i++) {
        float scale = rounded(x + i * k, (size_t)k, 1);
        for (int j = 0; j < n; j++) {
            double sum[2] = {0};
            for (int g = 0; g <= gated; g++) {
                for (int c = 0; c < k; c++)
                    sum[g] += (double)x[i * k + c] * w[(g * n + j) * k + c];
                sum[g] = sum[g] * scale * ws[g * n + j] + bias[g * n + j];
            }
            float first = (float)sum[0], second = (float)sum[1];
            float gate = act_of(kind == MATRIX_GATED ? second : first,
                                kind == MATRIX_GATED        ? ACT_GELU
                                : kind == MATRIX_GATED_TANH ? ACT_GELU_TANH
                                                            : ACT_SILU);
            want[i * n + j] = kind == MATRIX_GATED ? first * gate
                              : gated              ? gate * second
                                                   : gate + old[i * n + j];
        }
    }
    char what[96];
    snprintf(what, sizeof what, "coarse linear m%d k%d n%d%s", m, k, n,
             gated ? kind == MATRIX_GATED ? " gated" : " gates first" : "");
    compare_coarse(f, what, got, want, count);
    matrix_free(mx);
    free(x), free(w), free(bias), free(got), free(want), free(old), free(ws);
}

/* A coarse convolution: one scale a picture, of which the second is much the smaller. */
static void coarse_conv_case(const struct fixture *f, int k, int h, int w, int n, int stride)
{
    struct err err;
    int oh = (h + stride - 1) / stride, ow = (w + stride - 1) / stride;
    size_t picture = (size_t)(k * h * w), out = (size_t)(n * oh * ow), filter = (size_t)k * 9;
    float *x = randoms(2 * picture, f->dtype), *wt = randoms((size_t)n * filter, f->dtype);
    float *none = calloc((size_t)n, 4), *got = malloc(2 * out * 4), *want = malloc(2 * out * 4);
    for (size_t i = 0; i < picture; i++)
        x[picture + i] *= 0.0625f;
    struct matrix_part part = {n, DTYPE_F32, DTYPE_F32, wt, NULL, 0, false, NULL, NULL, 0, false};
    struct matrix *m = matrix_new_coarse(f->dev, MATRIX_CONV3X3, k, &part, 1, &err);
    assert_non_null(m);
    WITH_ARENA(f, {
        struct tensor y = tensor_new(o.arena, f->dtype, 2, oh, ow, n, 0);
        struct tensor in = tensor_new(o.arena, f->dtype, 2, h, w, k, 1);
        nchw_load(&o, &in, x);
        ops_conv3x3(&o, &y, &in, m, stride, false, NULL);
        nchw_store(&o, got, &y);
    });
    float scale[2] = {rounded(x, picture, 1), rounded(x + picture, picture, 1)};
    float *ws = malloc((size_t)n * sizeof *ws);
    for (int j = 0; j < n; j++)
        ws[j] = rounded(wt + (size_t)j * filter, filter, 1);
    plain_conv(want, x, wt, none, 2, k, h, w, n, stride, false);
    for (size_t i = 0; i < 2 * out; i++)
        want[i] *= scale[i / out] * ws[i / (size_t)(oh * ow) % (size_t)n];
    char what[96];
    snprintf(what, sizeof what, "coarse conv k%d %dx%d n%d stride %d", k, h, w, n, stride);
    compare_coarse(f, what, got, want, 2 * out);
    matrix_free(m);
    free(x), free(wt), free(none), free(got), free(want), free(ws);
}

/* At every level that has products of int8; the others must say so. */
static void test_coarse(void **state)
{
    const char *cap = getenv("PICTOR_CPU");
    for (int i = 0; device_level_name(i); i++) {
        for (int bf = 0; bf <= 1; bf++) {
            struct err err;
            struct device_options options = {
                .threads = 2, .cpu = device_level_name(i), .bf16 = bf, .int8 = true};
            struct fixture f = {device_new(&options, &err), bf ? DTYPE_BF16 : DTYPE_F32};
            seed = 7;
            if (!f.dev) {
                assert_int_equal(err.code, ERR_UNSUPPORTED);
                continue;
            }
            coarse_linear_case(&f, 1, 64, 32, MATRIX_LINEAR);
            coarse_linear_case(&f, 35, 96, 33, MATRIX_LINEAR);
            coarse_linear_case(&f, 20, 12800, 40, MATRIX_LINEAR); /* more than one chunk of k */
            coarse_linear_case(&f, 70, 32, 33, MATRIX_GATED);
            coarse_linear_case(&f, 35, 320, 128, MATRIX_GATED);
            coarse_linear_case(&f, 35, 320, 65, MATRIX_SWIGLU);
            coarse_linear_case(&f, 35, 320, 65, MATRIX_GATED_TANH);
            coarse_conv_case(&f, 64, 5, 7, 33, 1);
            coarse_conv_case(&f, 32, 9, 11, 32, 2);
            coarse_conv_case(&f, 96, 3, 48, 40, 1);
            coarse_conv_case(&f, 1408, 4, 5, 32, 1); /* chunks of taps */
            device_free(f.dev);
        }
        if (cap && strcmp(cap, device_level_name(i)) == 0)
            break;
    }
}

static void attention_case(const struct fixture *f, int b, int kb, int tq, int tk, int heads, int d,
                           bool causal)
{
    int c = heads * d;
    float *q = randoms((size_t)(b * tq * c), f->dtype),
          *k = randoms((size_t)(kb * tk * c), f->dtype);
    float *v = randoms((size_t)(kb * tk * c), f->dtype);
    size_t n = (size_t)(b * tq * c);
    float *got = malloc(n * 4), *want = calloc(n, 4);
    double *s = malloc((size_t)tk * sizeof *s);
    for (int i = 0; i < b * heads * tq; i++) {
        int t = i % tq, h = i / tq % heads, bi = i / tq / heads, ki = kb == 1 ? 0 : bi;
        int seen = causal ? t + 1 : tk;
        double total = 0, top = -1e30;
        for (int u = 0; u < seen; u++) {
            s[u] = 0;
            for (int e = 0; e < d; e++)
                s[u] += (double)q[(bi * tq + t) * c + h * d + e] * k[(ki * tk + u) * c + h * d + e];
            s[u] *= 4 / sqrt(d); /* scores spread as far as real ones */
            top = s[u] > top ? s[u] : top;
        }
        for (int u = 0; u < seen; u++)
            total += s[u] = exp(s[u] - top);
        for (int u = 0; u < seen; u++)
            for (int e = 0; e < d; e++)
                want[(bi * tq + t) * c + h * d + e] +=
                    (float)(s[u] / total * v[(ki * tk + u) * c + h * d + e]);
    }
    for (int i = 0; i < b * tq * c; i++)
        q[i] *= 4; /* exact in BF16 */
    WITH_ARENA(f, {
        struct tensor tq_ = tensor_new(o.arena, f->dtype, b, 1, tq, c, 0);
        struct tensor tk_ = tensor_new(o.arena, f->dtype, kb, 1, tk, c, 0);
        struct tensor tv_ = tensor_new(o.arena, f->dtype, kb, 1, tk, c, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, b, 1, tq, c, 0);
        struct tensor r = tq_;
        r.b = b * tq;
        r.w = 1;
        nchw_load(&o, &r, q);
        r = tk_;
        r.b = kb * tk;
        r.w = 1;
        nchw_load(&o, &r, k);
        r = tv_;
        r.b = kb * tk;
        r.w = 1;
        nchw_load(&o, &r, v);
        ops_attention(&o, &y, &tq_, &tk_, &tv_, heads, causal);
        r = y;
        r.b = b * tq;
        r.w = 1;
        nchw_store(&o, got, &r);
    });
    char what[96];
    snprintf(what, sizeof what, "attention b%d/%d %dx%d heads %d d %d%s", b, kb, tq, tk, heads, d,
             causal ? " causal" : "");
    compare(f, what, got, want, n);
    free(q), free(k), free(v), free(got), free(want), free(s);
}

static void attention(const struct fixture *f)
{
    attention_case(f, 1, 1, 1, 1, 1, 32, false);
    attention_case(f, 2, 2, 77, 77, 2, 64, true);
    attention_case(f, 2, 1, 65, 154, 8, 40, false);
    attention_case(f, 1, 1, 70, 600, 4, 8, false);
    attention_case(f, 1, 1, 300, 300, 1, 64, true);
    attention_case(f, 1, 1, 33, 257, 1, 512, false);
}

static void norm_case(const struct fixture *f, int b, int c, int h, int w, int pad, float offset,
                      bool group)
{
    size_t n = (size_t)(b * c * h * w);
    float *x = randoms(n, f->dtype), *got = malloc(n * 4), *want = malloc(n * 4);
    float *gamma = randoms((size_t)c, DTYPE_F32), *beta = randoms((size_t)c, DTYPE_F32);
    for (size_t i = 0; i < n; i++)
        x[i] = f->dtype == DTYPE_BF16 ? x[i] : x[i] + offset;
    int groups = group ? 32 : 1, width = group ? c / 32 : c, area = group ? h * w : 1;
    int sets = group ? b * groups : b * h * w;
    for (int i = 0; i < sets; i++) {
        double sum = 0, var = 0;
        for (int pass = 0; pass < 3; pass++)
            for (int j = 0; j < width; j++)
                for (int p = 0; p < area; p++) {
                    int bi = group ? i / groups : i / (h * w),
                        ch = group ? i % groups * width + j : j;
                    int px = group ? p : i % (h * w);
                    size_t at = (size_t)((bi * c + ch) * h * w + px);
                    double mean = sum / (width * area);
                    if (pass == 0)
                        sum += x[at];
                    else if (pass == 1)
                        var += (x[at] - mean) * (x[at] - mean);
                    else
                        want[at] = act_of(
                            (float)((x[at] - mean) / sqrt(var / (width * area) + 1e-5) * gamma[ch] +
                                    beta[ch]),
                            group ? ACT_SILU : ACT_NONE);
                }
    }
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, b, h, w, c, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, b, h, w, c, pad);
        nchw_load(&o, &in, x);
        if (group)
            ops_group_norm(&o, &y, &in, 32, 1e-5f, gamma, beta, ACT_SILU);
        else
            ops_layer_norm(&o, &y, &in, 1e-5f, gamma, beta);
        nchw_store(&o, got, &y);
        if (!planning && pad) {
            static const char zero[4];
            assert_memory_equal(tensor_at(&y, 0, -1, -1), zero, dtype_size(f->dtype));
            assert_memory_equal(tensor_at(&y, b - 1, h, w), zero, dtype_size(f->dtype));
        }
    });
    compare(f, group ? "group norm" : "layer norm", got, want, n);
    free(x), free(got), free(want), free(gamma), free(beta);
}

static void norm(const struct fixture *f)
{
    norm_case(f, 2, 32, 5, 7, 1, 0, true);
    norm_case(f, 1, 96, 20, 30, 0, 3, true);
    norm_case(f, 1, 64, 1, 1, 1, 1, true);
    norm_case(f, 2, 320, 3, 5, 0, 2, false);
    norm_case(f, 1, 33, 1, 40, 0, 0, false);
}

static void rows(const struct fixture *f)
{
    enum { B = 2, C = 48, H = 5, W = 7 };
    size_t n = B * C * H * W;
    float *x = randoms(n, f->dtype), *got = malloc(4 * n * 4), *want = malloc(4 * n * 4);
    WITH_ARENA(f, {
        struct tensor in = tensor_new(o.arena, f->dtype, B, H, W, C, 0);
        struct tensor y = tensor_new(o.arena, f->dtype, B, 2 * H, 2 * W, C, 1);
        nchw_load(&o, &in, x);
        ops_activate(&o, &in, &in, ACT_SILU);
        ops_resize(&o, &y, &in);
        nchw_store(&o, got, &y);
    });
    for (size_t i = 0; i < 4 * n; i++) {
        size_t xo = i % (2 * W), yo = i / (2 * W) % (2 * H), plane = i / (4 * W * H);
        want[i] = act_of(x[(plane * H + yo / 2) * W + xo / 2], ACT_SILU);
    }
    compare(f, "silu and twice the size", got, want, 4 * n);
    free(x), free(got), free(want);
}

TEST(conv)
TEST(dense)
TEST(upsample)
TEST(linear)
TEST(attention)
TEST(norm)
TEST(rows)

/* One thread and three: the same bits. */
static void test_threads(void **state)
{
    enum { K = 64, N = 96, H = 37, W = 21 };
    float *x, *w, *out[2];
    seed = 9;
    x = randoms(K * H * W, DTYPE_F32);
    w = randoms(N * K * 9, DTYPE_F32);
    for (int i = 0; i < 2; i++) {
        struct err err;
        struct device_options options = {.threads = i ? 3 : 1, .bf16 = -1};
        struct fixture f = {device_new(&options, &err), DTYPE_F32};
        assert_non_null(f.dev);
        f.dtype = device_dtype(f.dev);
        struct matrix *m =
            matrix_new(f.dev, MATRIX_CONV3X3, N, K, DTYPE_F32, w, DTYPE_F32, NULL, &err);
        float ones[N];
        for (int j = 0; j < N; j++)
            ones[j] = 1;
        out[i] = malloc(N * H * W * sizeof(float));
        WITH_ARENA(&f, {
            struct tensor in = tensor_new(o.arena, f.dtype, 1, H, W, K, 1);
            struct tensor y = tensor_new(o.arena, f.dtype, 1, H, W, N, 0);
            struct tensor z = tensor_new(o.arena, f.dtype, 1, H, W, N, 0);
            nchw_load(&o, &in, x);
            ops_conv3x3(&o, &y, &in, m, 1, false, NULL);
            ops_group_norm(&o, &z, &y, 32, 1e-5f, ones, ones, ACT_SILU);
            struct tensor t = tensor_tokens(&z);
            struct tensor a = tensor_tokens(&y);
            ops_attention(&o, &a, &t, &t, &t, 3, false);
            nchw_store(&o, out[i], &y);
        });
        matrix_free(m);
        device_free(f.dev);
    }
    assert_memory_equal(out[0], out[1], N * H * W * sizeof(float));
    free(x), free(w), free(out[0]), free(out[1]);
}

static void test_unknown_level(void **state)
{
    struct err err = {0};
    struct device_options options = {.cpu = "mmx"};
    assert_null(device_new(&options, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "mmx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),    cmocka_unit_test(test_upsample),
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_attention),
        cmocka_unit_test(test_norm),    cmocka_unit_test(test_rows),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_unknown_level),
        cmocka_unit_test(test_coarse),  cmocka_unit_test(test_dense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
