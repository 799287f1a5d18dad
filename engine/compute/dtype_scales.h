/* dtype_scales.h: weights that are what is stored times numbers that lie elsewhere: one for each
 * row, or one for each few numbers of a row; and rows that were turned before they were stored.
 *
 * The formats are ComfyUI's (comfy-kitchen's): F8 and I8 with a scale a row, I8 turned ("convrot"),
 * NVFP4 and MXFP8, whose scales of blocks lie as cuBLAS wants them: tiles of 128 rows by 4 blocks,
 * in which row r and block b are at r % 32 * 16 + r / 32 * 4 + b. */
#ifndef PICTOR_ENGINE_COMPUTE_DTYPE_SCALES_H
#define PICTOR_ENGINE_COMPUTE_DTYPE_SCALES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/compute/dtype.h"

#define DTYPE_SCALES_GROUP 1024 /* most numbers that are turned together */

struct dtype_scales {
    size_t width;     /* numbers a row */
    float all;        /* what all are times */
    const void *rows; /* one for each row, possibly unaligned; or NULL */
    enum dtype row_dtype;
    const uint8_t *blocks; /* one for each `block` numbers of a row, in tiles; or NULL */
    bool powers;           /* they are powers of two (E8M0), else F8_E4M3 */
    size_t block;
    /* Numbers that were multiplied by a Hadamard matrix together, the Kronecker power of
     * [1 1 1 -1, 1 1 -1 1, 1 -1 1 1, -1 1 1 1] / 2, which is its own inverse: a power of 4 that
     * divides `width`. 0: none. */
    size_t group;
};

/* Bytes that the scales of blocks of rows x width take, filled up to whole tiles. */
size_t dtype_scales_bytes(size_t rows, size_t width, size_t block);

/* Whether `n` numbers of a row from `at` on are whole groups, which alone can be turned back. */
static inline bool dtype_scales_whole(const struct dtype_scales *s, size_t at, size_t n)
{
    return s->group == 0 || (at % s->group == 0 && n % s->group == 0);
}

/* w: the stored numbers at..at + n - 1 of a row, whole groups; becomes what they stand for. */
void dtype_scales_apply(const struct dtype_scales *s, size_t row, size_t at, float *w, size_t n);

/* out: the numbers at..at + n - 1 of row `row`, any of them, whose rows begin with row `first` at
 * `base`, which has that of `first`. */
void dtype_scales_read(const struct dtype_scales *s, enum dtype dtype, const void *base,
                       size_t first, size_t row, size_t at, float *out, size_t n);

#endif
