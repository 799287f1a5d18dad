/* image_resize.h: pictures at another size. */
#ifndef PICTOR_ENGINE_IO_IMAGE_RESIZE_H
#define PICTOR_ENGINE_IO_IMAGE_RESIZE_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

enum image_filter {
    IMAGE_NEAREST,
    IMAGE_BOX, /* the mean of what is covered */
    IMAGE_BILINEAR,
    IMAGE_BICUBIC, /* a = -0.5 */
    IMAGE_LANCZOS  /* 3 lobes */
};

/* Resamples as Pillow does, bit for bit: the filter widens when shrinking, so that nothing aliases,
 * and values are 8-bit between the two passes. RGBA is weighted by its alpha. Sides 1 to
 * IMAGE_SIDE_MAX. `out` must not be `in`; owned by the caller. */
bool image_resize(const struct pictor_image *in, int width, int height, enum image_filter filter,
                  struct pictor_image *out, struct err *err);

#endif
