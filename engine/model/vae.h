/* vae.h: the autoencoder of Stable Diffusion (Rombach et al. 2022): pictures to latents of 1/8 the
 * side and back, and those that FLUX.1 and FLUX.2 made of it: the one has 16 channels, the other
 * 32, of which 2x2 pixels are one of 128 that has its own mean and variance. Any width: sizes come
 * from the checkpoint. Pictures and latents are floats, channels-last. */
#ifndef PICTOR_ENGINE_MODEL_VAE_H
#define PICTOR_ENGINE_MODEL_VAE_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define VAE_LEVELS 8 /* most resolutions */

struct vae_config {
    int channels; /* between encoder and decoder */
    int levels;   /* a pixel of them is 2^(levels - 1) pixels a side */
    int patch;    /* of them that are one pixel of a latent, a side: 1; of FLUX.2's 2, and then
                     channel 4 c + 2 y + x of a latent is channel c of its pixel (y, x) */
    bool quant, post_quant; /* has a 1x1 convolution behind the encoder, in front of the decoder */
    /* Both from the full resolution down, as in "down.0" and "up.0". */
    int encoder_channels[VAE_LEVELS], decoder_channels[VAE_LEVELS];
    int encoder_blocks, decoder_blocks; /* resnets a level: 2 and 3 */
    /* Latents are (what the encoder says - shift) scale, so that their variance is about 1; the
     * family says it, no file does. Those of patches have a mean and a variance of each channel in
     * the file instead. */
    float scale, shift;
};

/* Sizes from names and shapes ("first_stage_model."); all but `scale` and `shift`. Stable
 * Diffusion's. */
bool vae_read(const struct checkpoint *cp, struct vae_config *out, struct err *err);
/* FLUX.1's (`channels` 16) or FLUX.2's (32, in patches). */
bool vae_read_flux(const struct checkpoint *cp, int channels, struct vae_config *out,
                   struct err *err);

struct vae;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. Returns owned.
 */
struct vae *vae_load(struct device *dev, const struct checkpoint *cp,
                     const struct vae_config *config, struct weights *weights, struct err *err);
void vae_free(struct vae *v);

int vae_factor(const struct vae *v);   /* pixels a side of one latent pixel */
int vae_channels(const struct vae *v); /* of a latent */

/* picture [f h, f w, 3], -1..1 (not clamped), from a scaled latent [h, w, channels]. Above a memory
 * threshold it works in overlapping tiles whose borders are blended. Neither pointer is touched
 * while planning. */
void vae_decode(struct ops *o, const struct vae *v, const float *latent, int h, int w,
                float *picture);

/* Scaled latent [h, w, channels]: the mean of the posterior, from a picture [f h, f w, 3] in -1..1.
 */
void vae_encode(struct ops *o, const struct vae *v, const float *picture, int h, int w,
                float *latent);

#endif
