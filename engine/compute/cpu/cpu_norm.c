/* cpu_norm.c: group norm; layer norm and RMSNorm, pixel by pixel.
 *
 * Group norm goes over the picture twice: sums per channel in chunks of CHUNK pixels, then
 * y = act(x * a + b) with one a and b a channel. What is summed is the distance from the picture's
 * first pixel, F32 inside a chunk and double between chunks: a variance that is small beside the
 * mean keeps its precision, and the order of summing never depends on threads. */
#include <math.h>
#include <string.h>

#include "engine/compute/cpu/cpu.h"

#define CHUNK 256 /* pixels */

struct group_norm {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *x;
    enum activation act;
    size_t pixels, chunks; /* a picture */
    float *sums;           /* [b, chunks, 2, c] */
    float *pivots;         /* [b, c]: the first pixel */
    float *a, *b;          /* [b, c] */
};

static void sum_chunk(void *ctx, size_t task, int thread)
{
    const struct group_norm *g = ctx;
    const struct kernels *k = g->dev->k;
    const struct tensor *x = g->x;
    size_t c = (size_t)x->c, at = task % g->chunks * CHUNK;
    size_t n = g->pixels - at < CHUNK ? g->pixels - at : CHUNK;
    float *sum = g->sums + task * 2 * c;
    memset(sum, 0, 2 * c * sizeof *sum);
    const unsigned char *px = (const unsigned char *)x->data + (task / g->chunks * g->pixels + at) *
                                                                   (size_t)x->ld *
                                                                   dtype_size(x->dtype);
    for (size_t i = 0; i < n; i++, px += (size_t)x->ld * dtype_size(x->dtype))
        k->moments(x->dtype, sum, sum + c, px, g->pivots + task / g->chunks * c, c);
}

static void coefficients(struct group_norm *g, int groups, float eps, const float *gamma,
                         const float *beta)
{
    size_t c = (size_t)g->x->c, width = c / (size_t)groups;
    double *means = (double *)cpu_scratch(g->dev, 0);
    double n = (double)g->pixels;
    for (int b = 0; b < g->x->b; b++) {
        const float *sums = g->sums + (size_t)b * g->chunks * 2 * c;
        const float *pivots = g->pivots + (size_t)b * c;
        for (int i = 0; i < groups; i++) {
            size_t first = (size_t)i * width, last = first + width;
            double mean = 0, spread = 0; /* of the group; sum of squares around channel means */
            for (size_t j = first; j < last; j++) {
                double sum = 0, sum2 = 0;
                for (size_t t = 0; t < g->chunks; t++) {
                    sum += sums[t * 2 * c + j];
                    sum2 += sums[t * 2 * c + c + j];
                }
                means[j - first] = pivots[j] + sum / n;
                mean += means[j - first] / (double)width;
                spread += sum2 - sum * sum / n;
            }
            for (size_t j = 0; j < width; j++)
                spread += n * (means[j] - mean) * (means[j] - mean);
            double var = spread / (n * (double)width);
            double scale = 1 / sqrt((var > 0 ? var : 0) + eps);
            for (size_t j = first; j < last; j++) {
                float a = (float)(gamma[j] * scale);
                g->a[(size_t)b * c + j] = a;
                g->b[(size_t)b * c + j] = (float)(beta[j] - mean * gamma[j] * scale);
            }
        }
    }
}

static void apply_row(void *ctx, size_t task, int thread)
{
    const struct group_norm *g = ctx;
    const struct kernels *k = g->dev->k;
    const struct tensor *x = g->x;
    size_t c = (size_t)x->c;
    int b = (int)(task / (size_t)x->h), row = (int)(task % (size_t)x->h);
    for (int i = 0; i < x->w; i++)
        k->affine(x->dtype, tensor_at(g->y, b, row, i), tensor_at(x, b, row, i),
                  g->a + (size_t)b * c, g->b + (size_t)b * c, c, g->act);
}

void cpu_norm_group(struct ops *o, struct tensor *y, const struct tensor *x, int groups, float eps,
                    const float *gamma, const float *beta, enum activation act)
{
    struct group_norm g = {.dev = cpu_of(o), .y = y, .x = x, .act = act};
    g.pixels = (size_t)x->h * (size_t)x->w;
    g.chunks = (g.pixels + CHUNK - 1) / CHUNK;
    size_t mark = arena_mark(o->arena), bc = (size_t)x->b * (size_t)x->c;
    g.sums = arena_alloc(o->arena, bc * g.chunks * 2, sizeof *g.sums);
    g.pivots = arena_alloc(o->arena, bc, sizeof *g.pivots);
    g.a = arena_alloc(o->arena, bc, sizeof *g.a);
    g.b = arena_alloc(o->arena, bc, sizeof *g.b);
    if (!arena_planning(o->arena)) {
        for (int b = 0; b < x->b; b++)
            g.dev->k->to_f32(g.pivots + (size_t)b * (size_t)x->c, x->dtype, tensor_at(x, b, 0, 0),
                             (size_t)x->c);
        pool_run(g.dev->pool, (size_t)x->b * g.chunks, sum_chunk, &g);
        coefficients(&g, groups, eps, gamma, beta);
        cpu_clear_border(y);
        pool_run(g.dev->pool, (size_t)x->b * (size_t)x->h, apply_row, &g);
    }
    arena_reset(o->arena, mark);
}

struct pixel_norm {
    struct cpu_device *dev;
    struct tensor *y;
    const struct tensor *x;
    struct norm_how how; /* with gamma, and beta if it has a mean */
    size_t pixels, picture;
};

#define NORM_ROWS 16 /* pixels a task */

static void norm_rows(void *ctx, size_t task, int thread)
{
    const struct pixel_norm *l = ctx;
    const struct kernels *k = l->dev->k;
    const struct norm_how *h = &l->how;
    enum dtype dtype = l->x->dtype;
    size_t size = dtype_size(dtype), c = (size_t)l->x->c, group = (size_t)h->group;
    for (size_t i = task * NORM_ROWS; i < l->pixels && i < (task + 1) * NORM_ROWS; i++) {
        unsigned char *y = (unsigned char *)l->y->data + i * (size_t)l->y->ld * size;
        const unsigned char *x = (const unsigned char *)l->x->data + i * (size_t)l->x->ld * size;
        size_t own = i / l->picture * h->ld;
        for (size_t j = 0; j < c; j += group) {
            if (h->rms)
                k->rms_norm(dtype, y + j * size, x + j * size, h->gamma + own, h->eps, group);
            else
                k->layer_norm(dtype, y + j * size, x + j * size, h->gamma + own, h->beta + own,
                              h->eps, group);
        }
    }
}

void cpu_norm_pixels(struct ops *o, struct tensor *y, const struct tensor *x,
                     const struct norm_how *how)
{
    struct pixel_norm l = {cpu_of(o), y, x, *how, 0, (size_t)x->h * (size_t)x->w};
    size_t mark = arena_mark(o->arena), n = (size_t)how->group;
    size_t numbers = how->ld ? (size_t)(x->b - 1) * how->ld + n : n;
    float *ones = how->gamma ? NULL : arena_alloc(o->arena, numbers, sizeof *ones);
    float *zeros = how->beta || how->rms ? NULL : arena_alloc(o->arena, numbers, sizeof *zeros);
    if (!arena_planning(o->arena)) {
        for (size_t i = 0; i < numbers; i++) {
            if (ones)
                ones[i] = 1;
            if (zeros)
                zeros[i] = 0;
        }
        l.how.gamma = ones ? ones : how->gamma;
        l.how.beta = zeros ? zeros : how->beta;
        l.pixels = (size_t)x->b * l.picture;
        pool_run(l.dev->pool, (l.pixels + NORM_ROWS - 1) / NORM_ROWS, norm_rows, &l);
    }
    arena_reset(o->arena, mark);
}
