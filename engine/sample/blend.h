/* blend.h: inpainting as a denoiser around a denoiser.
 *
 * Wherever the mask is 0 the latent is told to be the initial one. Samplers in sigma blend what the
 * model predicted; timestep samplers (sampler->timesteps) blend what the model is shown, with the
 * un-noised initial latent: two conventions of the SD WebUI, both kept because they paint
 * differently. Borrows everything. */
#ifndef PICTOR_ENGINE_SAMPLE_BLEND_H
#define PICTOR_ENGINE_SAMPLE_BLEND_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/sample/sampler.h"

struct blend {
    struct denoiser inner;
    const float *init; /* [pixels, channels] the initial latent */
    const float *mask; /* [pixels] 1: repaint, 0: keep */
    size_t pixels;
    int channels;
    bool before;    /* = sampler->timesteps */
    float *scratch; /* [pixels, channels]; only for `before` */
};

/* The wrapped denoiser; valid as long as `b`. */
struct denoiser blend_denoiser(struct blend *b);

/* x = mask * x + (1 - mask) * init: what is done once more with the finished latent. */
void blend_apply(const struct blend *b, float *x);

#endif
