/* vae.h: the autoencoder of Stable Diffusion (Rombach et al. 2022): pictures to latents of 1/8 the
 * side and back. Any width: sizes come from the checkpoint. */
#ifndef PICTOR_ENGINE_MODEL_VAE_H
#define PICTOR_ENGINE_MODEL_VAE_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"

#define VAE_FACTOR 8
#define VAE_SCALE 0.18215f /* latents of SD 1.x have about unit variance after it */

struct vae;

/* Packs the weights for the device; *bytes is increased by their size. Returns owned. */
struct vae *vae_load(struct device *dev, const struct checkpoint *cp, const struct sd1_arch *arch,
                     size_t *bytes, struct err *err);
void vae_free(struct vae *v);

/* picture [3, 8h, 8w], -1..1 (not clamped), from a scaled latent [4, h, w]. Above a memory
 * threshold it works in overlapping tiles whose borders are blended. Neither pointer is touched
 * while planning. */
void vae_decode(struct ops *o, const struct vae *v, const float *latent, int h, int w,
                float *picture);

/* Scaled latent [4, h, w]: the mean of the posterior, from a picture [3, 8h, 8w] in -1..1. */
void vae_encode(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                float *latent);

#endif
