#include "engine/compute/dtype_scales.h"

#include <string.h>

#define TILE_ROWS 128
#define TILE_BLOCKS 4

static size_t tiles_of(size_t count, size_t tile)
{
    return count / tile + (count % tile != 0);
}

size_t dtype_scales_bytes(size_t rows, size_t width, size_t block)
{
    return tiles_of(rows, TILE_ROWS) * tiles_of(width / block, TILE_BLOCKS) * TILE_ROWS *
           TILE_BLOCKS;
}

static float block_scale(const struct dtype_scales *s, size_t row, size_t block)
{
    size_t across = tiles_of(s->width / s->block, TILE_BLOCKS);
    size_t tile = row / TILE_ROWS * across + block / TILE_BLOCKS, r = row % TILE_ROWS;
    uint8_t b = s->blocks[tile * TILE_ROWS * TILE_BLOCKS + r % 32 * 16 + r / 32 * TILE_BLOCKS +
                          block % TILE_BLOCKS];
    float scale;
    if (!s->powers) {
        dtype_to_f32(DTYPE_F8_E4M3, &b, &scale, 1);
        return scale;
    }
    uint32_t bits =
        (uint32_t)b << 23; /* of an exponent alone; 0 is 0, which blocks of zeros have */
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* Multiplies by the matrix, a factor of its Kronecker product at a time. */
static void turn(float *w, size_t group)
{
    for (size_t step = 1; step < group; step *= 4)
        for (size_t from = 0; from < group; from += 4 * step)
            for (size_t i = from; i < from + step; i++) {
                float a = w[i], b = w[i + step], c = w[i + 2 * step], d = w[i + 3 * step];
                float half = ((a + b) + (c + d)) / 2;
                w[i] = half - d;
                w[i + step] = half - c;
                w[i + 2 * step] = half - b;
                w[i + 3 * step] = half - a;
            }
}

void dtype_scales_apply(const struct dtype_scales *s, size_t row, size_t at, float *w, size_t n)
{
    float scale = s->all;
    if (s->rows) {
        dtype_range_to_f32(s->row_dtype, s->rows, row, &scale, 1);
        scale *= s->all;
    }
    if (s->blocks)
        for (size_t i = 0; i < n;) {
            size_t end = i + s->block - (at + i) % s->block;
            float own = scale * block_scale(s, row, (at + i) / s->block);
            for (end = end < n ? end : n; i < end; i++)
                w[i] *= own;
        }
    else
        for (size_t i = 0; i < n; i++)
            w[i] *= scale;
    for (size_t i = 0; s->group && i < n; i += s->group)
        turn(w + i, s->group);
}

/* Whole groups. */
static void read_whole(const struct dtype_scales *s, enum dtype dtype, const void *base,
                       size_t first, size_t row, size_t at, float *out, size_t n)
{
    dtype_range_to_f32(dtype, base, (row - first) * s->width + at, out, n);
    dtype_scales_apply(s, row, at, out, n);
}

void dtype_scales_read(const struct dtype_scales *s, enum dtype dtype, const void *base,
                       size_t first, size_t row, size_t at, float *out, size_t n)
{
    float group[DTYPE_SCALES_GROUP];
    if (dtype_scales_whole(s, at, n)) {
        read_whole(s, dtype, base, first, row, at, out, n);
        return;
    }
    while (n > 0) {
        size_t skip = at % s->group, some = s->group - skip < n ? s->group - skip : n;
        read_whole(s, dtype, base, first, row, at - skip, group, s->group);
        memcpy(out, group + skip, some * sizeof *out);
        at += some;
        out += some;
        n -= some;
    }
}
