#include "engine/pipeline/latent.h"

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
        if (p->noise_seed_delta)
            noise_init(noise, p->rng, p->seed + (uint64_t)p->noise_seed_delta);
        noise_channels_last(out->at, draw, out->channels, (size_t)out->width * (size_t)out->height);
    }
    arena_reset(a, mark);
}
