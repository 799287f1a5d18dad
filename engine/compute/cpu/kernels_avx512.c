/* kernels_avx512.c: AVX-512 F, BW, VL, DQ. */
#include "engine/compute/cpu/kernels_vl16.h"

const struct kernels kernels_avx512 = {.name = "avx512", .peak_bf16 = peak_f32, KERNELS_BASE};
