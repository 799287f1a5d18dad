/* sampler.h: from noise to a latent, one loop a sampler.
 *
 * A sampler asks a denoiser what the clean latent is and moves a step towards it; it knows nothing
 * of models, prompts or guidance. Masks, guidance and the like wrap the denoiser. All latents are
 * float [pixels, channels] with x = x0 + sigma * noise; samplers work elementwise, only noise cares
 * for the layout (it is drawn channels-first).
 *
 *     const struct sampler *sampler = sampler_find(params->sampler, &from_name);
 *     struct sampler_plan plan;
 *     sampler_plan_text(&plan, sampler, kind, &schedule, steps, &err);
 *     sampler_start(&plan, x, NULL, noise, n);           x = plan.init * init + plan.noise * noise
 *     struct sampler_run run = {...};
 *     sampler_run(&run, x, scratch, &err);               x = the finished latent
 *     sampler_plan_free(&plan);
 *
 * Not thread-safe per run; the tables are constant. */
#ifndef PICTOR_ENGINE_SAMPLE_SAMPLER_H
#define PICTOR_ENGINE_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/pictor.h"
#include "engine/sample/noise.h"
#include "engine/sample/sampler_plan.h"

/* Predicts the clean latent, guidance included: x [n] at noise level sigma gives x0 [n], and what
 * the negative prompt alone says of it goes to `uncond` [n], which is NULL where nobody asks. `x`,
 * `x0` and `uncond` do not overlap. False stops the sampler with `err`. */
struct denoiser {
    bool (*denoise)(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err);
    void *ctx;
};

struct sampler_state; /* a run as the loops see it */

struct sampler {
    struct pictor_sampler_info info;
    const char *other_alias; /* or NULL */
    bool timesteps;  /* DDIM: walks the trained levels, has no scheduler; masks blend before the
                        model is called (blend.h) */
    bool even_times; /* UniPC: of these the number alone, evenly spaced in time */
    bool ends_only;  /* DPM fast and adaptive: choose the levels between themselves */
    bool restarts;   /* Restart: goes up again */
    bool uncond;     /* CFG++: asks for what the negative prompt alone says */
    double guidance_share;     /* of the guidance asked for, how much is applied; 0: all */
    bool discard_next_to_last; /* leaves out the smallest sigma before 0 */
    bool distilled;            /* LCM: calls the model at the levels it was distilled for alone */
    bool flow;                 /* also for flow models */
    int buffers;               /* scratch it needs, in latents */
    bool (*loop)(struct sampler_state *s, struct err *err);
};

/* As pictor_sampler_find, which documents it. */
const struct sampler *sampler_find(const char *name,
                                   const struct pictor_scheduler_info **scheduler);


/* x = plan->init * init + plan->noise * noise, all [n] in one layout; `init` may be NULL (text to
 * image); x may be `init` or `noise`. */
void sampler_start(const struct sampler_plan *plan, float *x, const float *init, const float *noise,
                   size_t n);

enum sampler_verdict {
    SAMPLER_CONTINUE,
    SAMPLER_FINISH, /* stop here; the result is the last predicted clean latent */
    SAMPLER_CANCEL  /* stop here and fail with ERR_CANCELLED */
};

struct sampler_run {
    const struct sampler *sampler;
    const struct sampler_plan *plan;
    size_t pixels;
    int channels;
    struct denoiser denoiser;
    struct noise *noise; /* after the initial draw; the run draws on */
    int seed_delta;      /* in noise->seed; a Brownian path has the seed without it */
    double eta;          /* NAN: the sampler's own */
    /* Of samplers that have it (info.churns): noise added before each step, while sigma is
     * churn_low..churn_high; high 0: without end. */
    double churn, churn_low, churn_high;
    double noise_scale; /* what fresh noise is multiplied by, of info.scales_noise; 0: 1 */
    /* After each step: `step` of plan->steps are done, x0 [pixels, channels] is the last predicted
     * clean latent. A sampler that chooses its steps itself says so after each of them, that is
     * more than once with one `step` where they are shorter than planned. May be NULL. */
    enum sampler_verdict (*on_step)(void *ctx, int step, const float *x0);
    void *ctx;
};

/* Runs the loop. x [pixels, channels]: from sampler_start; on success the finished latent.
 * `scratch`: sampler->buffers * pixels * channels floats. */
bool sampler_run(const struct sampler_run *run, float *x, float *scratch, struct err *err);

#endif
