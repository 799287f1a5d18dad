/* params.c: Defaults and limits. */
#include "engine/pipeline/params.h"

#include <limits.h>
#include <math.h>

#include "engine/pipeline/model.h"
#include "engine/pipeline/references.h"
#include "engine/pipeline/upscaler.h"

#define MAX_SIDE 8192 /* far beyond what the models do; memory is the real limit */
#define MAX_STEPS 1000
#define COVER_MOST 4   /* times as many pixels as are left of them */
#define MAX_SIGMA 1000 /* of guidance_low and _high; a model's own begin at 15 */
#define MAX_REUSE 20
#define MAX_MERGING 0.9 /* the SD WebUI's */

void pictor_params_init(struct pictor_params *p, const struct pictor_model *model)
{
    static const struct pictor_model_info plain = {
        .native_width = 512, .native_height = 512, .default_guidance = 7, .default_steps = 20};
    const struct pictor_model_info *info = model ? &model->family->facts.info : &plain;
    *p = (struct pictor_params){
        .prompt = "",
        .negative_prompt = "",
        .comma_backtrack = 20,
        .width = info->native_width,
        .height = info->native_height,
        .steps = info->default_steps,
        .guidance = info->default_guidance,
        .image_guidance = NAN,
        .sampler = *info->default_sampler ? info->default_sampler : "Euler a",
        .scheduler = *info->default_scheduler ? info->default_scheduler : "automatic",
        .eta = NAN,
        .clip_skip = 1,
        .strength = info->references ? 1 : 0.75,
        .fill = PICTOR_FILL_ORIGINAL,
        .mask_blur = 4,
        .mask_blur_y = NAN,
        .noise_multiplier = 1,
        .mask_padding = 32,
        .mask_weight = NAN,
        .hires_strength = 0.7,
        .hires_upscaler = "Latent",
        .refiner_at = 0.8,
        .sampling.noise_scale = 1,
    };
}

static bool in_range(const char *name, double value, double low, double high, struct err *err)
{
    if (value >= low && value <= high)
        return true;
    return err_set(err, ERR_INVALID, "%s must be %g..%g, got %g", name, low, high, value);
}

static bool check_side(const char *name, int value, int multiple, struct err *err)
{
    if (!in_range(name, value, PARAMS_MIN_SIDE, MAX_SIDE, err))
        return false;
    if (value % multiple)
        return err_set(err, ERR_INVALID, "%s must be a multiple of %d, got %d", name, multiple,
                       value);
    return true;
}

static int multiple_of(const struct family_facts *facts)
{
    return facts->asked ? facts->asked : facts->multiple;
}

void params_cover(const struct pictor_params *p, int *width, int *height)
{
    int64_t w = p->hires_width, h = p->hires_height;
    if (p->hires_crop && w * p->height > h * p->width)
        h = w * p->height / p->width;
    else if (p->hires_crop)
        w = h * p->width / p->height;
    *width = (int)(w < INT_MAX ? w : INT_MAX);
    *height = (int)(h < INT_MAX ? h : INT_MAX);
}

static bool check_hires(const struct family_facts *facts, const struct pictor_params *p,
                        struct err *err)
{
    if (!p->hires_width && !p->hires_height)
        return true;
    if (p->init)
        return err_set(err, ERR_INVALID, "hires is for text to image: init was given too");
    if (!check_side("hires_width", p->hires_width, multiple_of(facts), err) ||
        !check_side("hires_height", p->hires_height, multiple_of(facts), err) ||
        !in_range("hires_steps", p->hires_steps, 0, MAX_STEPS, err) ||
        !in_range("hires_strength", p->hires_strength, 0, 1, err))
        return false;
    int width, height;
    params_cover(p, &width, &height);
    if ((int64_t)width * height > COVER_MOST * (int64_t)p->hires_width * p->hires_height)
        return err_set(err, ERR_INVALID,
                       "hires_crop must leave a quarter of what is enlarged: of %d x %d stays "
                       "%d x %d",
                       width, height, p->hires_width, p->hires_height);
    char names[256];
    if (!p->hires_network && !upscaler_find(p->hires_upscaler))
        return err_set(err, ERR_INVALID, "hires_upscaler must be one of %s, got '%.64s'",
                       upscaler_names(names, sizeof names), p->hires_upscaler);
    return true;
}

/* `pass` is "" or "hires_". */
static bool choose(const struct family_facts *facts, const char *pass, const char *sampler,
                   const char *scheduler, struct params_choice *out, struct err *err)
{
    char names[256];
    const struct pictor_scheduler_info *named = NULL, *chosen;
    if (!(out->sampler = sampler_find(sampler, &named)))
        return err_set(err, ERR_INVALID, "%ssampler '%.64s' is not known", pass, sampler);
    if (facts->flow && !out->sampler->flow)
        return err_set(err, ERR_INVALID,
                       "%ssampler '%.64s' is not for flow models as this one: wanted one of %s",
                       pass, sampler, pictor_sampler_flow_names(names, sizeof names));
    if (!(chosen = pictor_scheduler_find(scheduler)))
        return err_set(err, ERR_INVALID, "%sscheduler '%.64s' is not known", pass, scheduler);
    out->scheduler = schedule_kind_of(chosen);
    if (out->scheduler == SCHEDULE_AUTOMATIC && named)
        out->scheduler = schedule_kind_of(named);
    return true;
}

static const char *or_first(const char *hires, const char *first)
{
    return hires && *hires ? hires : first;
}

bool params_check(const struct family_facts *facts, const struct pictor_params *p,
                  struct params_choice out[2], struct err *err)
{
    out[0] = out[1] = (struct params_choice){0};
    if (!choose(facts, "", p->sampler, p->scheduler, &out[0], err) ||
        !choose(facts, "hires_", or_first(p->hires_sampler, p->sampler),
                or_first(p->hires_scheduler, p->scheduler), &out[1], err))
        return false;
    if (!check_side("width", p->width, multiple_of(facts), err) ||
        !check_side("height", p->height, multiple_of(facts), err) ||
        !in_range("steps", p->steps, 1, MAX_STEPS, err) ||
        !in_range("guidance", p->guidance, 0, 100, err) ||
        !in_range("strength", p->strength, 0, 1, err) ||
        !in_range("subseed_strength", p->subseed_strength, 0, 1, err) ||
        !in_range("noise_seed_delta", p->noise_seed_delta, 0, INT_MAX, err) ||
        !in_range("comma_backtrack", p->comma_backtrack, 0, 74, err) ||
        !in_range("seed_resize_width", p->seed_resize_width, 0, MAX_SIDE, err) ||
        !in_range("seed_resize_height", p->seed_resize_height, 0, MAX_SIDE, err) ||
        !in_range("clip_skip", p->clip_skip, 1, facts->clip_skips, err) ||
        !in_range("mask_blur", p->mask_blur, 0, 64, err) ||
        !in_range("noise_multiplier", p->noise_multiplier, 0, 1.5, err) ||
        !in_range("mask_padding", p->mask_padding, 0, MAX_SIDE, err) ||
        !in_range("guidance_low", p->speed.guidance_low, 0, MAX_SIGMA, err) ||
        !in_range("guidance_high", p->speed.guidance_high, 0, MAX_SIGMA, err) ||
        !in_range("reuse_every", p->speed.reuse_every, 0, MAX_REUSE, err) ||
        !in_range("token_merging", p->speed.token_merging, 0, MAX_MERGING, err))
        return false;
    if (!isnan(p->mask_blur_y) && !in_range("mask_blur_y", p->mask_blur_y, 0, 64, err))
        return false;
    if ((!isnan(p->mask_weight) && !in_range("mask_weight", p->mask_weight, 0, 1, err)) ||
        (!isnan(p->image_guidance) && !in_range("image_guidance", p->image_guidance, 0, 100, err)))
        return false;
    if (!references_check(facts, p, err))
        return false;
    if (facts->info.default_image_guidance > 0 && !p->init)
        return err_set(err, ERR_INVALID, "this model edits pictures: wanted one to begin from");
    const struct pictor_sampling *s = &p->sampling;
    if (!in_range("churn", s->churn, 0, 100, err) ||
        !in_range("churn_low", s->churn_low, 0, MAX_SIGMA, err) ||
        !in_range("churn_high", s->churn_high, 0, MAX_SIGMA, err) ||
        !in_range("noise_scale", s->noise_scale, 0.1, 2, err) ||
        !in_range("guidance_rescale", s->guidance_rescale, 0, 1, err) ||
        !in_range("guidance_skip", s->guidance_skip, 0, 1, err) ||
        !in_range("sigma_min", s->sigma_min, 0, MAX_SIGMA, err) ||
        !in_range("sigma_max", s->sigma_max, 0, MAX_SIGMA, err) ||
        !in_range("rho", s->rho, s->rho == 0 ? 0 : 0.1, 100, err) ||
        !in_range("beta_alpha", s->beta_alpha, s->beta_alpha == 0 ? 0 : 0.01, 10, err) ||
        !in_range("beta_beta", s->beta_beta, s->beta_beta == 0 ? 0 : 0.01, 10, err))
        return false;
    if (!isnan(p->eta) && !in_range("eta", p->eta, 0, 1, err))
        return false;
    if (p->mask && !p->init)
        return err_set(err, ERR_INVALID, "mask needs init: a picture to paint over");
    return check_hires(facts, p, err);
}
