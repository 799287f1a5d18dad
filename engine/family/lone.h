/* lone.h: a UNet of the Stable Diffusion families, or a flow transformer, in a file of its own,
 * without a text encoder and a VAE: as ComfyUI's folder `unet` has them, many of them GGUF. No
 * state. */
#ifndef PICTOR_ENGINE_FAMILY_LONE_H
#define PICTOR_ENGINE_FAMILY_LONE_H

#include "engine/family/family.h"

/* Whether a file, opened as if it were a whole model, is that; in any layout. */
bool lone_is(const struct checkpoint *cp);

/* Of the file opened as a "unet" (pictor_files_add): its family, and what is known of the model
 * that it becomes with its parts. NULL with an error. */
const struct family *lone_read(const struct checkpoint *cp, struct family_facts *facts,
                               struct err *err);

#endif
