#include "engine/model/adaln.h"

void adaln_speak(struct ops *o, const struct matrix *w, const struct tensor *vector, int width,
                 int count, struct adaln *out)
{
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, 1, matrix_rows(w), 0);
    ops_linear(o, &y, vector, w, NULL);
    float *at = y.data;
    for (int i = 0; i < count; i++, at += 3 * width) {
        for (int k = 0; k < width && !arena_planning(o->arena); k++)
            at[width + k] += 1;
        out[i] = (struct adaln){at, at + width, at + 2 * width};
    }
}

struct adaln adaln_speak_last(struct ops *o, const struct matrix *w, const struct tensor *vector,
                              int width, bool scale_first)
{
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, 1, 2 * width, 0);
    ops_linear(o, &y, vector, w, NULL);
    float *first = y.data, *second = first + width, *scale = scale_first ? first : second;
    for (int k = 0; k < width && !arena_planning(o->arena); k++)
        scale[k] += 1;
    return (struct adaln){scale_first ? second : first, scale, NULL};
}

void adaln_norm(struct ops *o, struct tensor *y, const struct tensor *x, const struct adaln *say)
{
    struct norm_how how = {.eps = ADALN_EPSILON, .gamma = say->scale, .beta = say->shift};
    ops_norm(o, y, x, &how);
}

void adaln_add(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
               const struct adaln *say)
{
    struct epilogue onto = {.gate = say->gate, .residual = y};
    ops_linear(o, y, x, w, &onto);
}

void adaln_vector(struct ops *o, struct matrix *const w[2], const float *x, int k, bool more,
                  struct tensor *y)
{
    size_t mark = arena_mark(o->arena);
    struct tensor in = tensor_new(o->arena, y->dtype, 1, 1, 1, k, 0);
    struct tensor inside = tensor_new(o->arena, y->dtype, 1, 1, 1, matrix_rows(w[0]), 0);
    struct epilogue silu = {.act = ACT_SILU}, onto = {.residual = y};
    ops_from_floats(o, &in, x);
    ops_linear(o, &inside, &in, w[0], &silu);
    ops_linear(o, y, &inside, w[1], more ? &onto : NULL);
    arena_reset(o->arena, mark);
}

void adaln_number(struct ops *o, struct matrix *const w[2], double x, bool more, struct tensor *y)
{
    float sinusoids[ADALN_SINUSOIDS];
    layers_sinusoids(x, ADALN_SINUSOIDS, sinusoids);
    adaln_vector(o, w, sinusoids, ADALN_SINUSOIDS, more, y);
}

void adaln_take(struct ops *o, const struct matrix *w, const float *x, int k, struct tensor *y)
{
    size_t mark = arena_mark(o->arena);
    struct tensor in = tensor_new(o->arena, device_dtype(o->dev), 1, 1, y->w, k, 0);
    ops_from_floats(o, &in, x);
    ops_linear(o, y, &in, w, NULL);
    arena_reset(o->arena, mark);
}

void adaln_take_floats(struct ops *o, const struct matrix *w, const float *x, int k, int tokens,
                       float *out)
{
    size_t mark = arena_mark(o->arena);
    struct tensor y = tensor_new(o->arena, DTYPE_F32, 1, 1, tokens, matrix_rows(w), 0);
    adaln_take(o, w, x, k, &y);
    ops_to_floats(o, out, &y);
    arena_reset(o->arena, mark);
}
