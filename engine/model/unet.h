/* unet.h: the denoising network of Stable Diffusion (Rombach et al. 2022; the UNet of Dhariwal &
 * Nichol 2021 with spatial transformers). Any width: sizes come from the checkpoint. */
#ifndef PICTOR_ENGINE_MODEL_UNET_H
#define PICTOR_ENGINE_MODEL_UNET_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define UNET_LEVELS 8 /* most resolutions */

struct unet_config {
    int in_channels, out_channels;
    int model_channels, time_dim;
    int levels, channels[UNET_LEVELS]; /* from the full resolution down; multiples of 32 */
    int res_blocks;                    /* a level going down; one more going up */
    int depth[UNET_LEVELS];            /* layers of each spatial transformer of a level; 0: none */
    int mid_depth;                     /* of the one in the middle; 1 or more */
    int context_dim;                   /* width of the prompt's states */
    int label_dim; /* width of what a picture as a whole is described by; 0: it is not */
    /* Attention has `heads` heads of whatever width, or else as many as are `head_channels` wide;
     * the other is 0. The family says it, no file does. */
    int heads, head_channels;
};

/* Sizes from names and shapes ("model.diffusion_model."); all but the heads. */
bool unet_read(const struct checkpoint *cp, struct unet_config *out, struct err *err);

struct unet;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. Returns owned.
 */
struct unet *unet_load(struct device *dev, const struct checkpoint *cp,
                       const struct unet_config *config, struct weights *weights, struct err *err);
void unet_free(struct unet *u);

/* What the network knows of a prompt: keys and values of every cross-attention and the embedding of
 * its label, computed once a job. The tensors live in the arena. */
struct unet_prompt;
/* `context` is [b, tokens, context_dim], `label` [b, label_dim]; planning touches neither. NULL:
 * out of memory. */
struct unet_prompt *unet_prompt_new(struct ops *o, const struct unet *u, int b, int tokens,
                                    const float *context, const float *label);
/* The first b of the prompt's pictures; borrows its tensors. */
struct unet_prompt *unet_prompt_first(const struct unet_prompt *p, int b);
void unet_prompt_free(struct unet_prompt *p);

/* Speed for exactness; zeros: none. */
struct unet_shortcuts {
    /* Share of its keys that self-attention at full resolution leaves out, 0..0.9: they are taken
     * from a smaller picture (Smith et al. 2024, "ToDo: Token downsampling"). */
    double token_merging;
    /* What comes up from below the last block changes little from step to step (Ma et al. 2023,
     * "DeepCache"). A call leaves it in `deep`, which is from unet_deep; with `reuse` it is taken
     * from there, and only the first convolution and the last block run. NULL: every call runs
     * the whole network and nothing is kept. */
    struct tensor *deep;
    bool reuse;
};

/* What others (ControlNets) add to what each input block leaves for the way up, counted from the
 * first convolution, and to the middle's, which is the last. */
#define UNET_RESIDUALS 65
struct unet_residuals {
    int count;
    struct tensor at[UNET_RESIDUALS];
};

/* A UNet's way down and its middle alone, as ControlNets have them: sizes, weights, and what they
 * leave, which lives in the arena. `hint` [1, h, w, model_channels] is added to what the first
 * convolution makes. The prompt is of this network. */
bool unet_read_down(const struct checkpoint *cp, struct unet_config *out, struct err *err);
struct unet *unet_load_down(struct device *dev, const struct checkpoint *cp,
                            const struct unet_config *config, struct weights *weights,
                            struct err *err);
void unet_forward_down(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                       const float *x, int h, int w, float t, const struct tensor *hint,
                       struct unet_residuals *out);
/* Room for them for h x w latent pixels, in the arena; nothing is in it. */
void unet_residuals_room(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                         int h, int w, struct unet_residuals *out);
/* How many residuals there are, and of how many channels each is. */
int unet_residuals_of(const struct unet_config *config, int channels[UNET_RESIDUALS]);

/* Room for what `deep` keeps of b pictures; lives in the arena. */
struct tensor unet_deep(struct ops *o, const struct unet *u, int b, int h, int w);

/* y = what the network says of x at timestep t (0..999, fractions allowed): the noise in x, or v,
 * whichever it was trained to say. x: [b, h, w, in_channels] floats, y: [b, h, w, out_channels],
 * with the prompt's b; y may be x. Planning touches neither x nor y. `shortcuts` and `added` may be
 * NULL. */
void unet_forward(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                  const float *x, int h, int w, float t, const struct unet_shortcuts *shortcuts,
                  const struct unet_residuals *added, float *y);

#endif
