/* preset.h: what distilled models are painted with when nobody says otherwise.
 *
 * A model that was distilled to a few steps has the tensors of the one it was made from, and few
 * publishers say in the file what it is. So it is told by its name, as people do, or by the sampler
 * that a diffusers folder names. Nothing but defaults follows from it. */
#ifndef PICTOR_ENGINE_FAMILY_PRESET_H
#define PICTOR_ENGINE_FAMILY_PRESET_H

#include "engine/io/checkpoint.h"

struct preset {
    int steps;
    float guidance;
    const char *sampler, *scheduler;
    int side; /* of its pictures; 0: its family's */
};

/* By a file's name ("sd_xl_turbo_1.0_fp16.safetensors"); false: nothing that is known. */
bool preset_of_name(const char *name, struct preset *out);

/* The same of a checkpoint. */
bool preset_of(const struct checkpoint *cp, struct preset *out);

#endif
