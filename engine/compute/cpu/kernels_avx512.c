/* kernels_avx512.c: AVX-512 F, BW, VL, DQ: 16 floats a vector, 24 of 32 registers hold sums. */
#define VL 16
#define ROWS 12
#include "engine/compute/cpu/kernels_simd.h"

const struct kernels kernels_avx512 = {.name = "avx512", .peak_bf16 = peak_f32, KERNELS_BASE};
