/* image_extend.h: a picture on a larger canvas, for a model to paint what is new. */
#ifndef PICTOR_ENGINE_IO_IMAGE_EXTEND_H
#define PICTOR_ENGINE_IO_IMAGE_EXTEND_H

#include "engine/base/err.h"
#include "engine/pictor.h"

struct image_margins {
    int left, right, up, down; /* pixels */
};

/* Enlarges them so that both sides of a picture of width x height become multiples of `multiple`:
 * left and up are stretched in proportion, the rest is right and down (as the SD WebUI's
 * outpainting has it). ERR_INVALID: one is negative, or there are none; ERR_TOO_LARGE: beyond
 * `max_side` or `max_pixels`. */
bool image_extend_fit(struct image_margins *m, int width, int height, int multiple, int max_side,
                      size_t max_pixels, struct err *err);

/* How much a mask is to be blurred where nobody says: a sixteenth of the shorter side, at most 16
 * pixels, behind which seams are not seen. */
double image_extend_blur(int width, int height);

/* How far what is painted is to reach into the picture where a mask is blurred so. */
int image_extend_overlap(double mask_blur);

/* `out`, RGB, is `in` with its edges drawn out into the margins, where noise joins them, more with
 * the distance. `mask`, grey, is white there and `overlap` pixels into the picture, at most a
 * quarter of it, so that what is painted can pass into it. One request, one canvas. Both owned. */
bool image_extend(const struct pictor_image *in, const struct image_margins *m, int overlap,
                  struct pictor_image *out, struct pictor_image *mask, struct err *err);

#endif
