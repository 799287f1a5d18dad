/* kernels_avx512.c: AVX-512 F, BW, VL, DQ: 16 floats a vector, 24 of 32 registers hold sums. */
#include <immintrin.h>

#define VL 16
#define ROWS 12
#define MAXV(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define WIDEN_F16(p) ((vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p))))
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_avx512 = {.name = "avx512", .peak_bf16 = peak_f32, KERNELS_BASE};
