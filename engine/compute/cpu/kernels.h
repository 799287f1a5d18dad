/* kernels.h: what an instruction set must bring to the CPU device.
 *
 * Everything is written over a few inner loops on rows that sit in the first-level cache; these
 * are they. kernels_scalar.c is their definition in plain loops; the other files override it and
 * are tested against the same plain loops (tests/unit/ops_test.c).
 *
 * Packed weights, the same for every level: panels of PANEL output channels, zero-filled at the
 * end, [panel][tap][k][PANEL] as F32, or [panel][tap][k / 2][PANEL][2] as BF16 with k rounded up
 * to PACK_K: pairs of k side by side are what VDPBF16PS and AMX's TDPBF16PS take; or
 * [panel][tap][k / 4][PANEL][4] as int8 with k rounded up to PACK_K8, for TDPBSSD. */
#ifndef PICTOR_ENGINE_COMPUTE_CPU_KERNELS_H
#define PICTOR_ENGINE_COMPUTE_CPU_KERNELS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/compute/ops.h"

#define PANEL 32
#define PACK_K 32
#define PACK_K8 64
#define ROUND_F32 12582912.0f /* 1.5 * 2^23: added, it rounds to an integer */
#define LANES 16 /* the widest vector, in floats */

static inline size_t kernels_pack_k(enum dtype dtype, size_t k)
{
    size_t step = dtype == DTYPE_BF16 ? PACK_K : dtype == DTYPE_I8 ? PACK_K8 : 1;
    return (k + step - 1) / step * step;
}

/* c[i][j] = sum over taps t and k of a[i * lda + tap[t] + k] * w[panel of j][t][k][j], F32 sums,
 * onto what c holds if `accumulate`. BF16: k is a multiple of PACK_K and so many elements of a are
 * readable for every row and tap; int8: of PACK_K8, and sums are int32_t, which hold 133152
 * products of 127 by 127. c holds n columns rounded up to PANEL. */
struct gemm {
    const void *a;
    size_t lda; /* elements from row to row */
    int m;      /* rows */
    int taps;
    const ptrdiff_t *tap; /* elements, `taps` of them */
    int k;
    const void *w;
    size_t w_panel; /* elements from panel to panel */
    int n;          /* columns, any number of panels */
    void *c;        /* float, or int32_t for int8 */
    size_t ldc; /* elements from row to row of c, a multiple of PANEL */
    bool accumulate;
};

/* y[i][j] = act(c[i][j] + bias[j] + row[j]) gate[j] + residual[i][j] for j < n, where what act
 * leaves below zero is multiplied by slope[j]. c, bias and slope hold n rounded up to PANEL. Gated:
 * c and bias hold panels of values and gates in turn, and y = v act(g) for the n values, act being
 * GELU or SILU; without row, slope, gate and residual. With `scale`, c holds int32_t, and what
 * stands for c[i][j] above is c[i][j] scale[j] row_scale[i row_step]. */
struct finish {
    const void *c; /* float or int32_t */
    size_t ldc;
    size_t rows, n;
    const float *scale, *row_scale; /* or NULL both */
    size_t row_step;
    const float *bias;
    const float *row, *gate; /* or NULL */
    enum activation act;
    const float *slope; /* or NULL */
    bool gated;
    enum dtype dtype;     /* of residual and y */
    const void *residual; /* or NULL; may be y */
    size_t residual_ld;
    void *y;
    size_t y_ld;
};

/* One step of a softmax over n more scores of each row. Row i sees scores 0 .. n - 1, or, if
 * `causal`, 0 .. seen + i: p[i] = exp(scale s[i] - top[i]), and zero for what it does not see up to
 * `wide`; their sum is that of the LANES numbers of total[i]. top[i] is the largest score of the
 * `first` step; or, if `running` (Milakov & Gimelshein 2018), of all so far: when it grows,
 * total[i] and sum[i] shrink. */
struct softmax {
    const float *s; /* [rows, n] */
    size_t lds;
    size_t rows, n, wide;
    bool causal;
    ptrdiff_t seen;
    float scale;
    bool first, running;
    float *top;   /* [rows] */
    float *total; /* [rows, LANES] */
    float *sum;   /* [rows, sum_n]: what was summed with the p so far */
    size_t sum_ld, sum_n;
    enum dtype dtype; /* of p */
    void *p;          /* [rows, wide] */
    size_t ldp;
};

static inline size_t kernels_seen(const struct softmax *f, size_t row)
{
    if (!f->causal)
        return f->n;
    ptrdiff_t n = f->seen + (ptrdiff_t)row + 1;
    return n < 0 ? 0 : (size_t)n < f->n ? (size_t)n : f->n;
}

/* Row `row` has met a score of `top`. */
static inline void kernels_top(const struct softmax *f, size_t row, float top)
{
    if (top > f->top[row]) {
        float shrink = expf(f->top[row] - top);
        for (size_t j = 0; j < LANES; j++)
            f->total[row * LANES + j] *= shrink;
        for (size_t j = 0; j < f->sum_n; j++)
            f->sum[row * f->sum_ld + j] *= shrink;
        f->top[row] = top;
    }
}

/* Rows below are n numbers of `dtype`, F32 or BF16, that need no alignment. */
struct kernels {
    const char *name;
    /* Multiplies registers with each other `rounds` times, as fast as this level can, and returns
     * the floating point operations that were (a multiply-add is two). */
    double (*peak_f32)(size_t rounds);
    double (*peak_bf16)(size_t rounds);
    void (*gemm_f32)(const struct gemm *g);
    void (*gemm_bf16)(const struct gemm *g);
    void (*gemm_s8)(const struct gemm *g); /* NULL where it would be no faster */
    void (*finish)(const struct finish *f);
    void (*to_f32)(float *dst, enum dtype dtype, const void *src, size_t n);   /* any dtype */
    void (*from_f32)(enum dtype dtype, void *dst, const float *src, size_t n); /* to nearest even */
    float (*amax)(enum dtype dtype, const void *x, size_t n); /* the largest |x| */
    /* x by, rounded to nearest even as a fused multiply-add does it; |x by| < 128 */
    void (*to_s8)(enum dtype dtype, int8_t *y, const void *x, float by, size_t n);
    void (*activate)(enum dtype dtype, void *y, const void *x, size_t n, enum activation act);
    /* y = act(x a + b) */
    void (*affine)(enum dtype dtype, void *y, const void *x, const float *a, const float *b,
                   size_t n, enum activation act);
    /* d = x - pivot: sum += d, sum2 += d d */
    void (*moments)(enum dtype dtype, float *sum, float *sum2, const void *x, const float *pivot,
                    size_t n);
    /* y = (x - mean) / sqrt(variance + eps) gamma + beta */
    void (*layer_norm)(enum dtype dtype, void *y, const void *x, const float *gamma,
                       const float *beta, float eps, size_t n);
    /* y = x / sqrt(mean of x^2 + eps) gamma; y may be x */
    void (*rms_norm)(enum dtype dtype, void *y, const void *x, const float *gamma, float eps,
                     size_t n);
    /* y[i] = x[i] near[i] + x[j] far[i], j being the other of i's pair; y may be x. Even n. */
    void (*rope)(enum dtype dtype, void *y, const void *x, const float *near, const float *far,
                 size_t n, enum rope_pairs pairs);
    /* dst [n, PANEL] = src [PANEL, n], `ld` words from row to row */
    void (*turn)(uint32_t *dst, const uint32_t *src, size_t n, size_t ld);
    void (*scale)(enum dtype dtype, void *y, const float *x, float s, size_t n); /* y = x s */
    void (*softmax)(const struct softmax *f);
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_avx512bf16, kernels_amx;
/* Asks the kernel for the AMX tile registers, once a process; false where there are none. */
bool kernels_amx_enable(void);
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

#endif
