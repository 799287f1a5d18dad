/* kernels_neon.c: NEON, which every AArch64 has: 4 floats a vector, 20 of 32 registers hold sums,
 * so that the halves of four vectors of BF16 pairs find room beside them. */
#include <arm_neon.h>

/* p 2^floor(t) for t <= 127; what would be less than 2^-126 is that. */
static inline float32x4_t scale2(float32x4_t p, float32x4_t t)
{
    int32x4_t n = vcvtq_s32_f32(vrndmq_f32(vmaxq_f32(t, vdupq_n_f32(-126))));
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(n, 23)));
}

#define VL 4
#define ROWS 5
#define NV 4
#define MAXV(a, b) ((vf)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define FRACTION(t) ((t) - (vf)vrndmq_f32((float32x4_t)(t)))
#define SCALE2(p, t) ((vf)scale2((float32x4_t)(p), (float32x4_t)(t)))
#define RECIPROCAL(v) (set1(1) / (v))
#define MAX_OF(v) vmaxvq_f32((float32x4_t)(v))
#define SUM_OF(v) vaddvq_f32((float32x4_t)(v))
#define WIDEN_F16(p) ((vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))))
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_neon = {.name = "neon", .peak_bf16 = peak_f32, KERNELS_BASE};
