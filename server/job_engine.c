/* job_engine.c: see job_engine.h. */
#include "server/job_engine.h"

#include <string.h>

void job_engine_seeds(const struct job_params *job, int index, uint64_t *seed, uint64_t *subseed)
{
    bool varied = job->subseed_strength > 0;
    *seed = job->seed + (varied ? 0 : (uint64_t)index);
    *subseed = job->subseed + (uint64_t)index;
}

void job_engine_params(const struct job_params *job, int index, struct pictor_params *out)
{
    pictor_params_init(out, NULL);
    out->prompt = job->prompt;
    out->negative_prompt = job->negative_prompt;
    out->width = job->width;
    out->height = job->height;
    out->steps = job->steps;
    out->guidance = (float)job->guidance;
    out->sampler = job->sampler;
    out->scheduler = job->scheduler;
    out->eta = job->eta;
    job_engine_seeds(job, index, &out->seed, &out->subseed);
    out->subseed_strength = job->subseed_strength;
    out->rng = strcmp(job->rng, "cpu") == 0 ? PICTOR_RNG_CPU : PICTOR_RNG_NV;
    out->clip_skip = job->clip_skip;
    out->strength = job->strength;
    out->fit = (enum pictor_fit)job->fit;
    out->fill = (enum pictor_fill)job->fill;
    out->mask_blur = (float)job->mask_blur;
    out->mask_invert = job->mask_invert;
    out->mask_only_area = job->mask_only_area;
    out->mask_padding = job->mask_padding;
    out->hires_width = job->hires_width;
    out->hires_height = job->hires_height;
    out->hires_steps = job->hires_steps;
    out->hires_strength = job->hires_strength;
    if (job->hires_upscaler)
        out->hires_upscaler = job->hires_upscaler;
    out->preview_every = job->preview_every;
}
