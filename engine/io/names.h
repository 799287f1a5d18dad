/* names.h: tensor names of the diffusers layout in terms of the single-file ("LDM") layout.
 *
 * Both name the same weights. LDM numbers a UNet's blocks through all levels, so a translation
 * needs to know how many blocks a level has: names_scan learns that from the names themselves. */
#ifndef PICTOR_ENGINE_IO_NAMES_H
#define PICTOR_ENGINE_IO_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum names_part { NAMES_UNET, NAMES_VAE, NAMES_TEXT };

/* What names alone do not say; starts as {0}. */
struct names_layout {
    int unet_blocks; /* resnets a level on the way down */
    int vae_levels;
    unsigned up_attention; /* bit i: up_blocks.i of the UNet has attention */
};

/* Learns from one name; to be called with every name of a part before the first translation. */
void names_scan(struct names_layout *layout, enum names_part part, const char *name);

/* The LDM name of a tensor in a diffusers folder, "model.diffusion_model.input_blocks.1.0..." for
 * "down_blocks.0.resnets.0...". False for a name that has no place there. Both kinds of VAE
 * attention names (query, to_q) and text encoder names with or without "text_model." are known. */
bool names_from_diffusers(const struct names_layout *layout, enum names_part part, const char *name,
                          char *out, size_t size);

/* The usual name for one from a single file: the first SD 1.x files lack "text_model.". Other names
 * stay what they are. False when `out` is too small. */
bool names_from_ldm(const char *name, char *out, size_t size);

#endif
