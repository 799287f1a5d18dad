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

/* The seed's first draw, mixed with the subseed's; `noise` is left after it, or begins anew with
 * noise_seed_delta. Planning counts. */
void latent_draw(struct arena *a, const struct pictor_params *p, struct noise *noise,
                 struct latent *out);

#endif
