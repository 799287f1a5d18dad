/* job_engine.c: words of a job into the engine's enumerations. */
#include "server/job/job_engine.h"

#include <string.h>

void job_engine_params(const struct job_params *job, int index, struct pictor_params *out)
{
    pictor_params_init(out, NULL);
    if (job->prompt)
        out->prompt = job->prompt;
    if (job->negative_prompt)
        out->negative_prompt = job->negative_prompt;
    out->width = job->width;
    out->height = job->height;
    out->steps = job->steps;
    out->guidance = (float)job->guidance;
    if (job->sampler)
        out->sampler = job->sampler;
    if (job->scheduler)
        out->scheduler = job->scheduler;
    out->eta = job->eta;
    out->seed = job_seed(job, index);
    out->subseed = job_subseed(job, index);
    out->subseed_strength = job->subseed_strength;
    out->rng = job->rng && strcmp(job->rng, "cpu") == 0 ? PICTOR_RNG_CPU : PICTOR_RNG_NV;
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
    out->speed = (struct pictor_speed){
        .guidance_low = job->guidance_low,
        .guidance_high = job->guidance_high,
        .guidance_alternate = job->guidance_alternate,
        .reuse_every = job->reuse_every,
        .token_merging = job->token_merging,
    };
    out->preview_every = job->preview_every;
}

void job_engine_options(int threads, const char *cpu, const char *precision, size_t memory_limit,
                        struct pictor_engine_options *out)
{
    *out = (struct pictor_engine_options){
        .threads = threads,
        .cpu = *cpu && strcmp(cpu, "auto") != 0 ? cpu : NULL,
        .precision = pictor_precision_of(precision),
        .memory_limit = memory_limit,
    };
}
