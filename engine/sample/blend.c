#include "engine/sample/blend.h"

#include <math.h>

/* out = mask x + (1 - mask) scale init; out may be x. */
static void mix(const struct blend *b, float *out, const float *x, float scale)
{
    size_t channels = (size_t)b->channels;
    for (size_t p = 0, i = 0; p < b->pixels; p++)
        for (size_t k = 0; k < channels; k++, i++)
            out[i] = b->mask[p] * x[i] + (1 - b->mask[p]) * scale * b->init[i];
}

static bool denoise(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err)
{
    struct blend *b = ctx;
    if (!b->before) {
        if (!b->inner.denoise(b->inner.ctx, x, sigma, x0, uncond, err))
            return false;
        mix(b, x0, x0, 1);
        return true;
    }
    /* The initial latent goes in without noise and, in DDIM's units, without the sqrt(a) that x
     * has been divided by. What happens to the sampler's own x outside the mask is of no
     * consequence: it is not shown to the model, and blend_apply overwrites it. */
    mix(b, b->scratch, x, (float)sqrt(1 + sigma * sigma));
    return b->inner.denoise(b->inner.ctx, b->scratch, sigma, x0, uncond, err);
}

struct denoiser blend_denoiser(struct blend *b)
{
    return (struct denoiser){denoise, b};
}

void blend_apply(const struct blend *b, float *x)
{
    mix(b, x, x, 1);
}
