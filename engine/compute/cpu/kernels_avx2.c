/* kernels_avx2.c: AVX2 and FMA: 8 floats a vector, 12 of 16 registers hold sums. */
#include <immintrin.h>

#define VL 8
#define MAXV(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define WIDEN_F16(p) ((vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p))))
#define ROWS 6
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_avx2 = {.name = "avx2", .peak_bf16 = peak_f32, KERNELS_BASE};
