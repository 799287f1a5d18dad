/* flux2.h: the transformer of FLUX.2 (Black Forest Labs 2025): velocity of a latent whose pixels
 * are tokens, beside those of words and of pictures that it is shown.
 *
 * Words and pictures have weights of their own in the first blocks, which attend to both, and share
 * those of the others. What the time says (adaLN: shifts, scales, gates) is computed once a call
 * and is the same for every block. Positions have four numbers: which picture, row, column, and of
 * a word its place; each turns a quarter of a head's channels.
 *
 * No sizes are fixed: they come from names and shapes. */
#ifndef PICTOR_ENGINE_MODEL_FLUX2_H
#define PICTOR_ENGINE_MODEL_FLUX2_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/joint.h"
#include "engine/model/weights.h"

struct flux2_config {
    struct joint_sizes blocks;
    int channels; /* of a latent */
};

/* Sizes from the names and shapes of "model.diffusion_model.": Black Forest Labs' names, or what
 * names.h makes of diffusers'. */
bool flux2_read(const struct checkpoint *cp, struct flux2_config *out, struct err *err);

struct flux2;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. `cp` NULL: of
 * zeros, for a hollow device. Returns owned. */
struct flux2 *flux2_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux2_config *config, struct weights *weights,
                         struct err *err);
void flux2_free(struct flux2 *m);

/* out [tokens, width] = what the transformer makes of words [tokens, text] before all else, of the
 * sizes of config.blocks. */
void flux2_words(struct ops *o, const struct flux2 *m, const float *text, int tokens, float *out);

#define FLUX2_REFERENCES 10 /* pictures that one may be shown */

/* A picture that is shown: latent [height, width, channels]. */
struct flux2_reference {
    const float *latent;
    int height, width;
};

/* What is the same in every step of a picture. */
struct flux2_scene {
    const float *words; /* [tokens, config.blocks.width]: of flux2_words */
    int tokens;
    int height, width; /* of the latent */
    float guidance;    /* of a network that is told it */
    struct flux2_reference references[FLUX2_REFERENCES];
    int reference_count;
};

/* That made ready: in the arena, as long as it lies there. Pointers to numbers are not touched
 * while planning. */
struct flux2_call {
    int tokens, own, shown; /* tokens of the words, the latent, and the pictures shown */
    float guidance;
    struct tensor text, references; /* as the blocks take them */
    float *cos, *sin;               /* [tokens + own + shown, head / 2] */
};
void flux2_begin(struct ops *o, const struct flux2 *m, const struct flux2_scene *scene,
                 struct flux2_call *out);

/* y [height width, channels] = the velocity (noise - picture) of x at time t, 0..1000, where 1000
 * is all noise. */
void flux2_forward(struct ops *o, const struct flux2 *m, const struct flux2_call *call,
                   const float *x, double t, float *y);

#endif
