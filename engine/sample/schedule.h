/* schedule.h: the noise levels of a diffusion model, and which of them a picture visits.
 *
 * Samplers know one kind of latent, x = x0 + sigma noise, and count in sigma: the noise on a signal
 * that is not scaled. A model's own latents are that, scaled; how, and what its network says of
 * them, is in its schedule:
 *
 * - A diffusion model was trained on 1000 levels t = 0..999 with alphas_cumprod[t] of the signal's
 *   power left, so sigma = sqrt((1 - ac) / ac).
 * - A flow model (Lipman et al. 2022; rectified flow) sees (1 - f) x0 + f noise, f = 0..1, so sigma
 *   = f / (1 - f). Of it there are 1000 levels too. Where f is 1 there is no signal; 1e6 stands for
 *   its sigma.
 *
 * Between levels log sigma is linear in t, so t may be fractional. Read-only after schedule_init;
 * share it freely. */
#ifndef PICTOR_ENGINE_SAMPLE_SCHEDULE_H
#define PICTOR_ENGINE_SAMPLE_SCHEDULE_H

#include "engine/base/err.h"
#include "engine/pictor.h"

#define SCHEDULE_LEVELS 1000
#define SCHEDULE_ALIGNED 11

/* What a network says. */
enum schedule_prediction {
    SCHEDULE_NOISE,   /* the noise in x */
    SCHEDULE_V,       /* sqrt(ac) noise - sqrt(1 - ac) x0 (Salimans & Ho 2022) */
    SCHEDULE_VELOCITY /* noise - x0: of a flow model */
};

struct schedule {
    enum schedule_prediction prediction;
    float alphas_cumprod[SCHEDULE_LEVELS];
    float sigmas[SCHEDULE_LEVELS]; /* rising */
    float log_sigmas[SCHEDULE_LEVELS];
    /* Align Your Steps' sigmas of ten steps, from the most noise to the least, [SCHEDULE_ALIGNED],
     * borrowed: at first those for SD 1.5, which SD front ends take where there are no others. */
    const double *aligned;
    double shift;      /* of a flow model: see schedule_init_flow */
    bool discard_last; /* plans leave out the smallest level of a schedule before 0 */
    /* What schedules are told, where it is not 0: the least and the most noise, in sigma, of those
     * that have_ends; Karras' and Polyexponential's exponent; Beta's two. */
    double sigma_min, sigma_max, rho, beta_alpha, beta_beta;
};

/* A diffusion model that predicts noise. 0 < beta_start <= beta_end < 1. */
void schedule_init(struct schedule *s, double beta_start, double beta_end);

/* The same of levels that are given: alphas_cumprod [SCHEDULE_LEVELS], falling within 1..0. */
void schedule_init_levels(struct schedule *s, const float *alphas_cumprod);

/* Moves the levels of a diffusion model so that nothing is left of the signal at the last, t = 999
 * (Lin et al. 2023, "zero terminal SNR"), or rather 4.9e-8 of its power, as the SD WebUI has it:
 * sigma is 4519. */
void schedule_zero_terminal(struct schedule *s);

/* A flow model whose times t = 1/1000..1 are shifted: f = shift t / (1 + (shift - 1) t) (Esser et
 * al. 2024, eq. 23). shift > 0; 1 is none. SCHEDULE_SIMPLE visits t = 1, 1 - 1/n, 1 - 2/n ...
 * exactly, whether there is such a level or not. */
void schedule_init_flow(struct schedule *s, double shift);

/* Noise of a flow model's latent, 0..1, where that of the samplers' is sigma. */
double schedule_flow(double sigma);

/* Takes over what a picture's parameters say of schedules. */
void schedule_tell(struct schedule *s, const struct pictor_sampling *told);

/* How a sampler's x at noise level sigma is put to the network, and its answer turned back:
 * x0 = skip * x + out * network(in * x, t). */
struct schedule_scales {
    double t, in, skip, out;
};
struct schedule_scales schedule_scales(const struct schedule *s, double sigma);

/* Clamped to the table's range 0..999. A sigma out of the table gives its t exactly. */
double schedule_t_of_sigma(const struct schedule *s, double sigma);
double schedule_sigma_of_t(const struct schedule *s, double t);

/* In the order of pictor_scheduler_at. */
enum schedule_kind {
    SCHEDULE_AUTOMATIC, /* the sampler's own (schedule_sigmas knows none: uniform) */
    SCHEDULE_UNIFORM,
    SCHEDULE_KARRAS,
    SCHEDULE_EXPONENTIAL,
    SCHEDULE_POLYEXPONENTIAL,
    SCHEDULE_SGM_UNIFORM,
    SCHEDULE_KL_OPTIMAL,
    SCHEDULE_ALIGN_YOUR_STEPS,
    SCHEDULE_SIMPLE,
    SCHEDULE_NORMAL,
    SCHEDULE_DDIM,
    SCHEDULE_BETA
};

/* `info` is one of pictor_scheduler_at's or pictor_scheduler_find's. */
enum schedule_kind schedule_kind_of(const struct pictor_scheduler_info *info);

/* Of n levels from `high` down to `low`, spaced as Karras et al. 2022 have it (equation 5, with
 * their exponent of 7), the i-th. */
double schedule_karras(double high, double low, int i, int n);

/* The sigmas of `steps` >= 1 steps, falling: *count of them, one more than the steps they make.
 * They end in 0, except for KL Optimal, which stops at the model's smallest sigma. DDIM may give
 * another number than asked for (30 steps: 31). Returns owned (free), NULL on failure: ERR_INVALID
 * where the least noise would not be below the most. */
double *schedule_sigmas(const struct schedule *s, enum schedule_kind kind, int steps, int *count,
                        struct err *err);

#endif
