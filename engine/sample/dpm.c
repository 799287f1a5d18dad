/* dpm.c: DPM-Solver (Lu et al. 2022) and DPM-Solver++ (Lu et al. 2022b), written in sigma: with t =
 * -log sigma and h = t' - t the papers' exp(-h) is sigma' / sigma, and their exponential step with
 * a constant prediction is sampler_euler. */
#include "engine/sample/dpm.h"

#include "engine/sample/sampler_loop.h"

#include <string.h>

bool dpm_2(struct sampler_state *s, struct err *err)
{
    float *x2 = sampler_buffer(s, 0), *x02 = sampler_buffer(s, 1);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = sampler_churn(s, i, x2), down;
        double up = sampler_ancestral(from, s->sigmas[i + 1], s->eta, &down);
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (down > 0) {
            /* The whole way with the slope at the middle. */
            double mid = sqrt(from * down), slope = (down - from) / mid;
            sampler_euler(x2, s->n, from, mid, s->x, s->x0);
            if (!sampler_predict(s, x2, mid, x02, err))
                return false;
            sampler_mix3(s->x, s->n, 1, s->x, slope, x2, -slope, x02);
        } else {
            sampler_euler(s->x, s->n, from, down, s->x, s->x0);
        }
        sampler_add_noise(s, s->x, up, x2);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

bool dpm_pp_2m(struct sampler_state *s, struct err *err)
{
    float *old = sampler_buffer(s, 0);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1];
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (i == 0 || to == 0) {
            sampler_euler(s->x, s->n, from, to, s->x, s->x0);
        } else {
            /* The prediction extrapolated half a step, from this one and the last. */
            double r = log(s->sigmas[i - 1] / from) / log(from / to), k = 1 / (2 * r);
            double weight = 1 - to / from;
            sampler_mix3(s->x, s->n, to / from, s->x, weight * (1 + k), s->x0, -weight * k, old);
        }
        memcpy(old, s->x0, s->n * sizeof *old);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

bool dpm_pp_2s_ancestral(struct sampler_state *s, struct err *err)
{
    float *x2 = sampler_buffer(s, 0), *x02 = sampler_buffer(s, 1);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], down;
        double up = sampler_ancestral(from, s->sigmas[i + 1], s->eta, &down);
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        if (down > 0) {
            double mid = sqrt(from * down);
            sampler_euler(x2, s->n, from, mid, s->x, s->x0);
            if (!sampler_predict(s, x2, mid, x02, err))
                return false;
            sampler_euler(s->x, s->n, from, down, s->x, x02);
        } else {
            sampler_euler(s->x, s->n, from, down, s->x, s->x0);
        }
        sampler_add_noise(s, s->x, up, x2);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
