/* preview.h: what a latent looks like, for the price of a 4 x 3 matrix a pixel. */
#ifndef PICTOR_ENGINE_PIPELINE_PREVIEW_H
#define PICTOR_ENGINE_PIPELINE_PREVIEW_H

#include "engine/pipeline/model.h"

/* Fits the model's latent-to-RGB matrix if it has none yet: least squares between a picture of
 * coloured patches and its encoding. `o` must be able to encode PREVIEW_SIDE squared pixels. */
#define PREVIEW_SIDE 128
void preview_fit(struct pictor_model *m, struct ops *o);

/* RGB of latent size from a latent [pixels, 4]; `out->pixels` must hold 3 * w * h bytes. */
void preview_paint(const struct pictor_model *m, const float *latent, int w, int h,
                   struct pictor_image *out);

#endif
