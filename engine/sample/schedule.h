/* schedule.h: the noise levels of a diffusion model, and which of them a picture visits.
 *
 * The model was trained on 1000 levels t = 0..999 with alphas_cumprod[t] of the signal's power
 * left. Samplers count in sigma = sqrt((1 - ac) / ac): the noise on a latent whose signal is
 * unscaled. Between trained levels log sigma is linear in t, so t may be fractional. Read-only
 * after schedule_init; share it freely. */
#ifndef PICTOR_ENGINE_SAMPLE_SCHEDULE_H
#define PICTOR_ENGINE_SAMPLE_SCHEDULE_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

#define SCHEDULE_LEVELS 1000

/* Stable Diffusion 1.x, 2.x and XL: betas are linear in their square root between these. */
#define SCHEDULE_BETA_START 0.00085
#define SCHEDULE_BETA_END 0.012

struct schedule {
    float alphas_cumprod[SCHEDULE_LEVELS];
    float sigmas[SCHEDULE_LEVELS]; /* rising */
    float log_sigmas[SCHEDULE_LEVELS];
};

/* 0 < beta_start <= beta_end < 1. */
void schedule_init(struct schedule *s, double beta_start, double beta_end);

/* Clamped to the trained range 0..999. A sigma out of the table gives its t exactly. */
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

/* The sigmas of `steps` >= 1 steps, falling: *count of them, one more than the steps they make.
 * They end in 0, except for KL Optimal, which stops at the model's smallest sigma. DDIM may give
 * another number than asked for (30 steps: 31). Returns owned (free), NULL on failure. */
double *schedule_sigmas(const struct schedule *s, enum schedule_kind kind, int steps, int *count,
                        struct err *err);

#endif
