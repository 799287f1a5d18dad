/* intake.c: fills requests from models and settings. */
#include "server/job/intake.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/settings.h"
#include "server/job/job.h"

#define PICTURE_FACTOR 8 /* times max_pixels */
#define STEPS 20
#define GUIDANCE 7
#define STRENGTH 0.75

void intake_model_of(const struct registry_model *model, struct intake_model *out)
{
    /* What it is painted with when it does not say: SD 1.x is made for 512, upstreams for 1024. */
    bool upstream = model->kind == REGISTRY_UPSTREAM;
    int side = upstream ? 1024 : 512;
    *out = (struct intake_model){
        .upstream = upstream,
        .width = model->native_width ? model->native_width : side,
        .height = model->native_height ? model->native_height : side,
        .steps = model->default_steps ? model->default_steps : STEPS,
        .guidance = model->default_guidance > 0 ? model->default_guidance : GUIDANCE,
    };
    snprintf(out->name, sizeof out->name, "%s", model->name);
}

bool intake_model(struct registry *registry, const char *name, struct intake_model *out,
                  struct err *err)
{
    struct registry_model model;
    if (!registry_resolve(registry, name, &model, err))
        return false;
    intake_model_of(&model, out);
    return true;
}

static bool fill_text(char **text, const char *usual, struct err *err)
{
    if (!*text)
        *text = strdup(usual);
    return *text || err_set(err, ERR_INTERNAL, "no memory for a job");
}

void intake_speed(const struct settings *settings, struct job_params *p)
{
    if (isnan(p->guidance_low))
        p->guidance_low = settings->guidance_low;
    if (isnan(p->guidance_high))
        p->guidance_high = settings->guidance_high;
    if (p->reuse_every == JOB_UNSET)
        p->reuse_every = settings->reuse_every;
    if (isnan(p->token_merging))
        p->token_merging = settings->token_merging;
}

bool intake_fill(const struct intake_model *model, const struct settings *settings,
                 struct job_params *p, struct err *err)
{
    if (!model->upstream)
        intake_speed(settings, p);
    if (p->steps == JOB_UNSET)
        p->steps = model->steps;
    if (isnan(p->guidance))
        p->guidance = model->guidance;
    if (isnan(p->strength))
        p->strength = STRENGTH;
    return fill_text(&p->sampler, INTAKE_SAMPLER, err) &&
           fill_text(&p->scheduler, INTAKE_SCHEDULER, err);
}

bool intake_prompts(const struct intake_model *model, const struct job_params *p,
                    const char **param, struct err *err)
{
    const char *names[] = {"prompt", "negative_prompt"};
    const char *texts[] = {p->prompt, p->negative_prompt};
    for (int i = 0; i < 2 && !model->upstream; i++) {
        if (texts[i] && !pictor_prompt_check(texts[i], err)) {
            if (param)
                *param = names[i];
            return false;
        }
    }
    return true;
}

bool intake_complete(const struct intake_model *model, const struct settings *settings,
                     struct job_params *p, const char **param, struct err *err)
{
    bool steps = p->steps != JOB_UNSET, guidance = !isnan(p->guidance);
    bool strength = !isnan(p->strength), sampler = p->sampler, scheduler = p->scheduler;
    if (!intake_fill(model, settings, p, err) || !job_params_check(p, settings, param, err) ||
        !intake_prompts(model, p, param, err))
        return false;
    if (!model->upstream)
        return true;
    if (!steps)
        p->steps = JOB_UNSET;
    if (!guidance)
        p->guidance = NAN;
    if (!strength)
        p->strength = NAN;
    if (!sampler) {
        free(p->sampler);
        p->sampler = NULL;
    }
    /* "DPM++ 2M Karras" names a scheduler, too. */
    if (!scheduler && strcmp(p->scheduler, INTAKE_SCHEDULER) == 0) {
        free(p->scheduler);
        p->scheduler = NULL;
    }
    return true;
}

bool intake_seed(uint64_t *seed, struct err *err)
{
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_set(err, ERR_INTERNAL, "no random seed: %s", strerror(errno));
    *seed = random;
    return true;
}

size_t intake_pixels_max(const struct settings *settings)
{
    return (size_t)settings->max_pixels * PICTURE_FACTOR;
}
