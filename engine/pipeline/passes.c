#include "engine/pipeline/passes.h"

#include <math.h>

#include "engine/pipeline/others.h"

/* The noise levels of a pass, as the family and the parameters have them; the refiner keeps to
 * those that it was trained on. */
static void levels_of(struct passes *passes, int pass, const struct family_model *m,
                      const struct pictor_model *refiner, const struct pictor_params *p, int width,
                      int height, int steps)
{
    struct schedule *out = &passes->schedule[pass];
    m->family->schedule(m, width, height, steps, out);
    if (p->sampling.zero_terminal)
        schedule_zero_terminal(out);
    schedule_tell(out, &p->sampling);
    if (refiner)
        refiner->family->family->schedule(refiner->family, width, height, steps,
                                          &passes->refined[pass]);
}

bool passes_plan(struct passes *out, struct pictor_model *own, const struct pictor_params *asked,
                 const struct pictor_params *p, const struct params_choice choice[2],
                 struct err *err)
{
    const struct sampler *sampler = choice[0].sampler, *second = choice[1].sampler;
    enum schedule_kind kind = choice[0].scheduler;
    int again = p->hires_steps ? p->hires_steps : p->steps;
    *out = (struct passes){0};
    levels_of(out, 0, others_painter(own, asked, 0)->family, others_refiner(own, asked, p, 0), p,
              p->width, p->height, p->steps);
    if (!(p->init
              ? sampler_plan_image(&out->plan[0], sampler, kind, &out->schedule[0], p->steps,
                                   p->strength, err)
              : sampler_plan_text(&out->plan[0], sampler, kind, &out->schedule[0], p->steps, err)))
        return false;
    if (p->sampling.sgm_noise && !p->init && !sampler->timesteps)
        out->plan[0].noise = sqrt(1 + out->plan[0].noise * out->plan[0].noise);
    if (!p->hires_width)
        return true;
    levels_of(out, 1, others_painter(own, asked, 1)->family, others_refiner(own, asked, p, 1), p,
              p->hires_width, p->hires_height, again);
    return sampler_plan_hires(&out->plan[1], second, choice[1].scheduler, &out->schedule[1], again,
                              p->hires_strength, err);
}
