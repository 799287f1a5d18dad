/* tensor.h: activations, channels-last.
 *
 * Element (b, y, x, k) of a picture tensor lies at
 *     data[((b * (h + 2 pad) + y + pad) * (w + 2 pad) + x + pad) * ld + k]
 * so a linear layer, a 1x1 convolution and a projection of attention are one matrix product over
 * pixels, and with pad == 1 (a border of zeros) a 3x3 convolution is nine of them over shifted
 * rows. Tokens are pictures of height 1. `ld >= c` lets a tensor be a slice of channels of a wider
 * one, so concatenation is a matter of where the producer writes.
 *
 * A tensor does not own its memory (an arena does). */
#ifndef PICTOR_ENGINE_COMPUTE_TENSOR_H
#define PICTOR_ENGINE_COMPUTE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/compute/dtype.h"

struct tensor {
    void *data; /* F32 or BF16 */
    enum dtype dtype;
    int b, h, w, c; /* batch, height, width, channels */
    int ld;         /* elements from one pixel to the next */
    int pad;        /* border of zeros around every picture: 0 or 1 */
};

/* New tensor in the arena; not cleared, border included. ld is c rounded up to 32, or more: what is
 * between them is not cleared either, and a BF16 product reads on to the next multiple of 32, so
 * only what ops_from_floats fills may have a c that is none. */
struct tensor tensor_new(struct arena *a, enum dtype dtype, int b, int h, int w, int c, int pad);

/* Channels [c0, c0 + c) of t. */
struct tensor tensor_slice(const struct tensor *t, int c0, int c);

/* Tokens [first, first + n) of t, of height 1 and one picture: what writes there writes a part of a
 * longer sequence. */
struct tensor tensor_range(const struct tensor *t, int first, int n);

/* Picture b of t alone. */
struct tensor tensor_picture(const struct tensor *t, int b);

/* Same pixels as a row of tokens: [b, 1, h * w, c]; pad must be 0. */
struct tensor tensor_tokens(const struct tensor *t);

size_t tensor_bytes(const struct tensor *t);
void *tensor_at(const struct tensor *t, int b, int y, int x); /* channel 0 of a pixel */

#endif
