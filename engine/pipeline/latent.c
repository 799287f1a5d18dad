#include "engine/pipeline/latent.h"

#include <math.h>
#include <string.h>

#define BORDER 2 /* latent pixels of a square that are painted again with what is around it */
#define NARROW 5 /* latent pixels: a tower's top, a ball, the sun */

struct latent latent_new(struct arena *a, int width, int height, int channels)
{
    struct latent l = {width, height, channels, NULL};
    l.at = arena_alloc(a, latent_size(&l), sizeof *l.at);
    return l;
}

size_t latent_size(const struct latent *l)
{
    return (size_t)l->width * (size_t)l->height * (size_t)l->channels;
}

/* The middle of noise [channels, height, width] over that of `out`'s size, as the SD WebUI has it:
 * of what is larger as much is left out at either side, one more at the right or below if it is
 * odd. */
static void put_middle(float *out, int width, int height, const float *in, int in_width,
                       int in_height, int channels)
{
    int dx = (int)floor((width - in_width) / 2.0), dy = (int)floor((height - in_height) / 2.0);
    int w = dx >= 0 ? in_width : in_width + 2 * dx, h = dy >= 0 ? in_height : in_height + 2 * dy;
    int to_x = dx > 0 ? dx : 0, to_y = dy > 0 ? dy : 0;
    int from_x = dx < 0 ? -dx : 0, from_y = dy < 0 ? -dy : 0;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < h; y++)
            memcpy(out + ((size_t)c * (size_t)height + (size_t)(to_y + y)) * (size_t)width + to_x,
                   in + ((size_t)c * (size_t)in_height + (size_t)(from_y + y)) * (size_t)in_width +
                       from_x,
                   (size_t)w * sizeof *out);
}

void latent_draw(struct arena *a, const struct pictor_params *p, int factor, struct noise *noise,
                 struct latent *out)
{
    bool resized = p->seed_resize_width >= factor && p->seed_resize_height >= factor;
    int width = resized ? p->seed_resize_width / factor : out->width;
    int height = resized ? p->seed_resize_height / factor : out->height;
    resized = width != out->width || height != out->height;
    size_t n = latent_size(out), mark = arena_mark(a);
    size_t m = (size_t)width * (size_t)height * (size_t)out->channels;
    float *draw = arena_alloc(a, 2 * m, sizeof *draw);
    float *whole = resized ? arena_alloc(a, n, sizeof *whole) : draw;
    if (!arena_planning(a)) {
        noise_init(noise, p->rng, p->seed);
        noise_draw(noise, draw, m);
        if (p->subseed_strength > 0) {
            struct noise other;
            noise_init(&other, p->rng, p->subseed);
            noise_draw(&other, draw + m, m);
            noise_slerp(draw, draw, draw + m, p->subseed_strength, out->channels, height, width);
        }
        if (resized) {
            noise_init(noise, p->rng, p->seed);
            noise_draw(noise, whole, n);
            put_middle(whole, out->width, out->height, draw, width, height, out->channels);
        }
        if (p->noise_seed_delta)
            noise_init(noise, p->rng, p->seed + (uint64_t)p->noise_seed_delta);
        noise_channels_last(out->at, whole, out->channels,
                            (size_t)out->width * (size_t)out->height);
    }
    arena_reset(a, mark);
}

void latent_cut(struct arena *a, const struct latent *whole, struct latent *out)
{
    size_t channels = (size_t)out->channels, row = (size_t)out->width * channels;
    size_t x = (size_t)(whole->width - out->width) / 2;
    size_t y = (size_t)(whole->height - out->height) / 2;
    for (size_t i = 0; i < (size_t)out->height && !arena_planning(a); i++)
        memcpy(out->at + i * row, whole->at + ((y + i) * (size_t)whole->width + x) * channels,
               row * sizeof *out->at);
}

/* The median of a channel on an edge, NARROW to either side of `at`: `n` values `step` apart. */
static float median(const float *edge, int n, size_t step, int at)
{
    float sorted[2 * NARROW + 1];
    int first = at > NARROW ? at - NARROW : 0, count = 0;
    for (int i = first; i < n && i <= at + NARROW; i++) {
        float v = edge[(size_t)i * step];
        int k = count++;
        for (; k > 0 && sorted[k - 1] > v; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = v;
    }
    return sorted[(count - 1) / 2];
}

struct latent_wide latent_wide_new(struct arena *a, int width, int height, int channels)
{
    struct latent_wide l = {latent_new(a, width, height, channels), NULL};
    l.mask = arena_alloc(a, (size_t)width * (size_t)height, sizeof *l.mask);
    return l;
}

void latent_widen(const float *square, struct latent_wide *out)
{
    int width = out->all.width, height = out->all.height;
    bool high = height > width;
    int side = high ? width : height, length = high ? height : width;
    size_t channels = (size_t)out->all.channels, row = (size_t)side * channels;
    size_t along = high ? channels : row, across = high ? row : channels; /* an edge */
    size_t to_along = high ? channels : (size_t)width * channels;
    size_t to_across = high ? (size_t)width * channels : channels;
    for (int i = 0; i < length * side; i++) {
        int k = i / side - (length - side) / 2, at = i % side;
        int inside = k < side - 1 - k ? k : side - 1 - k;
        const float *edge = square + (k < 0 ? 0 : (size_t)(side - 1) * across);
        size_t to = (size_t)(i / side) * to_across + (size_t)at * to_along;
        for (size_t c = 0; c < channels; c++)
            out->all.at[to + c] = inside < 0 ? median(edge + c, side, along, at)
                                             : square[(size_t)k * across + (size_t)at * along + c];
        float within = (float)(inside + 1) / (BORDER + 1);
        out->mask[to / channels] = inside < 0 ? 1 : within < 1 ? 1 - within : 0;
    }
}

void latent_fill(float *init, const float *mask, const float *noise, enum pictor_fill fill,
                 size_t pixels, size_t channels)
{
    if (fill != PICTOR_FILL_NOISE && fill != PICTOR_FILL_NOTHING)
        return;
    for (size_t i = 0; i < pixels * channels; i++) {
        float m = mask[i / channels];
        init[i] = init[i] * (1 - m) + (fill == PICTOR_FILL_NOISE ? m * noise[i] : 0);
    }
}
