/* patches.h: latents [height, width, c] cut into tokens of 2x2 pixels, row by row, and put together
 * again. No state. */
#ifndef PICTOR_ENGINE_MODEL_PATCHES_H
#define PICTOR_ENGINE_MODEL_PATCHES_H

/* Where channel c of pixel (y, x) of a token stands. */
enum patches_order {
    PATCHES_CHANNELS_FIRST, /* 4 c + 2 y + x: FLUX.1 */
    PATCHES_CHANNELS_LAST   /* (2 y + x) channels + c */
};

/* out [height / 2 * width / 2, 4 channels]; sides are even. */
void patches_cut(const float *latent, int height, int width, int channels, enum patches_order order,
                 float *out);
void patches_join(const float *tokens, int height, int width, int channels,
                  enum patches_order order, float *out);

#endif
