#include "engine/compute/tensor.h"

#include <assert.h>

struct tensor tensor_new(struct arena *a, enum dtype dtype, int b, int h, int w, int c, int pad)
{
    struct tensor t = {.dtype = dtype, .b = b, .h = h, .w = w, .c = c, .pad = pad};
    t.ld = (c + 31) / 32 * 32;
    /* Rows of a matrix product at multiples of 256 bytes share sets of the first-level cache. */
    if (!pad && t.ld % 128 == 0)
        t.ld += 32;
    /* A matrix kernel may read one vector past the last element (and throw it away). */
    t.data = arena_alloc(a, tensor_bytes(&t) + ARENA_ALIGN, 1);
    return t;
}

struct tensor tensor_slice(const struct tensor *t, int c0, int c)
{
    assert(c0 >= 0 && c > 0 && c0 + c <= t->ld);
    struct tensor s = *t;
    s.data = (unsigned char *)t->data + (size_t)c0 * dtype_size(t->dtype);
    s.c = c;
    return s;
}

struct tensor tensor_range(const struct tensor *t, int first, int n)
{
    assert(t->b == 1 && t->h == 1 && t->pad == 0 && first >= 0 && n > 0 && first + n <= t->w);
    struct tensor s = *t;
    s.data = tensor_at(t, 0, 0, first);
    s.w = n;
    return s;
}

struct tensor tensor_picture(const struct tensor *t, int b)
{
    assert(b >= 0 && b < t->b);
    struct tensor s = *t;
    s.data = tensor_at(t, b, -t->pad, -t->pad);
    s.b = 1;
    return s;
}

struct tensor tensor_tokens(const struct tensor *t)
{
    assert(t->pad == 0);
    struct tensor s = *t;
    s.w = t->h * t->w;
    s.h = 1;
    return s;
}

size_t tensor_bytes(const struct tensor *t)
{
    return (size_t)t->b * (size_t)(t->h + 2 * t->pad) * (size_t)(t->w + 2 * t->pad) *
           (size_t)t->ld * dtype_size(t->dtype);
}

void *tensor_at(const struct tensor *t, int b, int y, int x)
{
    size_t row = (size_t)b * (size_t)(t->h + 2 * t->pad) + (size_t)(y + t->pad);
    size_t pixel = row * (size_t)(t->w + 2 * t->pad) + (size_t)(x + t->pad);
    return (unsigned char *)t->data + pixel * (size_t)t->ld * dtype_size(t->dtype);
}
