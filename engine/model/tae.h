/* tae.h: the tiny autoencoder that front ends know as TAESD: latents to pictures and back for a
 * tenth of the work of vae.h, a little less exactly. Blocks of three 3x3 convolutions around a
 * residual, at one width everywhere, no norms and no attention. Its latents are those that samplers
 * see. Read off the checkpoint's "tae.encoder." and "tae.decoder.", of which either may be missing.
 */
#ifndef PICTOR_ENGINE_MODEL_TAE_H
#define PICTOR_ENGINE_MODEL_TAE_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define TAE_LAYERS 64 /* most of a half */

/* A network of layers numbered as their weights are. */
struct tae_half {
    int count;              /* of layers; 0: there is none */
    char kinds[TAE_LAYERS]; /* 'c' convolution, 'b' block, 'h' halving, 'u' doubling; '-' nothing:
                               an activation, or the doubling of the convolution that follows */
};

struct tae_config {
    int channels; /* of a latent */
    int width, factor;
    struct tae_half encoder, decoder;
};

/* Whether the checkpoint has one. */
bool tae_is_there(const struct checkpoint *cp);

/* Sizes from names and shapes. */
bool tae_read(const struct checkpoint *cp, struct tae_config *out, struct err *err);

struct tae;

/* As vae_load. */
struct tae *tae_load(struct device *dev, const struct checkpoint *cp,
                     const struct tae_config *config, struct weights *weights, struct err *err);
void tae_free(struct tae *t);

/* As vae_decode and vae_encode; each needs its half. */
void tae_decode(struct ops *o, const struct tae *t, const float *latent, int h, int w,
                float *picture);
void tae_encode(struct ops *o, const struct tae *t, const float *picture, int h, int w,
                float *latent);

#endif
