/* nchw.h: PyTorch's layout, in which the golden tensors and the plain reference loops are, to the
 * engine's channels-last and back. */
#ifndef PICTOR_TESTS_UNIT_NCHW_H
#define PICTOR_TESTS_UNIT_NCHW_H

#include <stdlib.h>

#include "engine/compute/ops.h"

/* out [b, pixels, c] of in [b, c, pixels]. */
static inline void nchw_to_last(float *out, const float *in, int b, int c, size_t pixels)
{
    for (int i = 0; i < b; i++)
        for (size_t p = 0; p < pixels; p++)
            for (int k = 0; k < c; k++)
                out[((size_t)i * pixels + p) * (size_t)c + (size_t)k] =
                    in[((size_t)i * (size_t)c + (size_t)k) * pixels + p];
}

/* out [b, c, pixels] of in [b, pixels, c]. */
static inline void nchw_from_last(float *out, const float *in, int b, int c, size_t pixels)
{
    for (int i = 0; i < b; i++)
        for (size_t p = 0; p < pixels; p++)
            for (int k = 0; k < c; k++)
                out[((size_t)i * (size_t)c + (size_t)k) * pixels + p] =
                    in[((size_t)i * pixels + p) * (size_t)c + (size_t)k];
}

/* Between [b, c, h, w] floats and a tensor. */
static inline void nchw_load(struct ops *o, struct tensor *y, const float *src)
{
    size_t pixels = (size_t)y->h * (size_t)y->w;
    if (arena_planning(o->arena))
        return;
    float *last = malloc((size_t)y->b * pixels * (size_t)y->c * sizeof *last);
    nchw_to_last(last, src, y->b, y->c, pixels);
    ops_from_floats(o, y, last);
    free(last);
}

static inline void nchw_store(struct ops *o, float *dst, const struct tensor *x)
{
    size_t pixels = (size_t)x->h * (size_t)x->w;
    if (arena_planning(o->arena))
        return;
    float *last = malloc((size_t)x->b * pixels * (size_t)x->c * sizeof *last);
    ops_to_floats(o, last, x);
    nchw_from_last(dst, last, x->b, x->c, pixels);
    free(last);
}

#endif
