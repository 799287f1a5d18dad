/* beside.h: what a network is shown of what it paints over, beside the latent that it denoises. */
#ifndef PICTOR_ENGINE_PIPELINE_BESIDE_H
#define PICTOR_ENGINE_PIPELINE_BESIDE_H

#include "engine/pipeline/canvas.h"
#include "engine/pipeline/latent.h"
#include "engine/family/family.h"

/* [height, width, facts.beside] of the latent, in the arena; NULL where the model takes nothing.
 * `canvas` is what the job begins from, if it begins from a picture, and may be empty while
 * planning. Without one, and with a mask_weight of
 * less than 1, what is painted over is the latent itself, if `from_latent`: it is decoded. */
const float *beside_new(const struct family_model *m, struct ops *o, const struct pictor_params *p,
                        const struct canvas *canvas, const struct latent *latent, bool from_latent);

#endif
