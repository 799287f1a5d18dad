/* canvas_fill.h: something plausible under a mask, from the colours around it. */
#ifndef PICTOR_ENGINE_PIPELINE_CANVAS_FILL_H
#define PICTOR_ENGINE_PIPELINE_CANVAS_FILL_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

/* `image` RGB, `mask` grey of the same size. Where the mask is 255 the picture becomes blurs of
 * what is outside of it; where it is 0 the picture stays as it is. */
bool canvas_fill(struct pictor_image *image, const struct pictor_image *mask, struct err *err);

#endif
