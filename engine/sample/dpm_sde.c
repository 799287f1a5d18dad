/* dpm_sde.c: DPM-Solver++ for the diffusion SDE (Lu et al. 2022b, appendix), with eta saying how
 * much of the noise is renewed: with h = log(sigma / sigma'), a step keeps exp(-h (1 + eta)) of x
 * and adds noise of sigma' sqrt(1 - exp(-2 h eta)). Noise comes from one Brownian path over sigma
 * (brownian.h). */
#include "engine/sample/dpm_sde.h"

#include <string.h>

#include "engine/sample/sampler_loop.h"

/* x += scale * the path's noise between two levels. `buffer`: 3 latents. */
static void add_path_noise(const struct sampler_state *s, float *x, double from, double to,
                           double scale, float *buffer)
{
    if (!(scale > 0))
        return;
    brownian_noise(&s->brownian, from, to, buffer, buffer + s->n, s->n);
    sampler_add_drawn(s, x, scale * s->noise_scale, buffer);
}

bool dpm_sde_single(struct sampler_state *s, struct err *err)
{
    float *x2 = sampler_buffer(s, 0), *x02 = sampler_buffer(s, 1), *noise = sampler_buffer(s, 2);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1], down;
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (to > 0) {
            double mid = sqrt(from * to), up = sampler_ancestral(from, mid, s->eta, &down);
            sampler_euler(x2, s->n, from, down, s->x, s->x0);
            add_path_noise(s, x2, from, mid, up, noise);
            if (!sampler_predict(s, x2, mid, x02, err))
                return false;
            up = sampler_ancestral(from, to, s->eta, &down);
            sampler_euler(s->x, s->n, from, down, s->x, x02);
            add_path_noise(s, s->x, from, to, up, noise);
        } else {
            sampler_euler(s->x, s->n, from, to, s->x, s->x0);
        }
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

/* What of x and of its change a step of length h keeps. */
struct weights {
    double h, x, x0, noise;
};

static struct weights weights_of(const struct sampler_state *s, int i)
{
    double to = s->sigmas[i + 1], h = log(s->sigmas[i] / to), all = h * (1 + s->eta);
    return (struct weights){h, exp(-all), -expm1(-all), to * sqrt(-expm1(-2 * h * s->eta))};
}

static bool two_steps(struct sampler_state *s, bool heun, struct err *err)
{
    float *old = sampler_buffer(s, 0), *noise = sampler_buffer(s, 1);
    double h_old = 0;
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1];
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (to > 0) {
            struct weights w = weights_of(s, i);
            double change = 0; /* weight of what the prediction changed by since the step before */
            if (i > 0)
                change = (heun ? 1 - w.x0 / (w.h * (1 + s->eta)) : 0.5 * w.x0) * w.h / h_old;
            sampler_mix3(s->x, s->n, w.x, s->x, w.x0 + change, s->x0, -change, i ? old : s->x0);
            add_path_noise(s, s->x, from, to, w.noise, noise);
            h_old = w.h;
        } else {
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
        }
        memcpy(old, s->x0, s->n * sizeof *old);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

bool dpm_sde_2m(struct sampler_state *s, struct err *err)
{
    return two_steps(s, false, err);
}

bool dpm_sde_2m_heun(struct sampler_state *s, struct err *err)
{
    return two_steps(s, true, err);
}

bool dpm_sde_3m(struct sampler_state *s, struct err *err)
{
    float *old = sampler_buffer(s, 0), *older = sampler_buffer(s, 1), *noise = sampler_buffer(s, 2);
    double h1 = 0, h2 = 0; /* lengths of step i - 1 and of step i - 2 */
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1];
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (to > 0) {
            struct weights w = weights_of(s, i);
            double all = w.h * (1 + s->eta), phi2 = 1 - w.x0 / all, phi3 = phi2 / all - 0.5;
            sampler_mix(s->x, s->n, w.x, s->x, w.x0, s->x0);
            if (i == 1) {
                double c = phi2 * w.h / h1;
                sampler_mix3(s->x, s->n, 1, s->x, c, s->x0, -c, old);
            } else if (i > 1) {
                /* The predictions of steps i, i - 1 and i - 2 give a slope and a curvature by
                 * divided differences. In terms of them x0 - old weighs `a`, old - older `b`. */
                double r0 = h1 / w.h, r1 = h2 / w.h;
                double a = (phi2 * (1 + r0 / (r0 + r1)) - phi3 / (r0 + r1)) / r0;
                double b = (phi3 / (r0 + r1) - phi2 * r0 / (r0 + r1)) / r1;
                sampler_mix3(s->x, s->n, 1, s->x, a, s->x0, b - a, old);
                sampler_mix(s->x, s->n, 1, s->x, -b, older);
            }
            add_path_noise(s, s->x, from, to, w.noise, noise);
            h2 = h1;
            h1 = w.h;
        } else {
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
        }
        memcpy(older, old, s->n * sizeof *old);
        memcpy(old, s->x0, s->n * sizeof *old);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
