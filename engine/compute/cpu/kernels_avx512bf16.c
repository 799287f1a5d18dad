/* kernels_avx512bf16.c: AVX-512 with BF16 (Cooper Lake, Zen 4) but without AMX's tiles: VDPBF16PS
 * multiplies the pairs of k as they lie in the panel, and sums each with its neighbour. */
#define NARROW(v) ((vh)_mm512_cvtneps_pbh((__m512)(v)))
#define DOT(sum, x, w) ((vf)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(w)))
#include "engine/compute/cpu/kernels_vl16.h"

static double peak_bf16(size_t rounds)
{
    volatile float total;
    volatile uint32_t ones = 0x3f803f80; /* in both of a pair */
    vu x = ones - (vu){0};
#define STEP(sum) DOT(sum, x, x)
    CHAINS(total, rounds, STEP);
#undef STEP
    (void)total;
    return 4.0 * ROWS * NV * VL * (double)rounds;
}

const struct kernels kernels_avx512bf16 = {
    .name = "avx512bf16", .peak_bf16 = peak_bf16, KERNELS_BASE};
