/* stable_tiny.h: a tiny autoencoder beside a Stable Diffusion model's own, for previews alone. */
#ifndef PICTOR_ENGINE_FAMILY_STABLE_TINY_H
#define PICTOR_ENGINE_FAMILY_STABLE_TINY_H

#include "engine/family/family.h"
#include "engine/model/tae.h"

/* Starts as {0}. */
struct stable_tiny {
    struct tae *tae;
    struct checkpoint *cp; /* whose mapping holds what stays quantised */
    size_t bytes;
};

/* From now on this one, whose decoder takes latents of so many channels to `factor` times the size;
 * NULL: none. On failure none. */
bool stable_tiny_load(struct stable_tiny *t, struct device *dev, int channels, int factor,
                      const struct pictor_control_file *file, struct err *err);
void stable_tiny_free(struct stable_tiny *t);

#endif
