/* unet.h: the denoising network of Stable Diffusion 1.x (Rombach et al. 2022; the UNet of Dhariwal
 * & Nichol 2021 with spatial transformers). Any width: sizes come from the checkpoint. */
#ifndef PICTOR_ENGINE_MODEL_UNET_H
#define PICTOR_ENGINE_MODEL_UNET_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"

struct unet;

/* Packs the weights for the device; *bytes is increased by their size. Returns owned. */
struct unet *unet_load(struct device *dev, const struct checkpoint *cp, const struct sd1_arch *arch,
                       size_t *bytes, struct err *err);
void unet_free(struct unet *u);

/* What the network knows of a prompt: keys and values of every cross-attention, computed once a
 * job. The tensors live in the arena. */
struct unet_prompt;
/* `context` is [b, tokens, context_dim], not touched while planning. NULL: out of memory. */
struct unet_prompt *unet_prompt_new(struct ops *o, const struct unet *u, int b, int tokens,
                                    const float *context);
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
     * from there, and only the first convolution and the last block run. NULL: neither. */
    struct tensor *deep;
    bool reuse;
};

/* Room for it, for b pictures; lives in the arena. */
struct tensor unet_deep(struct ops *o, const struct unet *u, int b, int h, int w);

/* eps = the noise in x at timestep t (0..999, fractions allowed). x and eps: [b, 4, h, w] with the
 * prompt's b; they may be the same memory. `x` and `eps` are not touched while planning.
 * `shortcuts` may be NULL. */
void unet_forward(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                  const float *x, int h, int w, float t, const struct unet_shortcuts *shortcuts,
                  float *eps);

#endif
