/* upscaler.h: the ways from the first pass of a picture to a second one at another size. */
#ifndef PICTOR_ENGINE_PIPELINE_UPSCALER_H
#define PICTOR_ENGINE_PIPELINE_UPSCALER_H

#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/io/image.h"
#include "engine/io/image_resize.h"
#include "engine/pipeline/latent.h"

/* As the SD WebUI names and torch.nn.functional.interpolate does them. */
enum upscaler_filter {
    UPSCALER_NEAREST,
    UPSCALER_NEAREST_EXACT,
    UPSCALER_BILINEAR,
    UPSCALER_BICUBIC
};

struct upscaler {
    const char *name;
    bool latent;                 /* resamples the latent; else the decoded picture */
    enum upscaler_filter filter; /* of the latent */
    bool antialias;
    enum image_filter image; /* of the picture */
    bool network;            /* the one inside the binary */
};

/* Any case; NULL: there is none of this name. */
const struct upscaler *upscaler_find(const char *name);

/* All names for an error, "Latent, Lanczos, ...". */
const char *upscaler_names(char *out, size_t size);

/* `out` from `in` at another size, larger or smaller; half-pixel centres; as many channels.
 * Planning counts. */
void upscaler_latent(const struct upscaler *u, struct arena *a, const struct latent *in,
                     struct latent *out);

#endif
