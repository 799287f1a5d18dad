/* kernels_simd.h: the inner loops over vectors of VL floats, compiled once an instruction set.
 *
 * Included by kernels_avx2.c, kernels_vl16.h and kernels_neon.c after they have defined VL, ROWS,
 * NV, MAXV(a, b), the larger of each lane, MAX_OF(v) and SUM_OF(v) over lanes, WIDEN_F16(p), VL of
 * F16, FRACTION(t), t - floor(t), SCALE2(p, t), p 2^floor(t), and RECIPROCAL(v), to 2 ulp; if there
 * are instructions for it, NARROW(v), which rounds to BF16, NARROW2(p, v0, v1), which stores two
 * vectors so, GET_F32 and its like, which mask lanes, WIDE(h), 16 to 32 bits, and DOT(sum, x, w),
 * which multiplies pairs of BF16 and adds both products to their lane's sum; and OWN_GEMM_BF16 if
 * they bring that themselves. The rest is the compilers' vector extension: a vector of VL floats is
 * one register, and with contraction allowed x y + z is one FMA.
 *
 * The matrix product keeps ROWS x NV vectors of sums in registers: 6 x 2 of the 16 of AVX2, 12 x 2
 * of the 32 of AVX-512, 5 x 4 of the 32 of NEON; the rest holds the weights of one k and a
 * broadcast activation. */
#include "engine/compute/cpu/kernels.h"
#include "engine/compute/dtype_blocks.h"

#include <math.h>
#include <string.h>

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint64_t vl __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef int8_t vb __attribute__((vector_size(VL)));

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
    float *c = (float *)g->c + (size_t)i * g->ldc + j;
    const float *w = (const float *)g->w + (size_t)(j / PANEL) * g->w_panel + j % PANEL;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            sum[r][v] =
                g->accumulate ? load(c + (size_t)r * g->ldc + v * VL) : (vf){0};
    for (int t = 0; t < g->taps; t++) {
        const float *at = a + g->tap[t];
        for (int k = 0; k < g->k; k++, w += PANEL) {
            vf wv[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                wv[v] = load(w + v * VL);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                vf x = set1(at[(size_t)r * g->lda + (size_t)k]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    sum[r][v] += x * wv[v];
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            store(c + (size_t)r * g->ldc + v * VL, sum[r][v]);
}

#ifndef OWN_GEMM_BF16
/* sum + x0 w0 + x1 w1 for pairs of BF16, the upper half of F32: a shift and a mask split them. */
INLINE vf dot(vf sum, vu x, vu w)
{
#ifdef DOT
    return DOT(sum, x, w);
#else
    sum += bits(x << 16) * bits(w << 16);
    return sum + bits(x & 0xffff0000u) * bits(w & 0xffff0000u);
#endif
}

INLINE void block_bf16(const struct gemm *g, int i, int rows, int j)
{
    vf sum[ROWS][NV];
    const uint16_t *a = (const uint16_t *)g->a + (size_t)i * g->lda;
    float *c = (float *)g->c + (size_t)i * g->ldc + j;
    const uint16_t *w = (const uint16_t *)g->w + (size_t)(j / PANEL) * g->w_panel + j % PANEL * 2;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            sum[r][v] =
                g->accumulate ? load(c + (size_t)r * g->ldc + v * VL) : (vf){0};
    for (int t = 0; t < g->taps; t++) {
        const uint16_t *at = a + g->tap[t];
        for (int k = 0; k < g->k; k += 2, w += 2 * PANEL) {
            vu pairs[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                memcpy(&pairs[v], w + 2 * v * VL, sizeof pairs[v]);
#pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                uint32_t pair;
                memcpy(&pair, at + (size_t)r * g->lda + (size_t)k, sizeof pair);
                vu x = pair - (vu){0};
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++)
                    sum[r][v] = dot(sum[r][v], x, pairs[v]);
            }
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            store(c + (size_t)r * g->ldc + v * VL, sum[r][v]);
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

/* ---- rows of F32 or BF16 ---- */

#ifndef WIDE
#define WIDE(h) __builtin_convertvector(h, vu)
#endif

INLINE vf widen(const uint16_t *src)
{
    vh h;
    memcpy(&h, src, sizeof h);
    return bits(WIDE(h) << 16);
}

/* To nearest even, NaN stays NaN. */
INLINE vh narrow(vf v)
{
#ifdef NARROW
    return NARROW(v);
#else
    vu u = (vu)v;
    vu rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    vu nan = (vu)((vi)(u & 0x7fffffff) > 0x7f800000);
    return __builtin_convertvector((rounded & ~nan) | ((u >> 16 | 0x40) & nan), vh);
#endif
}

#ifndef GET_F32 /* the first `left` lanes only; the others of what is got are zero */
#define GET_F32(p, left) get_some_f32(p, left)
#define GET_16(p, left) get_some_16(p, left)
#define PUT_F32(p, left, v) memcpy(p, &(v), (left) * sizeof(float))
#define PUT_16(p, left, h) memcpy(p, &(h), (left) * sizeof(uint16_t))
INLINE vf get_some_f32(const float *p, size_t left)
{
    vf v = {0};
    memcpy(&v, p, left * sizeof *p);
    return v;
}

INLINE vh get_some_16(const uint16_t *p, size_t left)
{
    vh v = {0};
    memcpy(&v, p, left * sizeof *p);
    return v;
}
#endif

/* Elements i .. i + left of a row, left <= VL; lanes past them are zero. */
INLINE vf get(enum dtype dtype, const void *p, size_t i, size_t left)
{
    if (dtype == DTYPE_BF16) {
        const uint16_t *src = (const uint16_t *)p + i;
        if (left == VL)
            return widen(src);
        return bits(WIDE(GET_16(src, left)) << 16);
    }
    const float *src = (const float *)p + i;
    return left == VL ? load(src) : GET_F32(src, left);
}

INLINE void put(enum dtype dtype, void *p, size_t i, size_t left, vf v)
{
    if (dtype == DTYPE_BF16) {
        uint16_t *dst = (uint16_t *)p + i;
        vh h = narrow(v);
        if (left == VL)
            memcpy(dst, &h, sizeof h);
        else
            PUT_16(dst, left, h);
    } else if (left == VL) {
        store((float *)p + i, v);
    } else {
        PUT_F32((float *)p + i, left, v);
    }
}

/* Two vectors, elements i on. */
INLINE void put2(enum dtype dtype, void *p, size_t i, vf v0, vf v1)
{
#ifdef NARROW2
    if (dtype == DTYPE_BF16) {
        NARROW2((uint16_t *)p + i, v0, v1);
        return;
    }
#endif
    put(dtype, p, i, VL, v0);
    put(dtype, p, i + VL, VL, v1);
}

/* Runs the statements for every vector of a row of n, from element i on with `left` elements; for
 * whole vectors that is a constant. Asked each time, it kept every vector on the stack. */
#define VECTORS(i, left, n, ...)                                                                   \
    do {                                                                                           \
        size_t i = 0;                                                                              \
        for (; i + VL <= (n); i += VL) {                                                           \
            const size_t left = VL;                                                                \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const size_t left = (n)-i;                                                             \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

/* Runs `call` with D or A as a constant, so that it is compiled once for each. */
#define WITH_DTYPE(of, call)                                                                       \
    do {                                                                                           \
        if ((of) == DTYPE_BF16) {                                                                  \
            const enum dtype D = DTYPE_BF16;                                                       \
            call;                                                                                  \
        } else {                                                                                   \
            const enum dtype D = DTYPE_F32;                                                        \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

#define CASE_ACT(act, call)                                                                        \
    case act: {                                                                                    \
        const enum activation A = act;                                                             \
        call;                                                                                      \
        break;                                                                                     \
    }

#define WITH_ACT(of, call)                                                                         \
    do {                                                                                           \
        switch (of) {                                                                              \
            CASE_ACT(ACT_NONE, call)                                                               \
            CASE_ACT(ACT_SILU, call)                                                               \
            CASE_ACT(ACT_GELU, call)                                                               \
            CASE_ACT(ACT_GELU_TANH, call)                                                          \
            CASE_ACT(ACT_QUICK_GELU, call)                                                         \
            CASE_ACT(ACT_RELU, call)                                                               \
        }                                                                                          \
    } while (0)

/* ---- functions ---- */

/* 2^t, by a polynomial for 2^fraction(t): least squares of the relative error on Chebyshev nodes.
 * Coarse: to 1.1e-4, a twentieth of BF16's rounding; else to F32's. */
INLINE vf exp2_v(vf t, bool coarse)
{
    static const float c3[] = {0.999927819f, 0.695777118f, 0.226233199f, 0.0779071674f};
    static const float c6[] = {1.0f,           0.693147004f,   0.2402298f,    0.0554835238f,
                               0.00967847276f, 0.00124430819f, 0.00021690609f};
    vf f = FRACTION(t), p = set1(coarse ? c3[3] : c6[6]);
#pragma GCC unroll 6
    for (int i = coarse ? 2 : 5; i >= 0; i--)
        p = p * f + set1(coarse ? c3[i] : c6[i]);
    return SCALE2(p, t);
}

/* e^x to about 2 ulp; x log2(e) in two parts, so that its error does not grow with x. */
INLINE vf exp_v(vf x)
{
    x = MAXV(-MAXV(-x, set1(-88.0f)), set1(-87.0f));
    const vf magic = set1(ROUND_F32);
    vf whole = x * set1(1.44269504f) + magic;
    vf n = whole - magic;
    vf r = x - n * set1(0.693145752f); /* ln 2 in two parts */
    r = r - n * set1(1.42860677e-6f);
    static const float c[] = {1,         1,          1.0f / 2,   1.0f / 6,
                              1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040};
    vf p = set1(c[7]);
#pragma GCC unroll 7
    for (int i = 6; i >= 0; i--)
        p = p * r + set1(c[i]);
    return (vf)((vi)p + ((vi)whole << 23));
}

/* e^-x; coarse as exp2_v, otherwise as exp_v. */
INLINE vf exp_minus_v(vf x, bool coarse)
{
    return coarse ? exp2_v(-MAXV(x * set1(1.44269504f), set1(-127.0f)), true) : exp_v(-x);
}

INLINE vf sigmoid_v(vf x, bool coarse)
{
    return RECIPROCAL(set1(1.0f) + exp_minus_v(x, coarse));
}

/* x (1 + erf(x / sqrt 2)) / 2 with erf of Abramowitz & Stegun 7.1.26: |error| <= 1.5e-7. */
INLINE vf gelu_v(vf x, bool coarse)
{
    vi sign = (vi)x & (int32_t)0x80000000;
    vf z = (vf)((vi)x ^ sign) * set1(0.70710678f);
    vf t = RECIPROCAL(set1(1.0f) + set1(0.3275911f) * z);
    vf p = set1(1.061405429f);
    p = p * t - set1(1.453152027f);
    p = p * t + set1(1.421413741f);
    p = p * t - set1(0.284496736f);
    p = p * t + set1(0.254829592f);
    vf e = set1(1.0f) - p * t * exp_minus_v(z * z, coarse);
    e = (vf)((vi)e ^ sign);
    return set1(0.5f) * x * (set1(1.0f) + e);
}

INLINE vf act_v(vf x, enum activation act, bool coarse)
{
    switch (act) {
    case ACT_NONE:
        break;
    case ACT_SILU:
        return x * sigmoid_v(x, coarse);
    case ACT_GELU:
        return gelu_v(x, coarse);
    case ACT_GELU_TANH: /* (1 + tanh z) / 2 = sigmoid(2 z) */
        return x * sigmoid_v(set1(1.59576912f) * (x + set1(0.044715f) * x * x * x), coarse);
    case ACT_QUICK_GELU:
        return x * sigmoid_v(set1(1.702f) * x, coarse);
    case ACT_RELU:
        return MAXV(x, set1(0.0f));
    }
    return x;
}

/* ---- kernels over rows ---- */

#include "engine/compute/cpu/kernels_blocks.h"

static void to_f32(float *dst, enum dtype dtype, const void *src, size_t n)
{
    size_t i = 0;
    if (dtype_block(dtype) > 1 && blocks_to_f32(dtype, src, dst, n))
        return;
    if (dtype == DTYPE_BF16)
        for (; i + VL <= n; i += VL)
            store(dst + i, widen((const uint16_t *)src + i));
    if (dtype == DTYPE_F16)
        for (; i + VL <= n; i += VL)
            store(dst + i, WIDEN_F16((const uint16_t *)src + i));
    if (dtype == DTYPE_I8)
        for (; i + VL <= n; i += VL)
            store(dst + i, floats_v(WIDE_S8((const unsigned char *)src + i)));
    if (dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E5M2)
        for (; i + VL <= n; i += VL)
            store(dst + i, floats_of_f8((const unsigned char *)src + i, dtype == DTYPE_F8_E4M3));
    dtype_to_f32(dtype, (const char *)src + i * dtype_size(dtype), dst + i, n - i);
}

INLINE void from_f32_as(enum dtype d, void *dst, const float *src, size_t n)
{
    VECTORS(i, left, n, { put(d, dst, i, left, get(DTYPE_F32, src, i, left)); });
}

static void from_f32(enum dtype dtype, void *dst, const float *src, size_t n)
{
    WITH_DTYPE(dtype, from_f32_as(D, dst, src, n));
}

INLINE float amax_as(enum dtype d, const void *x, size_t n)
{
    size_t size = d == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
    vf most = {0}, odd = {0}; /* a maximum waits for the last: two in turn */
    for (; n >= 2 * VL; n -= 2 * VL, x = (const char *)x + 2 * VL * size) {
        most = MAXV(most, (vf)((vi)get(d, x, 0, VL) & 0x7fffffff));
        odd = MAXV(odd, (vf)((vi)get(d, x, VL, VL) & 0x7fffffff));
    }
    VECTORS(i, left, n, { most = MAXV(most, (vf)((vi)get(d, x, i, left) & 0x7fffffff)); });
    return MAX_OF(MAXV(most, odd));
}

static float amax(enum dtype dtype, const void *x, size_t n)
{
    return dtype == DTYPE_BF16 ? amax_as(DTYPE_BF16, x, n) : amax_as(DTYPE_F32, x, n);
}

#ifndef LOW8 /* the low byte of each lane */
#define LOW8(v) __builtin_convertvector(v, vb)
#endif

/* The integer is in the low bits of the sum. */
INLINE void to_s8_as(enum dtype d, int8_t *y, const void *x, float by, size_t n)
{
    VECTORS(i, left, n, {
        vi v = (vi)(get(d, x, i, left) * set1(by) + set1(ROUND_F32));
        vb b = LOW8(v);
        memcpy(y + i, &b, left);
    });
}

static void to_s8(enum dtype dtype, int8_t *y, const void *x, float by, size_t n)
{
    WITH_DTYPE(dtype, to_s8_as(D, y, x, by, n));
}

INLINE void activate_as(enum dtype d, void *y, const void *x, size_t n, enum activation act)
{
    VECTORS(i, left, n, { put(d, y, i, left, act_v(get(d, x, i, left), act, d == DTYPE_BF16)); });
}

static void activate(enum dtype dtype, void *y, const void *x, size_t n, enum activation act)
{
    WITH_DTYPE(dtype, WITH_ACT(act, activate_as(D, y, x, n, A)));
}

INLINE void affine_as(enum dtype d, void *y, const void *x, const float *a, const float *b,
                      size_t n, enum activation act)
{
    VECTORS(i, left, n, {
        vf v = get(d, x, i, left) * get(DTYPE_F32, a, i, left) + get(DTYPE_F32, b, i, left);
        put(d, y, i, left, act_v(v, act, d == DTYPE_BF16));
    });
}

static void affine(enum dtype dtype, void *y, const void *x, const float *a, const float *b,
                   size_t n, enum activation act)
{
    WITH_DTYPE(dtype, WITH_ACT(act, affine_as(D, y, x, a, b, n, A)));
}

INLINE void moments_as(enum dtype d, float *sum, float *sum2, const void *x, const float *pivot,
                       size_t n)
{
    VECTORS(i, left, n, {
        vf v = get(d, x, i, left) - get(DTYPE_F32, pivot, i, left);
        put(DTYPE_F32, sum, i, left, get(DTYPE_F32, sum, i, left) + v);
        put(DTYPE_F32, sum2, i, left, get(DTYPE_F32, sum2, i, left) + v * v);
    });
}

static void moments(enum dtype dtype, float *sum, float *sum2, const void *x, const float *pivot,
                    size_t n)
{
    WITH_DTYPE(dtype, moments_as(D, sum, sum2, x, pivot, n));
}

INLINE void layer_norm_as(enum dtype d, void *y, const void *x, const float *gamma,
                          const float *beta, float eps, size_t n)
{
    vf sum = {0}, sum2 = {0}, rest = {0};
    size_t whole = n / VL * VL, left = n - whole;
    for (size_t i = 0; i < whole; i += VL)
        sum += get(d, x, i, VL);
    if (left)
        sum += rest = get(d, x, whole, left);
    float mean = SUM_OF(sum) / (float)n;
    for (size_t i = 0; i < whole; i += VL) {
        vf v = get(d, x, i, VL) - set1(mean);
        sum2 += v * v;
    }
    for (size_t i = 0; i < left; i++)
        sum2[i] += (rest[i] - mean) * (rest[i] - mean);
    float scale = 1 / sqrtf(SUM_OF(sum2) / (float)n + eps);
    VECTORS(i, some, n, {
        vf v = (get(d, x, i, some) - set1(mean)) * set1(scale);
        put(d, y, i, some, v * get(DTYPE_F32, gamma, i, some) + get(DTYPE_F32, beta, i, some));
    });
}

static void layer_norm(enum dtype dtype, void *y, const void *x, const float *gamma,
                       const float *beta, float eps, size_t n)
{
    WITH_DTYPE(dtype, layer_norm_as(D, y, x, gamma, beta, eps, n));
}

INLINE void rms_norm_as(enum dtype d, void *y, const void *x, const float *gamma, float eps,
                        size_t n)
{
    vf sum = {0}, odd = {0}; /* a sum waits for the last: two in turn */
    size_t pairs = n / (2 * VL) * (2 * VL), size = d == DTYPE_BF16 ? 2 : 4;
    for (size_t i = 0; i < pairs; i += 2 * VL) {
        vf v = get(d, x, i, VL), w = get(d, x, i + VL, VL);
        sum += v * v;
        odd += w * w;
    }
    const char *rest = (const char *)x + pairs * size;
    VECTORS(i, left, n - pairs, {
        vf v = get(d, rest, i, left);
        sum += v * v;
    });
    vf scale = set1(1 / sqrtf(SUM_OF(sum + odd) / (float)n + eps));
    VECTORS(i, left, n,
            { put(d, y, i, left, get(d, x, i, left) * scale * get(DTYPE_F32, gamma, i, left)); });
}

static void rms_norm(enum dtype dtype, void *y, const void *x, const float *gamma, float eps,
                     size_t n)
{
    WITH_DTYPE(dtype, rms_norm_as(D, y, x, gamma, eps, n));
}

/* Neighbouring lanes change places. */
INLINE vf swap_v(vf v)
{
    vl u = (vl)v;
    return (vf)(u << 32 | u >> 32);
}

INLINE void rope_as(enum dtype d, void *y, const void *x, const float *near, const float *far,
                    size_t n, bool adjacent)
{
    if (adjacent) {
        VECTORS(i, left, n, {
            vf v = get(d, x, i, left);
            put(d, y, i, left,
                v * get(DTYPE_F32, near, i, left) + swap_v(v) * get(DTYPE_F32, far, i, left));
        });
        return;
    }
    size_t h = n / 2;
    VECTORS(i, left, h, {
        vf u = get(d, x, i, left);
        vf v = get(d, x, h + i, left);
        put(d, y, i, left, u * get(DTYPE_F32, near, i, left) + v * get(DTYPE_F32, far, i, left));
        put(d, y, h + i, left,
            v * get(DTYPE_F32, near + h, i, left) + u * get(DTYPE_F32, far + h, i, left));
    });
}

static void rope(enum dtype dtype, void *y, const void *x, const float *near, const float *far,
                 size_t n, enum rope_pairs pairs)
{
    if (pairs == ROPE_ADJACENT)
        WITH_DTYPE(dtype, rope_as(D, y, x, near, far, n, true));
    else
        WITH_DTYPE(dtype, rope_as(D, y, x, near, far, n, false));
}

INLINE void scale_as(enum dtype d, void *y, const float *x, float s, size_t n)
{
    VECTORS(i, left, n, { put(d, y, i, left, get(DTYPE_F32, x, i, left) * set1(s)); });
}

static void scale(enum dtype dtype, void *y, const float *x, float s, size_t n)
{
    WITH_DTYPE(dtype, scale_as(D, y, x, s, n));
}

INLINE void softmax_as(const struct softmax *f, enum dtype d)
{
    const float log2e = 1.44269504f;
    const bool coarse = d == DTYPE_BF16;
    size_t size = d == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
    for (size_t i = 0; i < f->rows; i++) {
        const float *s = f->s + i * f->lds;
        char *p = (char *)f->p + i * f->ldp * size;
        size_t n = kernels_seen(f, i), whole = n / VL * VL, j;
        if (n && (f->first || f->running)) {
            vf most = set1(-INFINITY);
            for (j = 0; j < whole; j += VL)
                most = MAXV(most, load(s + j));
            float m = MAX_OF(most);
            for (; j < n; j++)
                m = s[j] > m ? s[j] : m;
            kernels_top(f, i, m * f->scale);
        }
        vf a = set1(f->scale * log2e), b = set1(f->top[i] * log2e);
        vf sum = load(f->total + i * LANES);
        for (j = 0; j + 2 * VL <= n; j += 2 * VL) {
            vf e0 = exp2_v(load(s + j) * a - b, coarse);
            vf e1 = exp2_v(load(s + j + VL) * a - b, coarse);
            put2(d, p, j, e0, e1);
            sum += e0 + e1;
        }
        for (; j < whole; j += VL) {
            vf e = exp2_v(load(s + j) * a - b, coarse);
            put(d, p, j, VL, e);
            sum += e;
        }
        if (j < n) { /* lanes that are not there: 2^-large, which is zero */
            vf last = set1(-1e30f);
            memcpy(&last, s + j, (n - j) * sizeof *s);
            vf e = exp2_v(last * a - b, coarse);
            put(d, p, j, VL, e);
            sum += e;
            j += VL;
        }
        store(f->total + i * LANES, sum);
        if (j < f->wide)
            memset(p + j * size, 0, (f->wide - j) * size);
    }
}

static void softmax(const struct softmax *f)
{
    WITH_DTYPE(f->dtype, softmax_as(f, D));
}

/* The sums of row i, columns j on. */
INLINE vf sums(const struct finish *f, bool s8, size_t i, size_t j)
{
    vf v = load((const float *)f->c + i * f->ldc + j);
    if (s8)
        v = __builtin_convertvector((vi)v, vf) *
            (load(f->scale + j) * set1(f->row_scale[i * f->row_step]));
    return v;
}

INLINE void finish_as(const struct finish *f, enum dtype d, enum activation act, bool s8)
{
    size_t size = d == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
    for (size_t i = 0; i < f->rows; i++) {
        const char *residual =
            f->residual ? (const char *)f->residual + i * f->residual_ld * size : NULL;
        char *y = (char *)f->y + i * f->y_ld * size;
        VECTORS(j, left, f->n, {
            vf v = sums(f, s8, i, j) + load(f->bias + j);
            if (f->row)
                v += get(DTYPE_F32, f->row, j, left);
            v = act_v(v, act, d == DTYPE_BF16);
            if (act == ACT_NONE && f->slope) /* no network has both */
                v = MAXV(v, set1(0)) - load(f->slope + j) * MAXV(-v, set1(0));
            if (f->gate)
                v *= get(DTYPE_F32, f->gate, j, left);
            if (residual)
                v += get(d, residual, j, left);
            put(d, y, j, left, v);
        });
    }
}

INLINE void finish_gated(const struct finish *f, enum dtype d, enum activation act, bool s8)
{
    size_t size = d == DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
    for (size_t i = 0; i < f->rows; i++) {
        char *y = (char *)f->y + i * f->y_ld * size;
        VECTORS(j, left, f->n, {
            size_t at = j / PANEL * 2 * PANEL + j % PANEL;
            vf v = sums(f, s8, i, at) + load(f->bias + at);
            vf g = sums(f, s8, i, at + PANEL) + load(f->bias + at + PANEL);
            put(d, y, j, left, v * act_v(g, act, d == DTYPE_BF16));
        });
    }
}

static void finish(const struct finish *f)
{
    if (f->gated && f->act == ACT_SILU && f->scale)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_SILU, true));
    else if (f->gated && f->act == ACT_SILU)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_SILU, false));
    else if (f->gated && f->act == ACT_GELU_TANH && f->scale)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_GELU_TANH, true));
    else if (f->gated && f->act == ACT_GELU_TANH)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_GELU_TANH, false));
    else if (f->gated && f->scale)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_GELU, true));
    else if (f->gated)
        WITH_DTYPE(f->dtype, finish_gated(f, D, ACT_GELU, false));
    else if (f->scale)
        WITH_DTYPE(f->dtype, WITH_ACT(f->act, finish_as(f, D, A, true)));
    else
        WITH_DTYPE(f->dtype, WITH_ACT(f->act, finish_as(f, D, A, false)));
}

/* `rounds` times STEP, of `sum` and `x`, in as many chains as there are registers for, and their
 * sum. They begin unlike: equal chains would be computed as one. */
#define CHAINS(total, rounds, STEP)                                                                \
    do {                                                                                           \
        vf sums[ROWS * NV];                                                                        \
        _Pragma("GCC unroll 24") for (int j = 0; j < ROWS * NV; j++) sums[j] = set1((float)j);     \
        for (size_t i = 0; i < (rounds); i++)                                                      \
            _Pragma("GCC unroll 24") for (int j = 0; j < ROWS * NV; j++) sums[j] = STEP(sums[j]);  \
        _Pragma("GCC unroll 24") for (int j = 1; j < ROWS * NV; j++) sums[0] += sums[j];           \
        (total) = sums[0][0]; /* volatile, so that it has to be computed */                        \
    } while (0)

static double peak_f32(size_t rounds)
{
    volatile float one = 1;
    vf x = set1(one);
#define STEP(sum) (sum) * x + x
    CHAINS(one, rounds, STEP);
#undef STEP
    return 2.0 * ROWS * NV * VL * (double)rounds;
}

#define KERNELS_BASE                                                                               \
    .peak_f32 = peak_f32, .gemm_f32 = gemm_f32, .gemm_bf16 = gemm_bf16, .finish = finish,          \
    .amax = amax, .to_s8 = to_s8, .to_f32 = to_f32, .from_f32 = from_f32, .activate = activate,    \
    .affine = affine, .moments = moments, .layer_norm = layer_norm, .rms_norm = rms_norm,          \
    .rope = rope, .turn = turn, .scale = scale, .softmax = softmax
