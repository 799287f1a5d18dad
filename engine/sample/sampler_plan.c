/* sampler_plan.c: Levels out of schedules and grids. */
#include "engine/sample/sampler_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample/sampler.h"

/* Of the 1000 levels, latent consistency models know t = 19, 39 ... 999 (Luo et al. 2023, 4.3). */
#define DISTILLED_STRIDE 20

#define STRENGTH_MAX 0.999 /* the SD WebUI's: int(0.999 * steps) + 1 is all of them */

/* Steps of a schedule of which hires takes the end. Beyond this, float32 hardly tells the levels of
 * neighbouring steps apart. */
#define TOTAL_MAX 100000

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
    bool flow = schedule->prediction == SCHEDULE_VELOCITY;
    if (kind == SCHEDULE_AUTOMATIC && flow)
        kind = SCHEDULE_SIMPLE;
    else if (kind == SCHEDULE_AUTOMATIC)
        kind = schedule_kind_of(pictor_scheduler_find(sampler->info.default_scheduler));
    int count, discard = sampler->discard_next_to_last || schedule->discard_last;
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
        .flow = flow,
        .low = low,
        .high = high,
    };
    return true;
}

/* Samplers that choose their levels themselves, between the ends of the model's range or, painting
 * over a picture, from the first level of the cut schedule to its last above 0 (which one step is
 * not: it goes to 0). sigmas[0] and sigmas[steps] are those ends. */
static bool plan_ends(struct sampler_plan *plan, const struct schedule *schedule, int steps,
                      bool text, struct err *err)
{
    if (text) {
        plan->steps = steps;
        plan->high = schedule->sigmas[SCHEDULE_LEVELS - 1];
        plan->low = schedule->sigmas[0];
    } else {
        int end = plan->steps - (plan->sigmas[plan->steps] == 0 && plan->steps > 1);
        plan->high = plan->sigmas[0];
        plan->low = plan->sigmas[end];
    }
    free(plan->sigmas);
    if (!(plan->sigmas = calloc((size_t)plan->steps + 1, sizeof *plan->sigmas)))
        return err_set(err, ERR_INTERNAL, "no memory for %d steps", plan->steps);
    plan->sigmas[0] = plan->noise = plan->high;
    plan->sigmas[plan->steps] = plan->low;
    return true;
}

/* The first of the nearest to `sigma`. */
static int nearest(const double *sigmas, int count, double sigma)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (fabs(sigmas[i] - sigma) < fabs(sigmas[best] - sigma))
            best = i;
    return best;
}

/* Xu et al. 2023, "Restart sampling for improving generative processes", with the SD WebUI's
 * numbers: of 20 and more steps, nine (of 36 and more, two quarters) are spent on going from where
 * 0.1 is nearest up to about 2 and down again. Schedules of both are Karras'. */
static bool plan_restarts(struct sampler_plan *plan, struct err *err)
{
    int steps = plan->steps;
    int again = steps >= 36 ? steps / 4 : 9, times = steps >= 36 ? 2 : 1;
    if (steps < 20)
        return true;
    double high = plan->sigmas[0], low = plan->sigmas[steps - 1];
    int plain = steps - again * times, kept = 0;
    double *once = malloc(((size_t)plain + 1) * sizeof *once);
    double *out = malloc(((size_t)steps + 1) * sizeof *out);
    if (!once || !out) {
        free(once);
        free(out);
        return err_set(err, ERR_INTERNAL, "no memory for %d steps", steps);
    }
    for (int i = 0; i < plain; i++)
        once[i] = schedule_karras(high, low, i, plain);
    once[plain] = 0;
    int turn = nearest(once, plain + 1, 0.1), top = nearest(once, plain + 1, 2);
    for (int i = 0; i <= plain; i++) {
        if (i == turn && top < turn)
            for (int k = 0; k < again * times; k++)
                out[kept++] = schedule_karras(once[top], once[turn], k % again, again + 1);
        out[kept++] = once[i];
    }
    plan->steps = kept - 1;
    plan->turn = once[turn];
    free(once);
    free(plan->sigmas);
    plan->sigmas = out;
    return true;
}

/* A schedule of `steps` without its first `skip`; `text`: of text to image. */
static bool plan_levels(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        int skip, bool text, struct err *err)
{
    return plan_sigmas(plan, sampler, kind, schedule, steps, skip, err) &&
           (!sampler->restarts || plan_restarts(plan, err)) &&
           (!sampler->ends_only || plan_ends(plan, schedule, steps, text, err));
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

/* Where UniPC is i / n of its way down from level `top` to level 0. Between levels the logarithm of
 * the signal's power is linear in the level. */
static double even_sigma(const struct schedule *s, int top, int i, int n)
{
    double t = top * (1 - (double)i / n);
    int low = t < SCHEDULE_LEVELS - 1 ? (int)t : SCHEDULE_LEVELS - 2;
    double w = t - low, a = log(s->alphas_cumprod[low]), b = log(s->alphas_cumprod[low + 1]);
    return sqrt(expm1(-(a + w * (b - a))));
}

/* Runs from timestep number `top` down to number 0, UniPC as many steps as these are from `start`,
 * a level, down to level 0. DDIM's latents have a signal of sqrt(a); divided by it they are those
 * of the other samplers. `power` and `noise` are the latent's at the start. */
static bool plan_timesteps(struct sampler_plan *plan, const struct sampler *sampler,
                           const struct schedule *schedule, int steps, int top, int start,
                           double power, double noise, struct err *err)
{
    int bottom = top > 0 && !sampler->even_times ? 0 : -1;
    double *sigmas = malloc(((size_t)(top - bottom) + 1) * sizeof *sigmas);
    if (!sigmas)
        return err_set(err, ERR_INTERNAL, "no memory for %d steps", top);
    int kept = 0;
    for (int i = top; i >= bottom; i--) {
        double sigma = sampler->even_times ? even_sigma(schedule, start, top - i, top - bottom)
                                           : schedule->sigmas[timestep(steps, i)];
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
 * below it, and so does UniPC; where that leaves no call to the model (cut 0, for DDIM 1 too) the
 * SD WebUI returns the noisy latent or fails, here there is one call. */
static bool plan_cut(struct sampler_plan *plan, const struct sampler *sampler,
                     enum schedule_kind kind, const struct schedule *schedule, int steps, int cut,
                     struct err *err)
{
    if (!sampler->timesteps)
        return plan_levels(plan, sampler, kind, schedule, steps, steps - cut - 1, false, err);
    int last = (SCHEDULE_LEVELS - 1) / timestep_stride(steps);
    int noised = cut < last ? cut : last;
    int top = noised > (sampler->even_times ? 0 : 1) ? noised - 1 : noised;
    double a = schedule->alphas_cumprod[timestep(steps, noised)];
    return plan_timesteps(plan, sampler, schedule, steps, top, timestep(steps, top), a, 1 - a, err);
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
        return plan_levels(plan, sampler, kind, schedule, steps, 0, true, err);
    if (steps < 2 && !sampler->even_times) /* the grid of one timestep has no step */
        steps = 2;
    int last = (SCHEDULE_LEVELS - 1) / timestep_stride(steps);
    return plan_timesteps(plan, sampler, schedule, steps, last, SCHEDULE_LEVELS - 1, 0, 1, err);
}

bool sampler_plan_image(struct sampler_plan *plan, const struct sampler *sampler,
                        enum schedule_kind kind, const struct schedule *schedule, int steps,
                        double strength, struct err *err)
{
    *plan = (struct sampler_plan){0};
    if (!plan_check(steps, strength, err))
        return false;
    int cut = (int)(fmin(strength, STRENGTH_MAX) * steps);
    if (schedule->prediction == SCHEDULE_VELOCITY && strength < 1 && cut > 0)
        cut--;
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
