/* kernels_avx2.c: AVX2 and FMA: 8 floats a vector, 12 of 16 registers hold sums. */
#define VL 8
#define ROWS 6
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_avx2 = {.name = "avx2", .peak_bf16 = peak_f32, KERNELS_BASE};
