/* preview.h: what a latent looks like, for the price of a small matrix a pixel. */
#ifndef PICTOR_ENGINE_PIPELINE_PREVIEW_H
#define PICTOR_ENGINE_PIPELINE_PREVIEW_H

#include "engine/family/family.h"

struct preview {
    bool known;
    float matrix[FAMILY_CHANNELS + 1][3]; /* latent channels and a constant to RGB in 0..1 */
};

/* Takes the model's matrix, or fits one if there is none yet: least squares between a picture of
 * coloured patches and its encoding. Planning counts what that takes. */
void preview_fit(struct preview *p, const struct family_model *m, struct ops *o);

#define PREVIEW_SIDE 512 /* most pixels a side of one that is decoded */

/* The same by the family's `preview`, at the picture's size, or a whole part of it that is small
 * enough. Planning counts what that takes. `out->pixels` must hold 3 * PREVIEW_SIDE^2 bytes. */
void preview_decode(const struct family_model *m, struct ops *o, const float *latent, int w, int h,
                    struct pictor_image *out);

/* RGB of latent size from a latent [pixels, channels]; `out->pixels` must hold 3 * w * h bytes. */
void preview_paint(const struct preview *p, int channels, const float *latent, int w, int h,
                   struct pictor_image *out);

#endif
