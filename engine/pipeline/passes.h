/* passes.h: the noise levels of a picture's passes, and which of them are visited. */
#ifndef PICTOR_ENGINE_PIPELINE_PASSES_H
#define PICTOR_ENGINE_PIPELINE_PASSES_H

#include "engine/pipeline/model.h"
#include "engine/pipeline/params.h"

struct passes {
    struct schedule schedule[2], refined[2]; /* refined: of who takes over */
    struct sampler_plan plan[2]; /* the second has no steps where there is no second pass */
};

/* `asked` says who paints, `p` is what is painted of it, `choice` is of params_check. On failure,
 * too, the plans are the caller's (sampler_plan_free). */
bool passes_plan(struct passes *out, struct pictor_model *own, const struct pictor_params *asked,
                 const struct pictor_params *p, const struct params_choice choice[2],
                 struct err *err);

#endif
