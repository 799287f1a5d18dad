/* schedule.c: The tables are rounded to float32 at each step, as the reference implementations hold
 * them; everything from them is computed in double. */
#include "engine/sample/schedule.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LAST (SCHEDULE_LEVELS - 1)
#define KARRAS_RHO 7.0 /* Karras et al. 2022, table 1 */
#define POLYEXP_RHO 1.0
#define BETA_SHAPE 0.6 /* Lee et al. 2024, "Beta sampling is all you need" */

static const struct pictor_scheduler_info infos[] = {
    [SCHEDULE_AUTOMATIC] = {"automatic", "Automatic", -1, false},
    [SCHEDULE_UNIFORM] = {"uniform", "Uniform", -1, true},
    [SCHEDULE_KARRAS] = {"karras", "Karras", KARRAS_RHO, false},
    [SCHEDULE_EXPONENTIAL] = {"exponential", "Exponential", -1, false},
    [SCHEDULE_POLYEXPONENTIAL] = {"polyexponential", "Polyexponential", POLYEXP_RHO, false},
    [SCHEDULE_SGM_UNIFORM] = {"sgm_uniform", "SGM Uniform", -1, true, "SGMUniform"},
    [SCHEDULE_KL_OPTIMAL] = {"kl_optimal", "KL Optimal", -1, false},
    [SCHEDULE_ALIGN_YOUR_STEPS] = {"align_your_steps", "Align Your Steps", -1, false},
    [SCHEDULE_SIMPLE] = {"simple", "Simple", -1, true},
    [SCHEDULE_NORMAL] = {"normal", "Normal", -1, true},
    [SCHEDULE_DDIM] = {"ddim", "DDIM", -1, true},
    [SCHEDULE_BETA] = {"beta", "Beta", -1, true},
};
#define KINDS (sizeof infos / sizeof *infos)

const struct pictor_scheduler_info *pictor_scheduler_at(int index)
{
    return index >= 0 && (size_t)index < KINDS ? &infos[index] : NULL;
}

/* Equal but for case, spaces and underscores: "SGMUniform" is "sgm_uniform" and "SGM Uniform". */
static bool same_words(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, " _");
        b += strspn(b, " _");
        if (strncasecmp(a, b, 1) != 0)
            return false;
        if (!*a)
            return true;
    }
}

const struct pictor_scheduler_info *pictor_scheduler_find(const char *name)
{
    const struct pictor_scheduler_info *info;
    for (int i = 0; name && *name && (info = pictor_scheduler_at(i)) != NULL; i++)
        if (same_words(info->name, name) || same_words(info->label, name))
            return info;
    return NULL;
}

enum schedule_kind schedule_kind_of(const struct pictor_scheduler_info *info)
{
    assert(info >= infos && info < infos + KINDS);
    return (enum schedule_kind)(info - infos);
}

/* Sabour et al. 2024, "Align your steps". */
static const double aligned[SCHEDULE_ALIGNED] = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396,
                                                 0.963,  0.652, 0.399, 0.152, 0.029};

#define FLOW_MOST 1e6 /* sigma where a flow model's latent is all noise */

/* Noise of a flow model's latent, 0..1, and of the sampler's. */
static double flow_of_sigma(double sigma)
{
    return sigma / (1 + sigma);
}

static double sigma_of_flow(double f)
{
    return f < 1 ? fmin(f / (1 - f), FLOW_MOST) : FLOW_MOST;
}

static void set_level(struct schedule *s, int t, float ac)
{
    s->alphas_cumprod[t] = ac;
    s->sigmas[t] = sqrtf((1.0f - ac) / ac);
    s->log_sigmas[t] = (float)log(s->sigmas[t]);
}

void schedule_init(struct schedule *s, double beta_start, double beta_end)
{
    s->prediction = SCHEDULE_NOISE;
    s->discard_last = false;
    s->aligned = aligned;
    double a = sqrt(beta_start), b = sqrt(beta_end), product = 1;
    for (int t = 0; t < SCHEDULE_LEVELS; t++) {
        double root = a + (b - a) * t / LAST;
        product *= 1 - root * root;
        set_level(s, t, (float)product);
    }
}

void schedule_init_levels(struct schedule *s, const float *alphas_cumprod)
{
    s->prediction = SCHEDULE_NOISE;
    s->aligned = aligned;
    for (int t = 0; t < SCHEDULE_LEVELS; t++)
        set_level(s, t, alphas_cumprod[t]);
}

/* Roots of alphas_cumprod shifted so that the last is 0 and scaled so that the first stays. */
void schedule_zero_terminal(struct schedule *s)
{
    if (s->alphas_cumprod[LAST] < 1e-7f) /* they are there already, as a flow model's always are */
        return;
    float first = sqrtf(s->alphas_cumprod[0]), last = sqrtf(s->alphas_cumprod[LAST]);
    for (int t = 0; t < LAST; t++) {
        float root = (sqrtf(s->alphas_cumprod[t]) - last) * (first / (first - last));
        set_level(s, t, root * root);
    }
    set_level(s, LAST, 4.8973451890853435e-08f);
}

void schedule_init_flow(struct schedule *s, double shift)
{
    s->prediction = SCHEDULE_VELOCITY;
    s->discard_last = false;
    s->aligned = aligned;
    for (int i = 0; i < SCHEDULE_LEVELS; i++) {
        double t = (i + 1) / (double)SCHEDULE_LEVELS;
        double sigma = sigma_of_flow(shift * t / (1 + (shift - 1) * t));
        s->alphas_cumprod[i] = (float)(1 / (1 + sigma * sigma));
        s->sigmas[i] = (float)sigma;
        s->log_sigmas[i] = (float)log(sigma);
    }
}

struct schedule_scales schedule_scales(const struct schedule *s, double sigma)
{
    double root = sqrt(sigma * sigma + 1);
    switch (s->prediction) {
    case SCHEDULE_NOISE:
        return (struct schedule_scales){schedule_t_of_sigma(s, sigma), 1 / root, 1, -sigma};
    case SCHEDULE_V:
        return (struct schedule_scales){schedule_t_of_sigma(s, sigma), 1 / root,
                                        1 / (sigma * sigma + 1), -sigma / root};
    case SCHEDULE_VELOCITY:
        break;
    }
    double f = flow_of_sigma(sigma);
    return (struct schedule_scales){SCHEDULE_LEVELS * f, 1 - f, 1 - f, -f};
}

double schedule_t_of_sigma(const struct schedule *s, double sigma)
{
    if (!(sigma > s->sigmas[0]))
        return 0;
    if (sigma >= s->sigmas[LAST])
        return LAST;
    int low = 0, high = LAST; /* sigmas[low] <= sigma < sigmas[high] */
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (s->sigmas[mid] <= sigma)
            low = mid;
        else
            high = mid;
    }
    if (s->sigmas[low] == sigma)
        return low;
    double w =
        (log(sigma) - s->log_sigmas[low]) / ((double)s->log_sigmas[high] - s->log_sigmas[low]);
    return low + fmax(0, fmin(1, w));
}

double schedule_sigma_of_t(const struct schedule *s, double t)
{
    t = fmax(0, fmin(LAST, t));
    int low = (int)t;
    double w = t - low;
    if (w == 0)
        return s->sigmas[low];
    return exp((1 - w) * s->log_sigmas[low] + w * s->log_sigmas[low + 1]);
}

/* a + (b - a) i / (n - 1), and a when n is 1. */
static double ramp(double a, double b, int i, int n)
{
    return n > 1 ? a + (b - a) * i / (n - 1) : a;
}

double schedule_karras(double high, double low, int i, int n)
{
    return pow(ramp(pow(high, 1 / KARRAS_RHO), pow(low, 1 / KARRAS_RHO), i, n), KARRAS_RHO);
}

/* Log-linear between the table's. */
static double align_your_steps(const double *table, int i, int n)
{
    double at = ramp(0, SCHEDULE_ALIGNED - 1, i, n);
    int low = at < SCHEDULE_ALIGNED - 1 ? (int)at : SCHEDULE_ALIGNED - 2;
    double w = at - low;
    return exp((1 - w) * log(table[low]) + w * log(table[low + 1]));
}

/* Distribution function of Beta(a, a), by the continued fraction of the incomplete beta function
 * (Abramowitz & Stegun 26.5.8, evaluated after Lentz); x <= 1/2, where it converges fast. */
static double beta_cdf_half(double x, double a)
{
    if (x <= 0)
        return 0;
    double front = exp(a * log(x) + a * log1p(-x) + lgamma(2 * a) - 2 * lgamma(a)) / a;
    double c = 1, d = 1 / (1 - 2 * a * x / (a + 1)), f = d;
    for (int m = 1; m < 200; m++) {
        double even = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        f *= c * d;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        f *= c * d;
        if (fabs(c * d - 1) < 1e-15)
            break;
    }
    return front * f;
}

/* The x with Beta(a, a) distribution function p, by bisection; symmetric about 1/2. */
static double beta_quantile(double p, double a)
{
    if (p > 0.5)
        return 1 - beta_quantile(1 - p, a);
    double low = 0, high = 0.5;
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;
        if (beta_cdf_half(mid, a) < p)
            low = mid;
        else
            high = mid;
    }
    return (low + high) / 2;
}

/* Levels 1, 1 + k, 1 + 2k ... below 1000 for k = 1000 / steps. */
static int ddim_stride(int steps)
{
    return steps < SCHEDULE_LEVELS ? SCHEDULE_LEVELS / steps : 1;
}

/* Whether a schedule is a formula between the least and the most noise; others go by the table. */
static bool is_formula(enum schedule_kind kind)
{
    return kind == SCHEDULE_KARRAS || kind == SCHEDULE_EXPONENTIAL ||
           kind == SCHEDULE_POLYEXPONENTIAL || kind == SCHEDULE_KL_OPTIMAL || kind == SCHEDULE_BETA;
}

double *schedule_sigmas(const struct schedule *s, enum schedule_kind kind, int steps, int *count,
                        struct err *err)
{
    assert(steps >= 1);
    bool flow = s->prediction == SCHEDULE_VELOCITY && is_formula(kind);
    double lo = s->sigmas[0], hi = s->sigmas[LAST];
    if (flow) { /* formulas are in the noise that the model sees */
        lo = flow_of_sigma(lo);
        hi = flow_of_sigma(hi);
    }
    int n = steps;
    if (kind == SCHEDULE_DDIM)
        n = (LAST - 1) / ddim_stride(steps) + 1;
    double *out = malloc(((size_t)n + 1) * sizeof *out);
    if (!out) {
        err_set(err, ERR_INTERNAL, "no memory for %d steps", steps);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        switch (kind) {
        case SCHEDULE_AUTOMATIC: /* without a sampler there is no own; uniform is everybody's */
        case SCHEDULE_UNIFORM:
        case SCHEDULE_NORMAL:
            out[i] = schedule_sigma_of_t(s, ramp(LAST, 0, i, n));
            break;
        case SCHEDULE_KARRAS:
            out[i] = schedule_karras(hi, lo, i, n);
            break;
        case SCHEDULE_EXPONENTIAL:
            out[i] = exp(ramp(log(hi), log(lo), i, n));
            break;
        case SCHEDULE_POLYEXPONENTIAL:
            out[i] = exp(pow(ramp(1, 0, i, n), POLYEXP_RHO) * log(hi / lo) + log(lo));
            break;
        case SCHEDULE_SGM_UNIFORM:
            out[i] = schedule_sigma_of_t(s, ramp(LAST, 0, i, n + 1));
            break;
        case SCHEDULE_KL_OPTIMAL:
            out[i] = tan(ramp(atan(hi), atan(lo), i, n + 1));
            break;
        case SCHEDULE_ALIGN_YOUR_STEPS:
            out[i] = align_your_steps(s->aligned, i, n);
            break;
        case SCHEDULE_SIMPLE: /* more steps than levels repeat the lowest */
            out[i] = s->sigmas[LAST - (int)((double)i * SCHEDULE_LEVELS / n)];
            break;
        case SCHEDULE_DDIM:
            out[i] = s->sigmas[1 + (n - 1 - i) * ddim_stride(steps)];
            break;
        case SCHEDULE_BETA:
            out[i] = lo + beta_quantile(ramp(1, 0, i, n), BETA_SHAPE) * (hi - lo);
            break;
        }
    }
    out[n] = kind == SCHEDULE_KL_OPTIMAL ? lo : 0;
    for (int i = 0; flow && i <= n; i++)
        out[i] = sigma_of_flow(out[i]);
    *count = n + 1;
    return out;
}
