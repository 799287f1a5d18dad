/* sampler.c: The table, how names find it, plans, and what all loops share. */
#include "engine/sample/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/sample/dpm.h"
#include "engine/sample/dpm_sde.h"
#include "engine/sample/euler.h"
#include "engine/sample/lms.h"
#include "engine/sample/sampler_loop.h"

static const struct sampler samplers[] = {
    {.info = {.name = "DPM++ 2M", .alias = "k_dpmpp_2m", .default_scheduler = "karras"},
     .buffers = 2,
     .loop = dpm_pp_2m},
    {.info = {.name = "DPM++ SDE",
              .alias = "k_dpmpp_sde",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .sde = true,
              .second_order = true},
     .buffers = 6,
     .loop = dpm_sde_single},
    {.info = {.name = "DPM++ 2M SDE",
              .alias = "k_dpmpp_2m_sde",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .sde = true},
     .buffers = 5,
     .loop = dpm_sde_2m},
    {.info = {.name = "DPM++ 2M SDE Heun",
              .alias = "k_dpmpp_2m_sde_heun",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .sde = true},
     .buffers = 5,
     .loop = dpm_sde_2m_heun},
    {.info = {.name = "DPM++ 2S a",
              .alias = "k_dpmpp_2s_a",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true,
              .second_order = true},
     .other_alias = "k_dpmpp_2s_ancestral",
     .buffers = 3,
     .loop = dpm_pp_2s_ancestral},
    {.info = {.name = "DPM++ 3M SDE",
              .alias = "k_dpmpp_3m_sde",
              .default_scheduler = "exponential",
              .eta_name = "Eta",
              .default_eta = 1,
              .sde = true},
     .discard_next_to_last = true,
     .buffers = 6,
     .loop = dpm_sde_3m},
    {.info = {.name = "Euler a",
              .alias = "k_euler_a",
              .default_scheduler = "uniform",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true},
     .other_alias = "k_euler_ancestral",
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "Euler", .alias = "k_euler", .default_scheduler = "uniform"},
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "LMS", .alias = "k_lms", .default_scheduler = "uniform"},
     .buffers = 5,
     .loop = lms_loop},
    {.info =
         {.name = "Heun", .alias = "k_heun", .default_scheduler = "uniform", .second_order = true},
     .buffers = 3,
     .loop = euler_heun},
    {.info =
         {.name = "DPM2", .alias = "k_dpm_2", .default_scheduler = "karras", .second_order = true},
     .discard_next_to_last = true,
     .buffers = 3,
     .loop = dpm_2},
    {.info = {.name = "DPM2 a",
              .alias = "k_dpm_2_a",
              .default_scheduler = "karras",
              .eta_name = "Eta",
              .default_eta = 1,
              .ancestral = true,
              .second_order = true},
     .other_alias = "k_dpm_2_ancestral",
     .discard_next_to_last = true,
     .buffers = 3,
     .loop = dpm_2},
    {.info = {.name = "DDIM",
              .alias = "ddim",
              .default_scheduler = "uniform",
              .eta_name = "Eta DDIM",
              .default_eta = 0},
     .timesteps = true,
     .buffers = 2,
     .loop = euler_ancestral},
    {.info = {.name = "LCM", .alias = "k_lcm", .default_scheduler = "simple"},
     .distilled = true,
     .buffers = 2,
     .loop = euler_lcm},
};
#define SAMPLERS (sizeof samplers / sizeof *samplers)

/* Of the 1000 levels, latent consistency models know t = 19, 39 ... 999 (Luo et al. 2023, 4.3). */
#define DISTILLED_STRIDE 20

#define STRENGTH_MAX 0.999 /* the SD WebUI's: int(0.999 * steps) + 1 is all of them */

/* Steps of a schedule of which hires takes the end. Beyond this, float32 hardly tells the levels of
 * neighbouring steps apart. */
#define TOTAL_MAX 100000

const struct pictor_sampler_info *pictor_sampler_at(int index)
{
    return index >= 0 && (size_t)index < SAMPLERS ? &samplers[index].info : NULL;
}

/* Names. */

/* `alias` with or without its "k_", in any case. */
static bool alias_is(const char *alias, const char *name)
{
    if (!alias)
        return false;
    return strcasecmp(alias, name) == 0 ||
           (strncmp(alias, "k_", 2) == 0 && strcasecmp(alias + 2, name) == 0);
}

static const struct sampler *find_plain(const char *name)
{
    for (size_t i = 0; i < SAMPLERS; i++)
        if (strcasecmp(samplers[i].info.name, name) == 0)
            return &samplers[i];
    for (size_t i = 0; i < SAMPLERS; i++)
        if (alias_is(samplers[i].info.alias, name) || alias_is(samplers[i].other_alias, name))
            return &samplers[i];
    return NULL;
}

const struct sampler *sampler_find(const char *name, const struct pictor_scheduler_info **scheduler)
{
    if (scheduler)
        *scheduler = NULL;
    const struct sampler *found = name ? find_plain(name) : NULL;
    if (found || !name)
        return found;

    /* "DPM++ 2M SGM Uniform": every space may be where the sampler ends. */
    char head[64];
    for (const char *space = strchr(name, ' '); space; space = strchr(space + 1, ' ')) {
        size_t length = (size_t)(space - name);
        if (length >= sizeof head)
            return NULL;
        memcpy(head, name, length);
        head[length] = '\0';
        const struct pictor_scheduler_info *suffix = pictor_scheduler_find(space + 1);
        found = suffix ? find_plain(head) : NULL;
        if (!found)
            continue;
        if (strcmp(suffix->name, found->info.default_scheduler) == 0)
            suffix = pictor_scheduler_at(SCHEDULE_AUTOMATIC);
        if (scheduler)
            *scheduler = suffix;
        return found;
    }
    return NULL;
}

const struct pictor_sampler_info *
pictor_sampler_find(const char *name, const struct pictor_scheduler_info **scheduler)
{
    const struct sampler *found = sampler_find(name, scheduler);
    return found ? &found->info : NULL;
}

/* Plans. */

/* The next noisier level that a distilled model knows. With it "simple" is what diffusers calls
 * this sampler's timesteps: 999 - 20 floor(50 i / n). */
static double distilled_sigma(const struct schedule *schedule, double sigma)
{
    double t = schedule_t_of_sigma(schedule, sigma);
    return schedule->sigmas[DISTILLED_STRIDE * (int)ceil((t + 1) / DISTILLED_STRIDE) - 1];
}

/* A schedule of `steps`, of which the first `skip` are left out, as the SD WebUI cuts it for image
 * to image. Equal neighbours are merged: a step of no length would be a division by zero to the
 * samplers that look back. */
static bool plan_sigmas(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        int skip, struct err *err)
{
    if (kind == SCHEDULE_AUTOMATIC)
        kind = schedule_kind_of(pictor_scheduler_find(sampler->info.default_scheduler));
    int count, discard = sampler->discard_next_to_last;
    double *sigmas = schedule_sigmas(schedule, kind, steps + discard, &count, err);
    if (!sigmas)
        return false;
    for (int i = 0; sampler->distilled && i < count - 1; i++)
        sigmas[i] = distilled_sigma(schedule, sigmas[i]);
    if (discard) {
        sigmas[count - 2] = sigmas[count - 1];
        count--;
    }
    double high = sigmas[0], low = sigmas[sigmas[count - 1] > 0 ? count - 1 : count - 2];
    if (skip > count - 2)
        skip = count - 2;
    int kept = 0;
    for (int i = skip; i < count; i++)
        if (kept == 0 || sigmas[i] < sigmas[kept - 1])
            sigmas[kept++] = sigmas[i];
    *plan = (struct sampler_plan){
        .steps = kept - 1,
        .sigmas = sigmas,
        .init = 1,
        .noise = sigmas[0],
        .finish = 1,
        .low = low,
        .high = high,
    };
    return true;
}

/* DDIM's grid as the SD WebUI has it: 1, 1 + k, 1 + 2k ... at most 999, with k = 1000 / steps; and
 * level 0 below it, as number -1. */
static int timestep_stride(int steps)
{
    return steps < SCHEDULE_LEVELS ? SCHEDULE_LEVELS / steps : 1;
}

static int timestep(int steps, int number)
{
    int t = 1 + number * timestep_stride(steps);
    return t < 0 ? 0 : t < SCHEDULE_LEVELS ? t : SCHEDULE_LEVELS - 1;
}

/* Runs from timestep number `top` down to number 0. DDIM's latents have a signal of sqrt(a);
 * divided by it they are those of the other samplers. `power` and `noise` are the latent's at the
 * start. */
static bool plan_timesteps(struct sampler_plan *plan, const struct schedule *schedule, int steps,
                           int top, double power, double noise, struct err *err)
{
    int bottom = top > 0 ? 0 : -1;
    double *sigmas = malloc(((size_t)(top - bottom) + 1) * sizeof *sigmas);
    if (!sigmas)
        return err_set(err, ERR_INTERNAL, "no memory for %d steps", top);
    int kept = 0;
    for (int i = top; i >= bottom; i--) {
        double sigma = schedule->sigmas[timestep(steps, i)];
        if (kept == 0 || sigma < sigmas[kept - 1])
            sigmas[kept++] = sigma;
    }
    double unscale = sqrt(1 + sigmas[0] * sigmas[0]); /* 1 / sqrt(a) at the first call */
    *plan = (struct sampler_plan){
        .steps = kept - 1,
        .sigmas = sigmas,
        .init = sqrt(power) * unscale,
        .noise = sqrt(noise) * unscale,
        .finish = 1 / sqrt(1 + sigmas[kept - 1] * sigmas[kept - 1]),
    };
    return true;
}

/* Image to image: of a schedule of `steps`, what the SD WebUI calls t_enc is `cut`. Samplers in
 * sigma run the last cut + 1 steps. DDIM noises to timestep number `cut` and starts from the one
 * below it; where that leaves no call to the model (cut 0 and 1) the SD WebUI returns the noisy
 * latent, here there is one call. */
static bool plan_cut(struct sampler_plan *plan, const struct sampler *sampler,
                     enum schedule_kind kind, const struct schedule *schedule, int steps, int cut,
                     struct err *err)
{
    if (!sampler->timesteps)
        return plan_sigmas(plan, sampler, kind, schedule, steps, steps - cut - 1, err);
    int last = (SCHEDULE_LEVELS - 1) / timestep_stride(steps);
    int noised = cut < last ? cut : last;
    double a = schedule->alphas_cumprod[timestep(steps, noised)];
    return plan_timesteps(plan, schedule, steps, noised > 1 ? noised - 1 : noised, a, 1 - a, err);
}

static bool plan_check(int steps, double strength, struct err *err)
{
    if (steps < 1 || steps > 1000)
        return err_set(err, ERR_INVALID, "steps: 1 to 1000 wanted, got %d", steps);
    if (!(strength >= 0 && strength <= 1))
        return err_set(err, ERR_INVALID, "strength: 0 to 1 wanted, got %g", strength);
    return true;
}

bool sampler_plan_text(struct sampler_plan *plan, const struct sampler *sampler,
                       enum schedule_kind kind, const struct schedule *schedule, int steps,
                       struct err *err)
{
    *plan = (struct sampler_plan){0};
    if (!plan_check(steps, 1, err))
        return false;
    if (!sampler->timesteps)
        return plan_sigmas(plan, sampler, kind, schedule, steps, 0, err);
    if (steps < 2) /* the grid of one timestep has no step */
        steps = 2;
    int last = (SCHEDULE_LEVELS - 1) / timestep_stride(steps);
    return plan_timesteps(plan, schedule, steps, last, 0, 1, err);
}

bool sampler_plan_image(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        double strength, struct err *err)
{
    *plan = (struct sampler_plan){0};
    if (!plan_check(steps, strength, err))
        return false;
    int cut = (int)(fmin(strength, STRENGTH_MAX) * steps);
    return plan_cut(plan, sampler, kind, schedule, steps, cut, err);
}

bool sampler_plan_hires(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        double strength, struct err *err)
{
    *plan = (struct sampler_plan){.init = 1, .finish = 1};
    if (!plan_check(steps, strength, err))
        return false;
    if (strength == 0)
        return true;
    int total = (int)fmin(steps / fmin(strength, STRENGTH_MAX), TOTAL_MAX);
    return plan_cut(plan, sampler, kind, schedule, total, steps - 1, err);
}

void sampler_plan_free(struct sampler_plan *plan)
{
    free(plan->sigmas);
    *plan = (struct sampler_plan){0};
}

/* Runs. */

void sampler_start(const struct sampler_plan *plan, float *x, const float *init, const float *noise,
                   size_t n)
{
    if (init)
        sampler_mix(x, n, plan->init, init, plan->noise, noise);
    else
        sampler_mix(x, n, plan->noise, noise, 0, noise);
}

void sampler_add_drawn(const struct sampler_state *s, float *x, double scale, const float *noise)
{
    size_t channels = (size_t)s->run->channels, pixels = s->run->pixels;
    float f = (float)scale;
    for (size_t k = 0; k < channels; k++)
        for (size_t p = 0; p < pixels; p++)
            x[p * channels + k] += f * noise[k * pixels + p];
}

void sampler_add_noise(const struct sampler_state *s, float *x, double scale, float *buffer)
{
    if (!(scale > 0))
        return;
    noise_draw(s->run->noise, buffer, s->n);
    sampler_add_drawn(s, x, scale, buffer);
}

bool sampler_step_done(struct sampler_state *s, int i, struct err *err)
{
    if (!s->run->on_step)
        return true;
    switch (s->run->on_step(s->run->ctx, i + 1, s->x0)) {
    case SAMPLER_CONTINUE:
        return true;
    case SAMPLER_FINISH:
        if (i + 1 < s->steps) {
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
            s->finished = true;
        }
        return true;
    case SAMPLER_CANCEL:
        break;
    }
    return err_set(err, ERR_CANCELLED, "cancelled after step %d of %d", i + 1, s->steps);
}

bool sampler_run(const struct sampler_run *run, float *x, float *scratch, struct err *err)
{
    const struct sampler *sampler = run->sampler;
    double eta = isnan(run->eta) ? sampler->info.default_eta : run->eta;
    struct sampler_state s = {
        .run = run,
        .sigmas = run->plan->sigmas,
        .steps = run->plan->steps,
        .eta = sampler->info.eta_name ? eta : 0,
        .brownian = {run->noise->kind, run->noise->seed - (uint64_t)run->seed_delta,
                     run->plan->low, run->plan->high},
        .n = run->pixels * (size_t)run->channels,
        .x = x,
        .x0 = scratch,
    };
    s.buffers = scratch + s.n;
    if (!sampler->loop(&s, err))
        return false;
    if (!s.finished && run->plan->finish != 1)
        sampler_mix(x, s.n, run->plan->finish, x, 0, x);
    return true;
}
