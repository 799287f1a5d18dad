/* kernels_avx512bf16.c: AVX-512 with BF16 (Cooper Lake, Zen 4) but without AMX's tiles: VDPBF16PS
 * multiplies the pairs of k as they lie in the panel, and sums each with its neighbour. */
#define NARROW(v) ((vh)_mm512_cvtneps_pbh((__m512)(v)))
#define DOT(sum, x, w) ((vf)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(w)))
#include "engine/compute/cpu/kernels_vl16.h"

static double peak_bf16(size_t rounds)
{
    volatile uint32_t one = 0x3f803f80; /* in both of a pair */
    vu x = one - (vu){0};
    vf sum[ROWS * NV];
#pragma GCC unroll 24
    for (int j = 0; j < ROWS * NV; j++)
        sum[j] = set1((float)j); /* equal chains would be computed as one */
    for (size_t i = 0; i < rounds; i++)
#pragma GCC unroll 24
        for (int j = 0; j < ROWS * NV; j++)
            sum[j] = DOT(sum[j], x, x);
#pragma GCC unroll 24
    for (int j = 1; j < ROWS * NV; j++)
        sum[0] += sum[j];
    one = (uint32_t)sum[0][0]; /* so that it has to be computed */
    return 4.0 * ROWS * NV * VL * (double)rounds;
}

const struct kernels kernels_avx512bf16 = {
    .name = "avx512bf16", .peak_bf16 = peak_bf16, KERNELS_BASE};
