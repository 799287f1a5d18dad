#include "engine/pipeline/latent.h"

#include <math.h>
#include <string.h>

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
