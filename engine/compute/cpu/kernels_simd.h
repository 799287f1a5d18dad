/* kernels_simd.h: the inner loops over vectors of VL floats, compiled once an instruction set.
 *
 * Included by kernels_avx2.c and the others after they have defined VL and ROWS, and OWN_GEMM_BF16
 * if they bring that themselves. It uses the compilers' vector extension, not intrinsics: a vector
 * of VL floats is one register, and with contraction allowed a * b + c is one FMA.
 *
 * The matrix product keeps ROWS x PANEL_VECTORS sums in registers: 6 x 2 of the 16 of AVX2, 12 x 2
 * of the 32 of AVX-512; the rest holds the weights of one k and a broadcast activation. */
#include "engine/compute/cpu/kernels.h"

#include <math.h>
#include <string.h>

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));

#define NV 2 /* vectors of sums a row: two FMA chains share one broadcast */
#define COLS (NV * VL)

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vf set1(float x)
{
    return x - (vf){0};
}

INLINE vf bits(vu u)
{
    return (vf)u;
}

/* ROWS_ rows of c, COLS columns at j (in floats of the packed panel). */
INLINE void block_f32(const struct gemm *g, int i, int rows, int j)
{
    vf sum[ROWS][NV];
    const float *a = (const float *)g->a + (size_t)i * g->lda;
    const float *w = (const float *)g->w + (size_t)(j / PANEL) * g->w_panel + j % PANEL;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            sum[r][v] = (vf){0};
    for (int t = 0; t < g->taps; t++) {
        const float *at = a + g->tap[t];
        for (int k = 0; k < g->k; k++, w += PANEL) {
            vf w0 = load(w), w1 = load(w + VL);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                vf x = set1(at[(size_t)r * g->lda + (size_t)k]);
                sum[r][0] += x * w0;
                sum[r][1] += x * w1;
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            store(g->c + (size_t)(i + r) * g->ldc + j + v * VL, sum[r][v]);
}

#ifndef OWN_GEMM_BF16
/* BF16 is the upper half of F32, so a pair of k splits by a shift and a mask. */
INLINE void block_bf16(const struct gemm *g, int i, int rows, int j)
{
    vf sum[ROWS][NV];
    const uint16_t *a = (const uint16_t *)g->a + (size_t)i * g->lda;
    const uint16_t *w = (const uint16_t *)g->w + (size_t)(j / PANEL) * g->w_panel + j % PANEL * 2;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            sum[r][v] = (vf){0};
    for (int t = 0; t < g->taps; t++) {
        const uint16_t *at = a + g->tap[t];
        for (int k = 0; k < g->k; k += 2, w += 2 * PANEL) {
            vu p0, p1;
            memcpy(&p0, w, sizeof p0);
            memcpy(&p1, w + 2 * VL, sizeof p1);
            vf even0 = bits(p0 << 16), odd0 = bits(p0 & 0xffff0000u);
            vf even1 = bits(p1 << 16), odd1 = bits(p1 & 0xffff0000u);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                uint32_t pair;
                memcpy(&pair, at + (size_t)r * g->lda + (size_t)k, sizeof pair);
                vu both = pair - (vu){0};
                vf x0 = bits(both << 16), x1 = bits(both & 0xffff0000u);
                sum[r][0] += x0 * even0;
                sum[r][1] += x0 * even1;
                sum[r][0] += x1 * odd0;
                sum[r][1] += x1 * odd1;
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++)
            store(g->c + (size_t)(i + r) * g->ldc + j + v * VL, sum[r][v]);
}
#endif

/* Columns outside, rows inside: the panel of weights stays in the cache for all rows. */
#define GEMM(name, block)                                                                          \
    static void name(const struct gemm *g)                                                         \
    {                                                                                              \
        for (int j = 0; j < g->n; j += COLS) {                                                     \
            int i = 0;                                                                             \
            for (; i + ROWS <= g->m; i += ROWS)                                                    \
                block(g, i, ROWS, j);                                                              \
            for (; i + 4 <= g->m; i += 4)                                                          \
                block(g, i, 4, j);                                                                 \
            for (; i < g->m; i++)                                                                  \
                block(g, i, 1, j);                                                                 \
        }                                                                                          \
    }

GEMM(gemm_f32, block_f32)
#ifndef OWN_GEMM_BF16
GEMM(gemm_bf16, block_bf16)
#endif

INLINE vf widen(const uint16_t *src)
{
    vh h;
    memcpy(&h, src, sizeof h);
    return bits(__builtin_convertvector(h, vu) << 16);
}

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        store(dst + i, widen(src + i));
    kernels_scalar.bf16_to_f32(dst + i, src + i, n - i);
}

static void f32_to_bf16(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL) {
        vu u = (vu)load(src + i);
        vu rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        vu nan = (vu)((vi)(u & 0x7fffffff) > 0x7f800000);
        vh h = __builtin_convertvector((rounded & ~nan) | ((u >> 16 | 0x40) & nan), vh);
        memcpy(dst + i, &h, sizeof h);
    }
    kernels_scalar.f32_to_bf16(dst + i, src + i, n - i);
}

/* e^x for x <= 88, to 2 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor polynomial of degree 7. */
INLINE vf exp_v(vf x)
{
    const vf magic = set1(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vi low = x<set1(-87.0f), high = x> set1(88.0f);
    x = (vf)(((vi)set1(-87.0f) & low) | ((vi)x & ~low));
    x = (vf)(((vi)set1(88.0f) & high) | ((vi)x & ~high));
    vf t = x * set1(1.44269504f) + magic;
    vf n = t - magic;
    vf r = x - n * set1(0.693145752f); /* ln 2 in two parts */
    r = r - n * set1(1.42860677e-6f);
    vf p = set1(1.0f / 5040);
    p = p * r + set1(1.0f / 720);
    p = p * r + set1(1.0f / 120);
    p = p * r + set1(1.0f / 24);
    p = p * r + set1(1.0f / 6);
    p = p * r + set1(0.5f);
    p = p * r + set1(1.0f);
    p = p * r + set1(1.0f);
    return (vf)((vi)p + ((vi)t << 23));
}

INLINE vf sigmoid_v(vf x)
{
    return set1(1.0f) / (set1(1.0f) + exp_v(-x));
}

/* x (1 + erf(x / sqrt 2)) / 2 with erf of Abramowitz & Stegun 7.1.26: |error| <= 1.5e-7. */
INLINE vf gelu_v(vf x)
{
    vi sign = (vi)x & (int32_t)0x80000000;
    vf z = (vf)((vi)x ^ sign) * set1(0.70710678f);
    vf t = set1(1.0f) / (set1(1.0f) + set1(0.3275911f) * z);
    vf p = set1(1.061405429f);
    p = p * t - set1(1.453152027f);
    p = p * t + set1(1.421413741f);
    p = p * t - set1(0.284496736f);
    p = p * t + set1(0.254829592f);
    vf e = set1(1.0f) - p * t * exp_v(-(z * z));
    e = (vf)((vi)e ^ sign);
    return set1(0.5f) * x * (set1(1.0f) + e);
}

/* Runs body(vector) over x[0..n): whole vectors, then the rest through a padded one. */
#define MAP(x, n, expression)                                                                      \
    do {                                                                                           \
        size_t i_ = 0;                                                                             \
        for (; i_ + VL <= (n); i_ += VL) {                                                         \
            vf v = load((x) + i_);                                                                 \
            store((x) + i_, (expression));                                                         \
        }                                                                                          \
        if (i_ < (n)) {                                                                            \
            float rest[VL] = {0};                                                                  \
            memcpy(rest, (x) + i_, ((n)-i_) * sizeof *rest);                                       \
            vf v = load(rest);                                                                     \
            store(rest, (expression));                                                             \
            memcpy((x) + i_, rest, ((n)-i_) * sizeof *rest);                                       \
        }                                                                                          \
    } while (0)

static void activate(float *x, size_t n, enum activation act)
{
    switch (act) {
    case ACT_NONE:
        break;
    case ACT_SILU:
        MAP(x, n, v * sigmoid_v(v));
        break;
    case ACT_GELU:
        MAP(x, n, gelu_v(v));
        break;
    case ACT_QUICK_GELU:
        MAP(x, n, v * sigmoid_v(set1(1.702f) * v));
        break;
    }
}

static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        store(x + i, load(x + i) + load(y + i));
    kernels_scalar.add(x + i, y + i, n - i);
}

static void scale(float *x, float s, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        store(x + i, load(x + i) * set1(s));
    kernels_scalar.scale(x + i, s, n - i);
}

static void affine(float *y, const float *x, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(x + i) * load(a + i) + load(b + i));
    kernels_scalar.affine(y + i, x + i, a + i, b + i, n - i);
}

static void moments(float *sum, float *sum2, const float *x, const float *pivot, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf d = load(x + i) - load(pivot + i);
        store(sum + i, load(sum + i) + d);
        store(sum2 + i, load(sum2 + i) + d * d);
    }
    kernels_scalar.moments(sum + i, sum2 + i, x + i, pivot + i, n - i);
}

INLINE float sum_of(vf v)
{
    float lane[VL], sum = 0;
    store(lane, v);
    for (int i = 0; i < VL; i++)
        sum += lane[i];
    return sum;
}

static void mean_var(float *mean, float *var, const float *x, size_t n)
{
    vf s = {0};
    float rest = 0;
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        s += load(x + i);
    for (; i < n; i++)
        rest += x[i];
    float m = (sum_of(s) + rest) / (float)n;
    s = (vf){0};
    rest = 0;
    for (i = 0; i + VL <= n; i += VL) {
        vf d = load(x + i) - set1(m);
        s += d * d;
    }
    for (; i < n; i++)
        rest += (x[i] - m) * (x[i] - m);
    *mean = m;
    *var = (sum_of(s) + rest) / (float)n;
}

static void gate(float *y, const float *x, const float *g, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL)
        store(y + i, load(x + i) * gelu_v(load(g + i)));
    kernels_scalar.gate(y + i, x + i, g + i, n - i);
}

static float max_of(const float *x, size_t n)
{
    vf m = set1(-INFINITY);
    size_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = load(x + i);
        vi more = v > m;
        m = (vf)(((vi)v & more) | ((vi)m & ~more));
    }
    float lane[VL], best = kernels_scalar.max(x + i, n - i);
    store(lane, m);
    for (int j = 0; j < VL; j++)
        best = lane[j] > best ? lane[j] : best;
    return best;
}

static float exp_sum(float *x, float max, size_t n)
{
    vf s = {0};
    size_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf e = exp_v(load(x + i) - set1(max));
        store(x + i, e);
        s += e;
    }
    return sum_of(s) + kernels_scalar.exp_sum(x + i, max, n - i);
}

static double peak_f32(size_t rounds)
{
    volatile float one = 1;
    vf sum[ROWS * NV], x = set1(one);
#pragma GCC unroll 24
    for (int j = 0; j < ROWS * NV; j++)
        sum[j] = x;
    for (size_t i = 0; i < rounds; i++)
#pragma GCC unroll 24
        for (int j = 0; j < ROWS * NV; j++)
            sum[j] = sum[j] * x + x;
#pragma GCC unroll 24
    for (int j = 1; j < ROWS * NV; j++)
        sum[0] += sum[j];
    one = sum[0][0]; /* so that it has to be computed */
    return 2.0 * ROWS * NV * VL * (double)rounds;
}

#define KERNELS_BASE                                                                               \
    .peak_f32 = peak_f32, .gemm_f32 = gemm_f32, .gemm_bf16 = gemm_bf16,                            \
    .bf16_to_f32 = bf16_to_f32, .f32_to_bf16 = f32_to_bf16, .activate = activate, .add = add,      \
    .scale = scale, .affine = affine, .moments = moments, .mean_var = mean_var, .gate = gate,      \
    .max = max_of, .exp_sum = exp_sum
