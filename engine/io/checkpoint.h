/* checkpoint.h: the weights of a Stable Diffusion model behind one face, however they are stored.
 *
 * Names are those of the single-file ("LDM") layout:
 *     model.diffusion_model.input_blocks.0.0.weight
 *     first_stage_model.decoder.conv_in.weight
 *     cond_stage_model.transformer.text_model.final_layer_norm.weight
 * A diffusers folder (unet/ vae/ text_encoder/) is translated to them when it is opened.
 * Read-only after opening: any number of threads may look tensors up. */
#ifndef PICTOR_ENGINE_IO_CHECKPOINT_H
#define PICTOR_ENGINE_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/io/raw_tensor.h"

struct checkpoint;

/* A .safetensors file or a diffusers folder. Returns owned. */
struct checkpoint *checkpoint_open(const char *path, struct err *err);

/* A single-file checkpoint in memory. Borrows `data` until checkpoint_free. */
struct checkpoint *checkpoint_open_memory(const void *data, size_t size, struct err *err);

void checkpoint_free(struct checkpoint *cp);

/* NULL when there is none. Valid until checkpoint_free. */
const struct raw_tensor *checkpoint_find(const struct checkpoint *cp, const char *ldm_name);

/* The tensor, if it has `ndim` dimensions of the sizes in `shape` (0: any) and a dtype that
 * dtype_to_f32 converts. A linear layer [n, k] and a 1x1 convolution [n, k, 1, 1] stand for each
 * other; `out` has the ndim that was asked for. The error names the tensor, what was wanted and
 * what was found. `out` borrows from the checkpoint. */
bool checkpoint_get(const struct checkpoint *cp, const char *ldm_name, int ndim,
                    const size_t *shape, struct raw_tensor *out, struct err *err);

/* The tensor's bytes were read and are not needed for now: they need no longer take up memory. */
void checkpoint_release(const struct checkpoint *cp, const struct raw_tensor *t);

/* A string of the file's metadata (of the UNet's file in a folder), "modelspec.title" for example;
 * NULL when there is none. */
const char *checkpoint_metadata(const struct checkpoint *cp, const char *key);

#define CHECKPOINT_LEVELS 8 /* most resolutions of a UNet or VAE */

/* The sizes of a Stable Diffusion 1.x model of any width. Channels are multiples of 32. */
struct sd1_arch {
    struct {
        int width, layers, heads, ff, vocab, positions; /* heads = width / 64, at least 1 */
    } text;
    struct {
        int in_channels, out_channels; /* both 4 */
        int model_channels, time_dim;
        int levels, channels[CHECKPOINT_LEVELS]; /* from the full resolution down */
        int res_blocks;                          /* a level going down; one more going up */
        bool attention[CHECKPOINT_LEVELS];       /* levels with spatial transformers */
        int context_dim, heads;                  /* context_dim = text.width, heads = 8 */
    } unet;
    struct {
        int z_channels, levels; /* 4, and 4: a latent pixel is 8x8 pixels */
        int encoder_channels[CHECKPOINT_LEVELS], decoder_channels[CHECKPOINT_LEVELS];
        /* both from the full resolution down, as in "down.0" and "up.0" */
        int encoder_blocks, decoder_blocks; /* resnets a level: 2 and 3 */
    } vae;
};

/* Recognises the architecture from names and shapes. What is not SD 1.x is refused with a message
 * that says what it is. Says nothing about tensors that checkpoint_get has still to fetch. */
bool checkpoint_sd1(const struct checkpoint *cp, struct sd1_arch *out, struct err *err);

#endif
