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

/* A square latent in the middle of a longer one, whose ends are to be painted. In an arena. */
struct latent_wide {
    struct latent all;
    float *mask; /* [height, width]: 1 beyond the square, falling to 0 a little way into it */
};

struct latent_wide latent_wide_new(struct arena *a, int width, int height, int channels);

/* Around `square` [side, side, channels], where side is the shorter of all's sides, its two edges
 * are drawn out, without what is narrow on them: a thing that touches an edge is not drawn out. */
void latent_widen(const float *square, struct latent_wide *out);

/* What is painted over: `init` [pixels, channels], or what `fill` puts in its place where `mask`
 * [pixels] is 1; `noise` is the first draw. */
void latent_fill(float *init, const float *mask, const float *noise, enum pictor_fill fill,
                 size_t pixels, size_t channels);

#endif
