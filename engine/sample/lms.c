/* lms.c: Adams-Bashforth over uneven steps: the slopes of the last four steps are joined by a
 * polynomial in sigma, which is integrated over the next step. */
#include "engine/sample/lms.h"

#include "engine/sample/sampler_loop.h"

#define ORDER 4

/* The Lagrange polynomial that is 1 at sigmas[i - j] and 0 at the others of the last `order`. */
static double basis(const double *sigmas, int i, int j, int order, double at)
{
    double product = 1;
    for (int k = 0; k < order; k++)
        if (k != j)
            product *= (at - sigmas[i - k]) / (sigmas[i - j] - sigmas[i - k]);
    return product;
}

/* Its integral from sigmas[i] to sigmas[i + 1]; Simpson's rule is exact for cubics. */
static double weight(const double *sigmas, int i, int j, int order)
{
    double a = sigmas[i], b = sigmas[i + 1];
    return (b - a) / 6 *
           (basis(sigmas, i, j, order, a) + 4 * basis(sigmas, i, j, order, (a + b) / 2) +
            basis(sigmas, i, j, order, b));
}

bool lms_loop(struct sampler_state *s, struct err *err)
{
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double sigma = s->sigmas[i];
        if (!sampler_predict(s, s->x, sigma, s->x0, err))
            return false;
        sampler_mix(sampler_buffer(s, i % ORDER), s->n, 1 / sigma, s->x, -1 / sigma, s->x0);
        int order = i + 1 < ORDER ? i + 1 : ORDER;
        for (int j = 0; j < order; j++)
            sampler_mix(s->x, s->n, 1, s->x, weight(s->sigmas, i, j, order),
                        sampler_buffer(s, (i - j) % ORDER));
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
