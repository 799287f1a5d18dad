/* sampler_plan.h: which noise levels a picture visits, and what it starts from.
 *
 * Most samplers take the levels of a schedule, or the end of them where a picture is painted over.
 * Those of the timestep family walk the trained levels; what they hold is scaled by the root of the
 * signal's power, and a plan has it unscaled, as samplers want it. The rules are the SD WebUI's. */
#ifndef PICTOR_ENGINE_SAMPLE_SAMPLER_PLAN_H
#define PICTOR_ENGINE_SAMPLE_SAMPLER_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/sample/schedule.h"

struct sampler;

struct sampler_plan {
    int steps; /* may differ from what was asked for; 0: nothing to do */
    /* [steps + 1], owned. Falling, but for Restart: where the next level is above this one, the
     * step goes down to `turn`, and noise lifts the latent to the next level. */
    double *sigmas;
    double turn;
    double init, noise; /* x at the start = init * initial latent + noise * normal noise */
    double finish;      /* the result is scaled by this: 1, less for DDIM, which never reaches 0 */
    bool flow;          /* of a flow model: slopes are those of its own latents */
    double low, high;   /* of the whole schedule, 0 left out: where SDE samplers' noise runs */
};

/* Text to image. `kind` SCHEDULE_AUTOMATIC is the sampler's own. steps >= 1. */
bool sampler_plan_text(struct sampler_plan *plan, const struct sampler *sampler,
                       enum schedule_kind kind, const struct schedule *schedule, int steps,
                       struct err *err);

/* Image to image: strength 0..1 of the steps are run, from as far down the schedule; of a flow
 * model's, which are few, no more than that. */
bool sampler_plan_image(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        double strength, struct err *err);

/* Second pass of hires: exactly `steps` steps are run (DDIM: two fewer, UniPC: one fewer, at least
 * one), of a schedule that is steps / strength long. Strength 0: a plan of no steps that leaves the
 * latent as it is. */
bool sampler_plan_hires(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        double strength, struct err *err);
void sampler_plan_free(struct sampler_plan *plan);

#endif
