/* dtype_blocks.h: GGML's formats: numbers of few bits in blocks, each with scales of its own. */
#ifndef PICTOR_ENGINE_COMPUTE_DTYPE_BLOCKS_H
#define PICTOR_ENGINE_COMPUTE_DTYPE_BLOCKS_H

#include <stdint.h>

#include "engine/compute/dtype.h"

#define DTYPE_BLOCK_MOST 256 /* elements of the longest block */

/* The numbers of one block, dtype_block(dtype) of them, in f32 arithmetic. `dtype` is one of
 * GGML's. */
void dtype_blocks_read(enum dtype dtype, const unsigned char *block, float *out);

/* What the four bits of IQ4_NL and IQ4_XS, and of MXFP4 (twice E2M1's numbers), stand for. */
extern const int8_t dtype_blocks_curved[16], dtype_blocks_mx[16];

/* MXFP4's scale, of its one byte: half of 2^(e - 127), which its numbers are twice. */
float dtype_blocks_mx_scale(uint8_t e);

/* The scale of sub-block `s` of 8 of IQ4_XS, whose block begins at b: 6 bits, less 32. */
static inline int dtype_blocks_xs_scale(const unsigned char *b, int s)
{
    int low = b[4 + s / 2] >> 4 * (s % 2) & 15, high = (b[2] | b[3] << 8) >> 2 * s & 3;
    return (low | high << 4) - 32;
}

/* dtype.c's conversion of one float16. */
float dtype_of_f16(uint16_t h);

#endif
