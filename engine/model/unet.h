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
void unet_prompt_free(struct unet_prompt *p);

/* eps = the noise in x at timestep t (0..999, fractions allowed). x and eps: [b, 4, h, w] with the
 * prompt's b; they may be the same memory. `x` and `eps` are not touched while planning. */
void unet_forward(struct ops *o, const struct unet *u, const struct unet_prompt *prompt,
                  const float *x, int h, int w, float t, float *eps);

#endif
