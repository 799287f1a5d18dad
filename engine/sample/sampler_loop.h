/* sampler_loop.h: what the loops of the samplers share. Only for the files that hold loops.
 *
 * A loop goes: predict the clean latent, move x, say that a step is done; until the steps are
 * through or `finished` is set. Every move is a weighted sum of latents, with weights in double. */
#ifndef PICTOR_ENGINE_SAMPLE_SAMPLER_LOOP_H
#define PICTOR_ENGINE_SAMPLE_SAMPLER_LOOP_H

#include <math.h>

#include "engine/sample/brownian.h"
#include "engine/sample/sampler.h"

struct sampler_state {
    const struct sampler_run *run;
    const double *sigmas; /* [steps + 1] */
    int steps;
    double eta, churn;
    double noise_scale;       /* what sampler_add_noise multiplies by */
    struct brownian brownian; /* over the whole schedule's sigmas */
    size_t n;                 /* pixels * channels */
    float *x, *x0;            /* [n] the latent; the prediction that on_step is shown */
    float *buffers;           /* [sampler->buffers - 1, n] */
    bool finished;
};

/* The k-th of the loop's own buffers. */
static inline float *sampler_buffer(const struct sampler_state *s, int k)
{
    return s->buffers + (size_t)k * s->n;
}

static inline bool sampler_predict(const struct sampler_state *s, const float *x, double sigma,
                                   float *x0, struct err *err)
{
    return s->run->denoiser.denoise(s->run->denoiser.ctx, x, sigma, x0, NULL, err);
}

/* out = a x + b y; out may be x or y. */
static inline void sampler_mix(float *out, size_t n, double a, const float *x, double b,
                               const float *y)
{
    float fa = (float)a, fb = (float)b;
    for (size_t i = 0; i < n; i++)
        out[i] = fa * x[i] + fb * y[i];
}

/* out = a x + b y + c z; out may be any of them. */
static inline void sampler_mix3(float *out, size_t n, double a, const float *x, double b,
                                const float *y, double c, const float *z)
{
    float fa = (float)a, fb = (float)b, fc = (float)c;
    for (size_t i = 0; i < n; i++)
        out[i] = fa * x[i] + fb * y[i] + fc * z[i];
}

/* Walks straight from sigma `from` to `to` along the line through x and its prediction. */
static inline void sampler_euler(float *out, size_t n, double from, double to, const float *x,
                                 const float *x0)
{
    sampler_mix(out, n, to / from, x, 1 - to / from, x0);
}

/* Going from `from` to `to` and renewing some of the noise: down to *down, then `up` is added, so
 * that down^2 + up^2 = to^2. */
static inline double sampler_ancestral(double from, double to, double eta, double *down)
{
    double up = fmin(to, eta * sqrt(to * to * (from * from - to * to) / (from * from)));
    *down = sqrt(to * to - up * up);
    return up;
}

/* x += scale * noise, [channels, pixels] as it is drawn. */
void sampler_add_drawn(const struct sampler_state *s, float *x, double scale, const float *noise);

/* Churn before step i: lifts x to the level that is returned; without churn that is where it was.
 * `buffer` [n] is overwritten. */
double sampler_churn(const struct sampler_state *s, int i, float *buffer);

/* x += scale * noise_scale * the next draw, unless scale is 0. `buffer` [n] is overwritten. */
void sampler_add_noise(const struct sampler_state *s, float *x, double scale, float *buffer);

/* Step i (from 0; -1: none yet) is done: reports it, obeys the verdict. False: cancelled. */
bool sampler_step_done(struct sampler_state *s, int i, struct err *err);

#endif
