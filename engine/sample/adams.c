/* adams.c: Adams-Bashforth methods on dx/dsigma = (x - x0) / sigma.
 *
 * PLMS (Liu et al. 2022, "Pseudo numerical methods for diffusion models") is written for DDIM's
 * update; in sigma that is a straight line, so it comes to the textbook's weights for equal steps.
 * IPNDM (Zhang & Chen 2022, "Fast sampling of diffusion models with exponential integrator",
 * section 3) is PLMS without the second call of its first step, DEIS the interpolation of slopes
 * over log sigma (their equation 15, "log rho"), integrated exactly. */
#include "engine/sample/adams.h"

#include <string.h>

#include "engine/sample/sampler_loop.h"

#define ORDER 4

/* The slope of step i at sigma, in its place of the last four. */
static float *slope_at(const struct sampler_state *s, int i)
{
    return sampler_buffer(s, i % ORDER);
}

static void take_slope(const struct sampler_state *s, int i)
{
    double sigma = s->sigmas[i];
    sampler_mix(slope_at(s, i), s->n, 1 / sigma, s->x, -1 / sigma, s->x0);
}

static void walk(const struct sampler_state *s, int i, int order, const double *weights)
{
    for (int j = 0; j < order; j++)
        sampler_mix(s->x, s->n, 1, s->x, weights[j], slope_at(s, i - j));
}

/* Weights of the last slopes, the newest first, as of steps of one length. */
static int equal_weights(int i, double length, double weights[ORDER])
{
    static const double table[ORDER][ORDER] = {{1},
                                               {3. / 2, -1. / 2},
                                               {23. / 12, -16. / 12, 5. / 12},
                                               {55. / 24, -59. / 24, 37. / 24, -9. / 24}};
    int order = i + 1 < ORDER ? i + 1 : ORDER;
    for (int j = 0; j < order; j++)
        weights[j] = length * table[order - 1][j];
    return order;
}

bool adams_plms(struct sampler_state *s, struct err *err)
{
    float *ahead = sampler_buffer(s, ORDER), *x02 = sampler_buffer(s, ORDER + 1);
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1], weights[ORDER];
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        take_slope(s, i);
        if (i == 0) {
            /* Half the way along the slope at each end. */
            double half = (to - from) / 2;
            sampler_euler(ahead, s->n, from, to, s->x, s->x0);
            if (!sampler_predict(s, ahead, to, x02, err))
                return false;
            sampler_mix(s->x, s->n, 1, s->x, half, slope_at(s, 0));
            sampler_mix3(s->x, s->n, 1, s->x, half / to, ahead, -half / to, x02);
        } else {
            walk(s, i, equal_weights(i, to - from, weights), weights);
        }
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

bool adams_ipndm(struct sampler_state *s, struct err *err)
{
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1], weights[ORDER];
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        take_slope(s, i);
        if (to > 0)
            walk(s, i, equal_weights(i, to - from, weights), weights);
        else
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}

/* Integral from `from` to `to` of the polynomial in log sigma that is 1 at `own` and 0 at the
 * `others`, one or two of them. With u = log(sigma / from) it is that of a quadratic times
 * from e^u. */
static double log_weight(double from, double to, double own, const double *others, int count)
{
    double a = log(others[0] / from), b = count > 1 ? log(others[1] / from) : 0;
    double scale = log(own / others[0]) * (count > 1 ? log(own / others[1]) : 1);
    double end = log(to / from), grown = to - from; /* integral of e^u, times from */
    double first = to * end - grown;                /* of u e^u */
    double second = to * end * end - 2 * first;     /* of u^2 e^u */
    return count > 1 ? (second - (a + b) * first + a * b * grown) / scale
                     : (first - a * grown) / scale;
}

bool adams_deis(struct sampler_state *s, struct err *err)
{
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1];
        double weights[3] = {to - from}, others[2];
        int order = i < 2 ? i + 1 : 3;
        if (!sampler_predict(s, s->x, from, s->x0, err))
            return false;
        take_slope(s, i);
        for (int j = 0; j < order && order > 1 && to > 0; j++) {
            int count = 0;
            for (int k = 0; k < order; k++)
                if (k != j)
                    others[count++] = s->sigmas[i - k];
            weights[j] = log_weight(from, to, s->sigmas[i - j], others, count);
        }
        if (to > 0)
            walk(s, i, order, weights);
        else
            memcpy(s->x, s->x0, s->n * sizeof *s->x);
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
