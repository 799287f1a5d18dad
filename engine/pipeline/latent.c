#include "engine/pipeline/latent.h"

#include <math.h>

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

void latent_draw(struct arena *a, const struct pictor_params *p, struct noise *noise,
                 struct latent *out)
{
    size_t n = latent_size(out), mark = arena_mark(a);
    float *draw = arena_alloc(a, 2 * n, sizeof *draw);
    if (!arena_planning(a)) {
        noise_init(noise, p->rng, p->seed);
        noise_draw(noise, draw, n);
        if (p->subseed_strength > 0) {
            struct noise other;
            noise_init(&other, p->rng, p->subseed);
            noise_draw(&other, draw + n, n);
            noise_slerp(draw, draw, draw + n, p->subseed_strength, out->channels, out->height,
                        out->width);
        }
        noise_channels_last(out->at, draw, out->channels, (size_t)out->width * (size_t)out->height);
    }
    arena_reset(a, mark);
}

/* Where position i of `to` lies on a line of `from`: between *first and *second, at `part`. */
static float place(int i, int to, int from, int *first, int *second)
{
    float at = fmaxf(((float)i + 0.5f) * (float)from / (float)to - 0.5f, 0);
    *first = (int)at;
    *second = *first + 1 < from ? *first + 1 : *first;
    return at - (float)*first;
}

void latent_resize(const struct latent *in, struct latent *out)
{
    size_t channels = (size_t)in->channels, row = (size_t)in->width * channels;
    float *to = out->at;
    for (int y = 0; y < out->height; y++) {
        int y0, y1, x0, x1;
        float dy = place(y, out->height, in->height, &y0, &y1);
        const float *r0 = in->at + (size_t)y0 * row, *r1 = in->at + (size_t)y1 * row;
        for (int x = 0; x < out->width; x++) {
            float dx = place(x, out->width, in->width, &x0, &x1);
            size_t a = (size_t)x0 * channels, b = (size_t)x1 * channels;
            for (size_t c = 0; c < channels; c++) {
                float top = r0[a + c] * (1 - dx) + r0[b + c] * dx;
                float low = r1[a + c] * (1 - dx) + r1[b + c] * dx;
                *to++ = top * (1 - dy) + low * dy;
            }
        }
    }
}
