/* dpm_solver.c: Lu et al. 2022, "DPM-Solver", written for the noise prediction e = (x - x0) /
 * sigma: with t = -log sigma and h the length of a step in t, sigma' (exp(h) - 1) is sigma -
 * sigma', so the first order is a straight line, and orders two and three correct it by how e
 * changed. Fresh noise comes between steps as in ancestral sampling (k-diffusion's addition). */
#include "engine/sample/dpm_solver.h"

#include <string.h>

#include "engine/sample/sampler_loop.h"

/* One step on its way: from sigma `from` to `to`, h in t. */
struct solver_step {
    double from, to, h;
    float *e, *e1, *e2; /* slopes at `from` and at levels between */
    float *ahead;       /* a latent between */
};

/* out = x - (from - to) e + changed (other - e): where all orders arrive. */
static void arrive(const struct sampler_state *s, const struct solver_step *w, double to,
                   double changed, const float *other, float *out)
{
    sampler_mix3(out, s->n, 1, s->x, to - w->from - changed, w->e, changed, other);
}

/* The slope at a latent `x` of level sigma. */
static bool slope(struct sampler_state *s, const float *x, double sigma, float *e, struct err *err)
{
    if (!sampler_predict(s, x, sigma, s->x0, err))
        return false;
    sampler_mix(e, s->n, 1 / sigma, x, -1 / sigma, s->x0);
    return true;
}

/* w->e1 becomes the slope `share` of the way (in t), got by a straight line. */
static bool look_ahead(struct sampler_state *s, const struct solver_step *w, double share,
                       struct err *err)
{
    double sigma = w->from * exp(-share * w->h);
    sampler_mix(w->ahead, s->n, 1, s->x, sigma - w->from, w->e);
    return slope(s, w->ahead, sigma, w->e1, err);
}

/* Weight of e1 - e in order 2, with e1 `share` of the way (algorithm 1). */
static double second_change(const struct solver_step *w, double share)
{
    return (w->to - w->from) / (2 * share);
}

/* Weight of e2 - e in order 3 (algorithm 2). */
static double third_change(const struct solver_step *w)
{
    return -w->to * 1.5 * (expm1(w->h) / w->h - 1);
}

/* With e1 at 1/3 known, w->e2 becomes the slope at 2/3. */
static bool look_further(struct sampler_state *s, const struct solver_step *w, struct err *err)
{
    double share = 2. / 3, h = share * w->h, sigma = w->from * exp(-h);
    arrive(s, w, sigma, -sigma * 2 * (expm1(h) / h - 1), w->e1, w->ahead);
    return slope(s, w->ahead, sigma, w->e2, err);
}

/* Sets out from `from` towards `to`: less noise than that is aimed at, but not less than `least`;
 * *up is what is added again. */
static struct solver_step set_out(const struct sampler_state *s, double from, double to,
                                  double least, double *up)
{
    struct solver_step w = {.from = from, .to = to};
    *up = 0;
    if (s->eta > 0) {
        double down;
        sampler_ancestral(from, to, s->eta, &down);
        w.to = fmax(least, down);
        *up = sqrt(fmax(0, to * to - w.to * w.to));
    }
    w.h = log(from / w.to);
    w.e = sampler_buffer(s, 0);
    w.e1 = sampler_buffer(s, 1);
    w.e2 = sampler_buffer(s, 2);
    w.ahead = sampler_buffer(s, 3);
    return w;
}

/* Where there is no way to go the prediction is the picture, in one call. */
static bool stay(struct sampler_state *s, struct err *err)
{
    if (!sampler_predict(s, s->x, s->sigmas[0], s->x0, err))
        return false;
    memcpy(s->x, s->x0, s->n * sizeof *s->x);
    for (int i = 0; i < s->steps && !s->finished; i++)
        if (!sampler_step_done(s, i, err))
            return false;
    return true;
}

/* From w->from to w->to in `order` calls of the model, each of them a step that is done. */
static bool move(struct sampler_state *s, const struct solver_step *w, int order, int *calls,
                 struct err *err)
{
    if (!slope(s, s->x, w->from, w->e, err) || !sampler_step_done(s, (*calls)++, err))
        return false;
    if (order == 1 && !s->finished)
        sampler_mix(s->x, s->n, 1, s->x, w->to - w->from, w->e);
    if (order == 1 || s->finished)
        return true;

    double share = order == 2 ? 1. / 2 : 1. / 3;
    if (!look_ahead(s, w, share, err) || !sampler_step_done(s, (*calls)++, err))
        return false;
    if (order == 2 && !s->finished)
        arrive(s, w, w->to, second_change(w, share), w->e1, s->x);
    if (order == 2 || s->finished)
        return true;

    if (!look_further(s, w, err) || !sampler_step_done(s, (*calls)++, err))
        return false;
    if (!s->finished)
        arrive(s, w, w->to, third_change(w), w->e2, s->x);
    return true;
}

bool dpm_solver_fast(struct sampler_state *s, struct err *err)
{
    double high = s->sigmas[0], low = s->sigmas[s->steps], up;
    if (!(low > 0 && low < high))
        return stay(s, err);
    int moves = s->steps / 3 + 1, calls = 0;
    for (int i = 0; i < moves && !s->finished; i++) {
        /* Orders are 3, but for the end: 2 and 1, or what three leaves of the calls. */
        int after = moves - 1 - i, rest = s->steps % 3;
        int order = rest ? (after ? 3 : rest) : after > 1 ? 3 : after + 1;
        double from = high * pow(low / high, (double)i / moves);
        double to = high * pow(low / high, (i + 1.) / moves);
        struct solver_step w = set_out(s, from, to, low, &up);
        if (!move(s, &w, order, &calls, err))
            return false;
        if (!s->finished)
            sampler_add_noise(s, s->x, up, w.ahead);
    }
    return true;
}

/* k-diffusion's numbers: what orders two and three may differ by, absolutely and as a part of the
 * latent; the first step's length in t; how much shorter the next one may have to be. */
#define ABSOLUTE 0.0078
#define RELATIVE 0.05
#define FIRST_LENGTH 0.05
#define ACCEPTED 0.81
/* A step as short as that is taken in any case, so that there is an end to it. Models that have
 * learned anything take steps of 0.1 and more. */
#define LEAST_LENGTH 0.01

/* How far order two, which is `second`, is from order three, in units of what it may be: out of the
 * slopes, since little is left of the digits of the latents when they are subtracted. */
static double difference(const struct sampler_state *s, const struct solver_step *w,
                         const float *second, const float *before)
{
    double a = second_change(w, 1. / 3), b = third_change(w), sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        double e = w->e[i], d = a * (w->e1[i] - e) - b * (w->e2[i] - e);
        d /= fmax(ABSOLUTE, RELATIVE * fmax(fabs(second[i]), fabs(before[i])));
        sum += d * d;
    }
    return sqrt(sum / (double)s->n);
}

/* `share` of the way is done: says so for every step that is behind that, *done of them were. */
static bool report_way(struct sampler_state *s, double share, int *done, struct err *err)
{
    int now = share < 1 ? (int)(share * s->steps) : s->steps;
    if (now <= *done)
        return sampler_step_done(s, *done - 1, err);
    while (*done < now && !s->finished)
        if (!sampler_step_done(s, (*done)++, err))
            return false;
    return true;
}

bool dpm_solver_adaptive(struct sampler_state *s, struct err *err)
{
    float *second = sampler_buffer(s, 4), *before = sampler_buffer(s, 5);
    double high = s->sigmas[0], low = s->sigmas[s->steps], up;
    if (!(low > 0 && low < high))
        return stay(s, err);
    double way = log(high / low), at = 0, length = FIRST_LENGTH; /* in t from `high` on */
    bool moved = true;
    int done = 0;
    memcpy(before, s->x, s->n * sizeof *before);
    while (at < way - 1e-5 && !s->finished) {
        double next = fmin(way, at + length), from = high * exp(-at);
        struct solver_step w = set_out(s, from, high * exp(-next), low, &up);
        if ((moved && !slope(s, s->x, from, w.e, err)) || !look_ahead(s, &w, 1. / 3, err))
            return false;
        if (!look_further(s, &w, err))
            return false;
        arrive(s, &w, w.to, second_change(&w, 1. / 3), w.e1, second);
        double error = difference(s, &w, second, before);
        double factor = 1 + atan(pow(error + 1e-8, s->eta > 0 ? -1 / 1.5 : -1. / 3) - 1);
        moved = !(factor < ACCEPTED) || length <= LEAST_LENGTH;
        if (moved) {
            memcpy(before, second, s->n * sizeof *before);
            arrive(s, &w, w.to, third_change(&w), w.e2, s->x);
            sampler_add_noise(s, s->x, up, w.ahead);
            /* A latent that is not finite stays so, however short the steps. */
            at = isfinite(error) ? next : way;
        }
        length = fmax(LEAST_LENGTH, length * factor);
        if (!report_way(s, at / way, &done, err))
            return false;
        if (s->finished)
            break;
    }
    return s->finished || report_way(s, 1, &done, err);
}
