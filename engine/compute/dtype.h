/* dtype.h: number formats of stored tensors, and their exact conversion to float32. */
#ifndef PICTOR_ENGINE_COMPUTE_DTYPE_H
#define PICTOR_ENGINE_COMPUTE_DTYPE_H

#include <stddef.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F8_E4M3, /* the "fn" kind of safetensors and torch: no infinity, 0x7f and 0xff are NaN */
    DTYPE_F8_E5M2,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I8,   /* inside products only: what it is scaled by lies elsewhere */
    DTYPE_OTHER /* in the file, but nothing here reads it; size 0 */
};

size_t dtype_size(enum dtype dtype);      /* bytes an element; 0 for DTYPE_OTHER */
const char *dtype_name(enum dtype dtype); /* as safetensors writes it: "F16", "BF16", "F8_E4M3" */

/* dst[i] = src[i] for n elements: exact for every float format, subnormals, infinities and NaN
 * included; F64 and I64 round to nearest. `src` needs no alignment. `dtype` must not be
 * DTYPE_OTHER. */
void dtype_to_f32(enum dtype dtype, const void *src, float *dst, size_t n);

#endif
