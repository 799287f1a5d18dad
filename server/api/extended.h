/* extended.h: outpainting for the dialects. What comes with a request becomes a larger picture and
 * a mask for what is new, so that it is a job like any that paints over a part of a picture. */
#ifndef PICTOR_SERVER_EXTENDED_H
#define PICTOR_SERVER_EXTENDED_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/image_extend.h"

struct app;
struct job_params;

#define EXTENDED_STRENGTH 0.8 /* where a request says none: what is new is to be seen as a sketch */

/* Files, owned. */
struct extended {
    uint8_t *init, *mask;
    size_t init_size, mask_size;
};

/* `data` is a picture's file; its sides become multiples of `multiple`. The job gets their size, a
 * picture and a mask; of its fields `mask_blur` is looked at, which what is painted overlaps the
 * picture by twice; NAN: a usual one. */
bool extended_make(const struct app *app, const void *data, size_t size, struct image_margins m,
                   int multiple, struct job_params *p, struct extended *out, struct err *err);

#endif
