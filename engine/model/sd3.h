/* sd3.h: the transformer of Stable Diffusion 3 and 3.5 (MMDiT: Esser et al. 2024): velocity of a
 * latent of which 2x2 pixels are a token, beside those of words.
 *
 * Words and picture have weights of their own in every block, and attend to both; in some blocks
 * of 3.5 medium the picture attends to itself besides. Positions are a table, of which a picture
 * has the middle. What time and the prompt as a whole say is another product in every block.
 *
 * No sizes are fixed: they come from names and shapes. */
#ifndef PICTOR_ENGINE_MODEL_SD3_H
#define PICTOR_ENGINE_MODEL_SD3_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

struct sd3_config {
    int channels; /* of a latent */
    int width, heads, head;
    int inside;       /* of a feed-forward: 4 width */
    int text, pooled; /* channels of a word, and of what the prompt is as a whole */
    int blocks;
    int side;         /* tokens that the table of positions has a side */
    bool normed;      /* heads of queries and keys are brought to one length: 3.5 */
    bool scale_first; /* the last modulations say the scale before the shift */
};

/* Sizes from the names and shapes of "model.diffusion_model.": Stability's names, or what names.h
 * makes of diffusers'. */
bool sd3_read(const struct checkpoint *cp, struct sd3_config *out, struct err *err);

struct sd3;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. The table of
 * positions stays in the checkpoint, which must outlive it. Returns owned. */
struct sd3 *sd3_load(struct device *dev, const struct checkpoint *cp,
                     const struct sd3_config *config, struct weights *weights, struct err *err);
void sd3_free(struct sd3 *m);

/* out [tokens, config.width] = what the transformer makes of words [tokens, config.text] before all
 * else. */
void sd3_words(struct ops *o, const struct sd3 *m, const float *text, int tokens, float *out);

/* What is the same in every step of a picture. */
struct sd3_scene {
    const float *words; /* [tokens, config.width]: of sd3_words */
    int tokens;
    const float *pooled; /* [config.pooled] */
    int height, width;   /* of the latent, both even, and half of them within config.side */
};

/* That made ready: in the arena, as long as it lies there. Pointers to numbers are not touched
 * while planning. */
struct sd3_call {
    int tokens, height, width;
    struct tensor text, said, places; /* as the blocks take them: words; the whole prompt; where
                                         each token of the picture is */
};
void sd3_begin(struct ops *o, const struct sd3 *m, const struct sd3_scene *scene,
               struct sd3_call *out);

/* y [height, width, channels] = the velocity (noise - picture) of x at time t, 0..1000, where 1000
 * is all noise. */
void sd3_forward(struct ops *o, const struct sd3 *m, const struct sd3_call *call, const float *x,
                 double t, float *y);

#endif
