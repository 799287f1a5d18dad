/* latent.h: a latent between the stages, and what happens to it there. */
#ifndef PICTOR_ENGINE_PIPELINE_LATENT_H
#define PICTOR_ENGINE_PIPELINE_LATENT_H

#include "engine/base/arena.h"
#include "engine/pictor.h"
#include "engine/sample/noise.h"

/* Lives in an arena. */
struct latent {
    int width, height, channels;
    float *at; /* [height, width, channels] */
};

struct latent latent_new(struct arena *a, int width, int height, int channels);
size_t latent_size(const struct latent *l); /* floats */

/* The seed's first draw, mixed with the subseed's, as the params want it; `noise` is left after a
 * draw of the latent's size, or begins anew with noise_seed_delta. `factor`: pixels a side of a
 * latent pixel. Planning counts. */
void latent_draw(struct arena *a, const struct pictor_params *p, int factor, struct noise *noise,
                 struct latent *out);

/* `out` is the middle of `whole`, which is not smaller. Planning counts. */
void latent_cut(struct arena *a, const struct latent *whole, struct latent *out);

/* What is painted over: `init` [pixels, channels], or what `fill` puts in its place where `mask`
 * [pixels] is 1; `noise` is the first draw. */
void latent_fill(float *init, const float *mask, const float *noise, enum pictor_fill fill,
                 size_t pixels, size_t channels);

#endif
