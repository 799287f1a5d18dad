/* dtype.h: number formats of stored tensors, and their exact conversion to float32. */
#ifndef PICTOR_ENGINE_COMPUTE_DTYPE_H
#define PICTOR_ENGINE_COMPUTE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F8_E4M3, /* the "fn" kind of safetensors and torch: no infinity, 0x7f and 0xff are NaN */
    DTYPE_F8_E5M2,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I8,      /* what it is scaled by lies elsewhere (dtype_scales.h) */
    DTYPE_F4_E2M1, /* so it does; two to a byte, the upper half first */
    /* GGML's: numbers in blocks that have scales of their own (dtype_blocks.c); in files only. */
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_MXFP4,
    DTYPE_OTHER /* in the file, but nothing here reads it; size 0 */
};

size_t dtype_size(enum dtype dtype);  /* bytes a block; 0 for DTYPE_OTHER */
size_t dtype_block(enum dtype dtype); /* elements a block: 1 but for F4 and GGML's */
/* Fewer than 16 bits a number. */
static inline bool dtype_is_small(enum dtype dtype)
{
    return dtype_size(dtype) < 2 * dtype_block(dtype);
}
const char *dtype_name(enum dtype dtype); /* as safetensors writes it: "F16", "BF16", "F8_E4M3" */

/* dst[i] = src[i] for n elements: exact for every float format, subnormals, infinities and NaN
 * included; F64 and I64 round to nearest. `src` needs no alignment. `dtype` must not be
 * DTYPE_OTHER. Of blocks `n` is a multiple. */
void dtype_to_f32(enum dtype dtype, const void *src, float *dst, size_t n);

/* The same for elements first .. first + n - 1 of a row that begins at `base`, which need not be
 * whole blocks. */
void dtype_range_to_f32(enum dtype dtype, const void *base, size_t first, float *dst, size_t n);

#endif
