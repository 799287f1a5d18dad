/* euler.c: Karras et al. 2022, algorithms 1 and 2.
 *
 * DDIM (Song et al. 2020, equation 12) is the same walk in other units: divided by sqrt(a), its
 * update becomes x0 + sqrt(sigma'^2 - up^2) e + up N with the very `up` of the ancestral step. So
 * there is one loop, and DDIM differs only in the levels it visits (sampler.c). */
#include "engine/sample/euler.h"

#include "engine/sample/sampler_loop.h"

#include <string.h>

bool euler_ancestral(struct sampler_state *s, struct err *err)
{
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = sampler_churn(s, i, s->buffers), down;
        double up = sampler_ancestral(from, s->sigmas[i + 1], s->eta, &down);
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        sampler_euler(s->x, s->n, from, down, s->x, s->x0);
        sampler_add_noise(s, s->x, up, s->buffers);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

/* Chung et al. 2024, "CFG++", algorithm 2: the picture is the guided one, the way back to the noise
 * is that of the negative prompt. */
bool euler_cfg_pp(struct sampler_state *s, struct err *err)
{
    float *uncond = sampler_buffer(s, 0);
    const struct denoiser *d = &s->run->denoiser;
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], down,
               up = sampler_ancestral(from, s->sigmas[i + 1], s->eta, &down);
        if (!d->denoise(d->ctx, s->x, from, s->x0, uncond, err))
            return false;
        sampler_mix3(s->x, s->n, down / from, s->x, 1, s->x0, -down / from, uncond);
        sampler_add_noise(s, s->x, up, uncond);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

/* Heun's step of a flow model in its own latents, (1 - f) x: half the way along the velocity at
 * each end. In the samplers' latents, in which all noise is infinitely much, the line through both
 * ends of a first step says nothing. */
static void flow_heun(float *x, size_t n, double from, double to, const float *x2, const float *x02)
{
    double f = schedule_flow(to), way = (f - schedule_flow(from)) / (2 * f);
    sampler_mix3(x, n, (1 + to) / (2 * (1 + from)), x, 0.5 + way, x2, -(1 + to) * way, x02);
}

/* With a plan of Restart's, the noise that lifts the latent again is new. */
bool euler_heun(struct sampler_state *s, struct err *err)
{
    float *x2 = sampler_buffer(s, 0), *x02 = sampler_buffer(s, 1);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = sampler_churn(s, i, x2), next = s->sigmas[i + 1];
        double to = next > s->sigmas[i] ? s->run->plan->turn : next;
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        sampler_euler(x2, s->n, from, to, s->x, s->x0);
        if (to > 0) {
            /* Half the way along the slope at each end. */
            if (!sampler_predict(s, x2, to, x02, err))
                return false;
            double half = (to - from) / 2 / to;
            if (s->run->plan->flow)
                flow_heun(s->x, s->n, from, to, x2, x02);
            else
                sampler_mix3(s->x, s->n, 0.5, s->x, 0.5 + half, x2, -half, x02);
        } else {
            memcpy(s->x, x2, s->n * sizeof *x2);
        }
        if (next > to)
            sampler_add_noise(s, s->x, sqrt(next * next - to * to), x2);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

/* Luo et al. 2023, "Latent consistency models", algorithm 3: every prediction is the picture, and
 * all of its noise is new. The boundary scalings (appendix: c_skip, c_out) are within 1e-5 of 0 and
 * 1 at every level that such models are distilled for, and left out. */
bool euler_lcm(struct sampler_state *s, struct err *err)
{
    for (int i = 0; i < s->steps && !s->finished; i++) {
        if (!sampler_predict(s, s->x, s->sigmas[i], s->x0, err))
            return false;
        memcpy(s->x, s->x0, s->n * sizeof *s->x);
        sampler_add_noise(s, s->x, s->sigmas[i + 1], s->buffers);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
