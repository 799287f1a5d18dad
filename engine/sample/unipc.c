/* unipc.c: Zhao et al. 2023, "UniPC", algorithms 5 and 6 for the prediction of data, with B(h) = h
 * ("bh1") as the SD WebUI has it. In sigma, with h = log(sigma / sigma'), the exponential step is
 * sampler_euler; the predictor adds to it from how the prediction changed over the last steps, the
 * corrector once more when the prediction at its end is known, which is also the next step's. */
#include "engine/sample/unipc.h"

#include <string.h>

#include "engine/sample/sampler_loop.h"

#define ORDER 3

/* The w with sum over k of w[k] r[k]^i = b[i] for i = 0..order - 1 (Bjorck & Pereyra 1970), the r
 * being different. w holds b at first. */
static void solve(const double *r, double *w, int order)
{
    for (int k = 0; k < order - 1; k++)
        for (int i = order - 1; i > k; i--)
            w[i] -= r[k] * w[i - 1];
    for (int k = order - 1; k > 0; k--)
        for (int i = k; i < order; i++) {
            w[i] /= r[i] - r[i - k];
            w[i - 1] -= w[i];
        }
}

/* i! phi_(i + 1)(h) for i = 1..order: the paper's right sides over B(h). */
static void right_sides(double h, double *b, int order)
{
    double phi = expm1(h) / h - 1, factorial = 1;
    for (int i = 1; i <= order; i++) {
        b[i - 1] = phi * factorial / h;
        factorial *= i + 1;
        phi = phi / h - 1 / factorial;
    }
}

/* x += scale * sum of weights[k] (m[k + 1] - m[0]) / r[k] over the predictions before this one. */
static void add_changes(const struct sampler_state *s, float *x, double scale, const double *r,
                        const double *weights, float *const *m, int count)
{
    for (int k = 0; k < count; k++) {
        double c = scale * weights[k] / r[k];
        sampler_mix3(x, s->n, 1, x, c, m[k + 1], -c, m[0]);
    }
}

bool unipc_loop(struct sampler_state *s, struct err *err)
{
    float *m[ORDER] = {s->x0, sampler_buffer(s, 0), sampler_buffer(s, 1)}; /* the newest first */
    float *ahead = sampler_buffer(s, 2), *next = sampler_buffer(s, 3);
    if (!sampler_predict(s, s->x, s->sigmas[0], s->x0, err))
        return false;
    for (int i = 0; i < s->steps && !s->finished; i++) {
        double from = s->sigmas[i], to = s->sigmas[i + 1], h = log(from / to);
        int left = s->steps - i, order = i + 1 < ORDER ? i + 1 : ORDER;
        if (order > left)
            order = left;
        double r[ORDER], predictor[ORDER], corrector[ORDER];
        for (int k = 1; k < order; k++)
            r[k - 1] = log(from / s->sigmas[i - k]) / h;
        r[order - 1] = 1;
        right_sides(-h, corrector, order);
        memcpy(predictor, corrector, sizeof predictor);
        /* Of one unknown the paper takes 1/2, which is the limit for h = 0. */
        if (order == 2)
            predictor[0] = 0.5;
        else
            solve(r, predictor, order - 1);
        if (order == 1)
            corrector[0] = 0.5;
        else
            solve(r, corrector, order);

        sampler_euler(s->x, s->n, from, to, s->x, s->x0);
        memcpy(ahead, s->x, s->n * sizeof *ahead);
        add_changes(s, ahead, h, r, predictor, m, order - 1);
        if (left == 1) {
            memcpy(s->x, ahead, s->n * sizeof *ahead);
        } else {
            if (!sampler_predict(s, ahead, to, next, err))
                return false;
            add_changes(s, s->x, h, r, corrector, m, order - 1);
            double c = h * corrector[order - 1];
            sampler_mix3(s->x, s->n, 1, s->x, c, next, -c, s->x0);
            for (int k = ORDER - 1; k > 0; k--)
                memcpy(m[k], m[k - 1], s->n * sizeof *next);
            memcpy(s->x0, next, s->n * sizeof *next);
        }
        if (!sampler_step_done(s, i, err))
            return false;
    }
    return true;
}
