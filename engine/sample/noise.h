/* noise.h: normal noise from a seed, the same numbers that torch gives.
 *
 * Two generators: NV is Philox4x32-10 as CUDA's torch.randn uses it (what a seed means to most
 * people), CPU is torch's Mersenne twister with its blockwise Box-Muller. One `struct noise`
 * belongs to one picture: the first draw is the initial noise, every later one feeds a step of an
 * ancestral sampler, so a picture does not depend on what else is painted beside it.
 *
 * A draw is in the order of a [channels, height, width] tensor. Latents are channels-last here:
 * noise_channels_last turns a draw round. Not thread-safe; a plain value, copy it freely. */
#ifndef PICTOR_ENGINE_SAMPLE_NOISE_H
#define PICTOR_ENGINE_SAMPLE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/pictor.h"

struct noise {
    enum pictor_rng kind;
    uint64_t seed;       /* NV: all 64 bits are the key; CPU: the low 32 seed the twister */
    uint32_t draws;      /* NV: draws made so far */
    uint32_t state[624]; /* CPU: the twister */
    int used;            /* CPU: words of `state` used up */
    bool has_spare;      /* CPU: draws of fewer than 16 make normals in pairs */
    double spare;
};

void noise_init(struct noise *noise, enum pictor_rng kind, uint64_t seed);

/* The next draw of `n` floats. */
void noise_draw(struct noise *noise, float *out, size_t n);

/* out[pixel, channel] = in[channel, pixel]; `out` and `in` must not overlap. */
void noise_channels_last(float *out, const float *in, int channels, size_t pixels);

/* Variation seeds: goes `strength` of the way from `a` (of the seed) to `b` (of the subseed) along
 * a great circle. All are [channels, height, width]; the circle is taken along the height, for each
 * channel and column by itself, which is how the SD WebUI has always done it. `out` may be `a` or
 * `b`. */
void noise_slerp(float *out, const float *a, const float *b, double strength, int channels,
                 int height, int width);

#endif
