/* upscaler.c: resampling is separable, so a pixel is a weighted sum over a few rows and columns;
 * which and with what weights is worked out once an axis. */
#include "engine/pipeline/upscaler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct upscaler upscalers[] = {
    {"Latent", true, .filter = UPSCALER_BILINEAR},
    {"Latent (antialiased)", true, .filter = UPSCALER_BILINEAR, .antialias = true},
    {"Latent (bicubic)", true, .filter = UPSCALER_BICUBIC},
    {"Latent (bicubic antialiased)", true, .filter = UPSCALER_BICUBIC, .antialias = true},
    {"Latent (nearest)", true, .filter = UPSCALER_NEAREST},
    {"Latent (nearest-exact)", true, .filter = UPSCALER_NEAREST_EXACT},
    {"Lanczos", false, .image = IMAGE_LANCZOS},
    {"Nearest", false, .image = IMAGE_NEAREST},
    {PICTOR_UPSCALER, false, .network = true},
};

const struct upscaler *upscaler_find(const char *name)
{
    for (size_t i = 0; i < sizeof upscalers / sizeof *upscalers; i++)
        if (strcasecmp(upscalers[i].name, name) == 0)
            return &upscalers[i];
    return NULL;
}

const char *upscaler_names(char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof upscalers / sizeof *upscalers && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", upscalers[i].name);
    return out;
}

/* ---- which pixels, and how much of each ---- */

/* The pixels of a line of `from` that make each of `to`: `taps` a pixel, the first one may lie
 * before the line and the last one behind it; then the border's pixel counts. */
struct axis {
    int from, to, taps;
    int *first;     /* [to] */
    float *weights; /* [to, taps] */
};

/* Keys' cubic; torch takes another `a` with antialiasing, as Pillow does. */
static float cubic(float x, float a)
{
    x = fabsf(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static float kernel(enum upscaler_filter filter, float x)
{
    if (filter == UPSCALER_BICUBIC)
        return cubic(x, -0.5f);
    return fmaxf(1 - fabsf(x), 0);
}

/* Antialiased: the kernel is as wide as what a pixel covers, and stays within the line. */
static void cover(struct axis *x, enum upscaler_filter filter, float reach)
{
    float scale = (float)x->from / (float)x->to, wide = fmaxf(scale, 1);
    for (int i = 0; i < x->to; i++) {
        float center = scale * ((float)i + 0.5f), sum = 0;
        float *weights = x->weights + (size_t)i * (size_t)x->taps;
        int first = (int)fmaxf(center - reach * wide + 0.5f, 0);
        int end = (int)fminf(center + reach * wide + 0.5f, (float)x->from);
        x->first[i] = first;
        for (int k = 0; k < x->taps; k++) {
            bool inside = first + k < end;
            weights[k] = inside ? kernel(filter, ((float)(first + k) - center + 0.5f) / wide) : 0;
            sum += weights[k];
        }
        for (int k = 0; k < x->taps; k++)
            weights[k] /= sum;
    }
}

static void interpolate(struct axis *x, enum upscaler_filter filter)
{
    float scale = (float)x->from / (float)x->to;
    for (int i = 0; i < x->to; i++) {
        float at = ((float)i + 0.5f) * scale, *weights = x->weights + (size_t)i * (size_t)x->taps;
        switch (filter) {
        case UPSCALER_NEAREST:
        case UPSCALER_NEAREST_EXACT:
            x->first[i] = (int)(filter == UPSCALER_NEAREST ? (float)i * scale : at);
            weights[0] = 1;
            break;
        case UPSCALER_BILINEAR:
            at = fmaxf(at - 0.5f, 0);
            x->first[i] = (int)at;
            weights[1] = at - (float)x->first[i];
            weights[0] = 1 - weights[1];
            break;
        case UPSCALER_BICUBIC:
            at -= 0.5f;
            x->first[i] = (int)floorf(at) - 1;
            for (int k = 0; k < 4; k++)
                weights[k] = cubic(at - (float)(x->first[i] + k), -0.75f);
            break;
        }
    }
}

static struct axis axis_new(const struct upscaler *u, struct arena *a, int from, int to)
{
    int reach = u->filter == UPSCALER_BICUBIC ? 2 : 1;
    bool nearest = u->filter == UPSCALER_NEAREST || u->filter == UPSCALER_NEAREST_EXACT;
    struct axis x = {.from = from, .to = to, .taps = nearest ? 1 : 2 * reach};
    if (u->antialias)
        x.taps = 2 * (int)ceilf((float)reach * fmaxf((float)from / (float)to, 1)) + 1;
    x.first = arena_alloc(a, (size_t)to, sizeof *x.first);
    x.weights = arena_alloc(a, (size_t)to * (size_t)x.taps, sizeof *x.weights);
    if (arena_planning(a))
        return x;
    if (u->antialias)
        cover(&x, u->filter, (float)reach);
    else
        interpolate(&x, u->filter);
    return x;
}

/* ---- the sums ---- */

static size_t within(int i, int size)
{
    return (size_t)(i < 0 ? 0 : i < size ? i : size - 1);
}

static float row_sum(const struct axis *x, const float *row, int i, size_t channels)
{
    const float *weights = x->weights + (size_t)i * (size_t)x->taps;
    float sum = 0;
    for (int k = 0; k < x->taps; k++)
        sum += row[within(x->first[i] + k, x->from) * channels] * weights[k];
    return sum;
}

void upscaler_latent(const struct upscaler *u, struct arena *a, const struct latent *in,
                     struct latent *out)
{
    size_t mark = arena_mark(a), channels = (size_t)in->channels, c = 0;
    size_t row = (size_t)in->width * channels;
    struct axis x = axis_new(u, a, in->width, out->width);
    struct axis y = axis_new(u, a, in->height, out->height);
    size_t n = arena_planning(a) ? 0 : latent_size(out);
    for (size_t i = 0; i < n; i++, c = i % channels) {
        size_t pixel = i / channels;
        int column = (int)(pixel % (size_t)out->width), line = (int)(pixel / (size_t)out->width);
        const float *weights = y.weights + (size_t)line * (size_t)y.taps;
        float sum = 0;
        for (int k = 0; k < y.taps; k++)
            sum += row_sum(&x, in->at + within(y.first[line] + k, y.from) * row + c, column,
                           channels) *
                   weights[k];
        out->at[i] = sum;
    }
    arena_reset(a, mark);
}
