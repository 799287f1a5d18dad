/* kernels.h: what an instruction set must bring to the CPU device.
 *
 * Everything is written over a few inner loops on rows that sit in the first-level cache; these
 * are they. kernels_scalar.c is their definition in plain loops; the other files override it and
 * are tested against the same plain loops (tests/unit/ops_test.c).
 *
 * Packed weights, the same for every level: panels of PANEL output channels, zero-filled at the
 * end, [panel][tap][k][PANEL] as F32, or [panel][tap][k / 2][PANEL][2] as BF16 with k rounded up
 * to PACK_K: pairs of k side by side are what VDPBF16PS and AMX's TDPBF16PS take. */
#ifndef PICTOR_ENGINE_COMPUTE_CPU_KERNELS_H
#define PICTOR_ENGINE_COMPUTE_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/compute/ops.h"

#define PANEL 32
#define PACK_K 32

static inline size_t kernels_pack_k(enum dtype dtype, size_t k)
{
    return dtype == DTYPE_BF16 ? (k + PACK_K - 1) / PACK_K * PACK_K : k;
}

/* c[i][j] = sum over taps t and k of a[i * lda + tap[t] + k] * w[panel of j][t][k][j], F32 sums.
 * BF16: k is a multiple of PACK_K and so many elements of a are readable for every row and tap.
 * c holds n columns rounded up to PANEL. */
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
    float *c;
    size_t ldc; /* elements from row to row of c, a multiple of PANEL */
};

struct kernels {
    const char *name;
    bool bf16_hardware; /* multiplies BF16 in hardware: worth using by default */
    /* Multiplies registers with each other `rounds` times, as fast as this level can, and returns
     * the floating point operations that were (a multiply-add is two). */
    double (*peak_f32)(size_t rounds);
    double (*peak_bf16)(size_t rounds);
    void (*gemm_f32)(const struct gemm *g);
    void (*gemm_bf16)(const struct gemm *g);
    void (*bf16_to_f32)(float *dst, const uint16_t *src, size_t n);
    void (*f32_to_bf16)(uint16_t *dst, const float *src, size_t n); /* to nearest even */
    void (*activate)(float *x, size_t n, enum activation act);
    void (*add)(float *x, const float *y, size_t n); /* x += y */
    void (*scale)(float *x, float s, size_t n);      /* x *= s */
    void (*affine)(float *y, const float *x, const float *a, const float *b,
                   size_t n); /* x a + b */
    /* d = x - pivot: sum += d, sum2 += d d */
    void (*moments)(float *sum, float *sum2, const float *x, const float *pivot, size_t n);
    void (*mean_var)(float *mean, float *var, const float *x, size_t n); /* of one row */
    void (*gate)(float *y, const float *x, const float *g, size_t n);    /* x * gelu(g) */
    float (*max)(const float *x, size_t n);
    float (*exp_sum)(float *x, float max, size_t n); /* x = exp(x - max), returns their sum */
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512, kernels_amx;
/* Asks the kernel for the AMX tile registers, once a process; false where there are none. */
bool kernels_amx_enable(void);
#endif

#endif
