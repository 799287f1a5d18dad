/* dtype_blocks.h: GGML's formats: numbers of few bits in blocks, each with scales of its own. */
#ifndef PICTOR_ENGINE_COMPUTE_DTYPE_BLOCKS_H
#define PICTOR_ENGINE_COMPUTE_DTYPE_BLOCKS_H

#include <stdint.h>

#include "engine/compute/dtype.h"

#define DTYPE_BLOCK_MOST 256 /* elements of the longest block */

/* The numbers of one block, dtype_block(dtype) of them, in f32 arithmetic. `dtype` is one of
 * GGML's. */
void dtype_blocks_read(enum dtype dtype, const unsigned char *block, float *out);

/* dtype.c's conversion of one float16. */
float dtype_of_f16(uint16_t h);

#endif
