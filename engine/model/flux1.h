/* flux1.h: the transformer of FLUX.1 (Black Forest Labs 2024): velocity of a latent of which 2x2
 * pixels are a token, beside those of words.
 *
 * As in FLUX.2 (flux2.h) words and picture have weights of their own in the first blocks and share
 * those of the others; what time, guidance and the prompt as a whole say is another product in
 * every block. Positions have three numbers, of which a picture has row and column, and a word
 * nothing.
 *
 * No sizes are fixed: they come from names and shapes. */
#ifndef PICTOR_ENGINE_MODEL_FLUX1_H
#define PICTOR_ENGINE_MODEL_FLUX1_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/joint.h"
#include "engine/model/weights.h"

struct flux1_config {
    struct joint_sizes blocks;
    int takes, channels; /* of a latent: what it takes, with what it may be shown, and says */
    int pooled;          /* channels of what the prompt is as a whole */
};

/* Sizes from the names and shapes of "model.diffusion_model.": Black Forest Labs' names, or what
 * names.h makes of diffusers'. */
bool flux1_read(const struct checkpoint *cp, struct flux1_config *out, struct err *err);

struct flux1;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. Returns owned.
 */
struct flux1 *flux1_load(struct device *dev, const struct checkpoint *cp,
                         const struct flux1_config *config, struct weights *weights,
                         struct err *err);
void flux1_free(struct flux1 *m);

/* out [tokens, width] = what the transformer makes of words [tokens, text] before all else, of the
 * sizes of config.blocks. */
void flux1_words(struct ops *o, const struct flux1 *m, const float *text, int tokens, float *out);

#define FLUX1_REFERENCES 1 /* pictures that one may be shown (Kontext) */

/* A picture that is shown: latent [height, width, channels], of even sides. */
struct flux1_reference {
    const float *latent;
    int height, width;
};

/* What is the same in every step of a picture. */
struct flux1_scene {
    const float *words; /* [tokens, config.blocks.width]: of flux1_words */
    int tokens;
    const float *pooled; /* [config.pooled] */
    int height, width;   /* of the latent, both even */
    float guidance;      /* of a network that is told it */
    /* [height, width, takes - channels]: what it takes beside the latent (Fill); NULL: zeros */
    const float *beside;
    struct flux1_reference references[FLUX1_REFERENCES];
    int reference_count;
};

/* That made ready: in the arena, as long as it lies there. Pointers to numbers are not touched
 * while planning. */
struct flux1_call {
    int tokens, height, width, shown; /* shown: tokens of pictures */
    const float *beside;
    /* As the blocks take them: words; guidance and the whole prompt; pictures that are shown. */
    struct tensor text, said, references;
    float *cos, *sin; /* [tokens, the latent's and `shown`, head / 2] */
};
void flux1_begin(struct ops *o, const struct flux1 *m, const struct flux1_scene *scene,
                 struct flux1_call *out);

/* y [height, width, channels] = the velocity (noise - picture) of x at time t, 0..1000, where 1000
 * is all noise. */
void flux1_forward(struct ops *o, const struct flux1 *m, const struct flux1_call *call,
                   const float *x, double t, float *y);

#endif
