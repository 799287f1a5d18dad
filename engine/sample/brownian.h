/* brownian.h: the noise of the SDE samplers: increments of a Brownian motion over sigma.
 *
 * Steps of such a sampler overlap, so their noise must come from one path: what was added between
 * two levels once is what lies between them for ever, however the steps are cut. The path is that
 * of torchsde's BrownianTree, so that seeds mean what they mean in the SD WebUI. A plain value. */
#ifndef PICTOR_ENGINE_SAMPLE_BROWNIAN_H
#define PICTOR_ENGINE_SAMPLE_BROWNIAN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/pictor.h"

struct brownian {
    enum pictor_rng kind;
    uint64_t seed;
    double low, high; /* the sigmas between which the path runs; a query is cut to them */
};

/* Normal noise of unit variance for the step from sigma `from` down to `to`: out [n], in the order
 * of a [channels, height, width] tensor. `scratch`: 2 n floats. */
void brownian_noise(const struct brownian *b, double from, double to, float *out, float *scratch,
                    size_t n);

#endif
