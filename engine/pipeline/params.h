/* params.h: what is asked for, held against what a model can do. */
#ifndef PICTOR_ENGINE_PIPELINE_PARAMS_H
#define PICTOR_ENGINE_PIPELINE_PARAMS_H

#include "engine/family/family.h"
#include "engine/sample/sampler.h"

#define PARAMS_MIN_SIDE 64

/* What the names in the parameters stand for. */
struct params_choice {
    const struct sampler *sampler;
    enum schedule_kind scheduler;
};

/* Fails with the parameter's name, what was wanted and what came. Prompts are for the family.
 * `out` is of the first pass and of the second. */
bool params_check(const struct family_facts *facts, const struct pictor_params *p,
                  struct params_choice out[2], struct err *err);

/* The size that a second pass is enlarged to before hires_crop cuts it out of the middle: it covers
 * it, in the proportions of the first pass. Without, its own. */
void params_cover(const struct pictor_params *p, int *width, int *height);

#endif
