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
    [SCHEDULE_KARRAS] = {"karras", "Karras", KARRAS_RHO, false, .has_ends = true},
    [SCHEDULE_EXPONENTIAL] = {"exponential", "Exponential", -1, false, .has_ends = true},
    [SCHEDULE_POLYEXPONENTIAL] = {"polyexponential", "Polyexponential", POLYEXP_RHO, false,
                                  .has_ends = true},
    [SCHEDULE_SGM_UNIFORM] = {"sgm_uniform", "SGM Uniform", -1, true, "SGMUniform",
                              .has_ends = true},
    [SCHEDULE_KL_OPTIMAL] = {"kl_optimal", "KL Optimal", -1, false, .has_ends = true},
    [SCHEDULE_ALIGN_YOUR_STEPS] = {"align_your_steps", "Align Your Steps", -1, false},
    [SCHEDULE_SIMPLE] = {"simple", "Simple", -1, true},
    [SCHEDULE_NORMAL] = {"normal", "Normal", -1, true, .has_ends = true},
    [SCHEDULE_DDIM] = {"ddim", "DDIM", -1, true},
    [SCHEDULE_BETA] = {"beta", "Beta", -1, true, .has_ends = true, .has_beta = true},
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

double schedule_flow(double sigma)
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

/* All but the levels. */
static void begin(struct schedule *s, enum schedule_prediction prediction)
{
    s->prediction = prediction;
    s->discard_last = false;
    s->shift = 1;
    s->aligned = aligned;
    s->sigma_min = s->sigma_max = s->rho = s->beta_alpha = s->beta_beta = 0;
}

void schedule_init(struct schedule *s, double beta_start, double beta_end)
{
    begin(s, SCHEDULE_NOISE);
    double a = sqrt(beta_start), b = sqrt(beta_end), product = 1;
    for (int t = 0; t < SCHEDULE_LEVELS; t++) {
        double root = a + (b - a) * t / LAST;
        product *= 1 - root * root;
        set_level(s, t, (float)product);
    }
}

void schedule_init_levels(struct schedule *s, const float *alphas_cumprod)
{
    begin(s, SCHEDULE_NOISE);
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

/* Of a flow model at time t, 0..1. */
static double shifted_sigma(double shift, double t)
{
    return sigma_of_flow(shift * t / (1 + (shift - 1) * t));
}

void schedule_init_flow(struct schedule *s, double shift)
{
    begin(s, SCHEDULE_VELOCITY);
    s->shift = shift;
    for (int i = 0; i < SCHEDULE_LEVELS; i++) {
        double sigma = shifted_sigma(shift, (i + 1) / (double)SCHEDULE_LEVELS);
        s->alphas_cumprod[i] = (float)(1 / (1 + sigma * sigma));
        s->sigmas[i] = (float)sigma;
        s->log_sigmas[i] = (float)log(sigma);
    }
}

void schedule_tell(struct schedule *s, const struct pictor_sampling *told)
{
    s->discard_last = told->discard_last;
    s->sigma_min = told->sigma_min;
    s->sigma_max = told->sigma_max;
    s->rho = told->rho;
    s->beta_alpha = told->beta_alpha;
    s->beta_beta = told->beta_beta;
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
    double f = schedule_flow(sigma);
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

static double karras(double high, double low, double rho, int i, int n)
{
    return pow(ramp(pow(high, 1 / rho), pow(low, 1 / rho), i, n), rho);
}

double schedule_karras(double high, double low, int i, int n)
{
    return karras(high, low, KARRAS_RHO, i, n);
}

/* Log-linear between the table's. */
static double align_your_steps(const double *table, int i, int n)
{
    double at = ramp(0, SCHEDULE_ALIGNED - 1, i, n);
    int low = at < SCHEDULE_ALIGNED - 1 ? (int)at : SCHEDULE_ALIGNED - 2;
    double w = at - low;
    return exp((1 - w) * log(table[low]) + w * log(table[low + 1]));
}

/* Distribution function of Beta(a, b), by the continued fraction of the incomplete beta function
 * (Abramowitz & Stegun 26.5.8, evaluated after Lentz), from the end where it converges fast. */
static double beta_cdf(double x, double a, double b)
{
    if (x <= 0)
        return 0;
    if (x > (a + 1) / (a + b + 2))
        return 1 - beta_cdf(1 - x, b, a);
    double logs = a * log(x) + b * log1p(-x);
    double front = exp(logs + lgamma(a + b) - (lgamma(a) + lgamma(b))) / a;
    double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), f = d;
    for (int m = 1; m < 200; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
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

/* The x with Beta(a, b) distribution function p, by bisection of the half that it is in; near 1 it
 * is found as what is missing to 1. */
static double beta_quantile(double p, double a, double b)
{
    bool upper = p > (a == b ? 0.5 : beta_cdf(0.5, a, b));
    double low = 0, high = 0.5, wanted = upper ? 1 - p : p;
    double near = upper ? b : a, far = upper ? a : b;
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;
        if (beta_cdf(mid, near, far) < wanted)
            low = mid;
        else
            high = mid;
    }
    return upper ? 1 - (low + high) / 2 : (low + high) / 2;
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
    bool ends = infos[kind].has_ends;
    double lo = ends && s->sigma_min > 0 ? s->sigma_min : s->sigmas[0];
    double hi = ends && s->sigma_max > 0 ? s->sigma_max : s->sigmas[LAST];
    double t_lo = schedule_t_of_sigma(s, lo), t_hi = schedule_t_of_sigma(s, hi);
    double rho = s->rho > 0 ? s->rho : infos[kind].default_rho;
    double alpha = s->beta_alpha > 0 ? s->beta_alpha : BETA_SHAPE;
    double beta = s->beta_beta > 0 ? s->beta_beta : BETA_SHAPE;
    if (!(lo < hi)) {
        err_set(err, ERR_INVALID,
                "the schedule's least noise (sigma_min %g) must be below its most (sigma_max %g)",
                lo, hi);
        return NULL;
    }
    if (flow) { /* formulas are in the noise that the model sees */
        lo = schedule_flow(lo);
        hi = schedule_flow(hi);
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
            out[i] = schedule_sigma_of_t(s, ramp(t_hi, t_lo, i, n));
            break;
        case SCHEDULE_KARRAS:
            out[i] = karras(hi, lo, rho, i, n);
            break;
        case SCHEDULE_EXPONENTIAL:
            out[i] = exp(ramp(log(hi), log(lo), i, n));
            break;
        case SCHEDULE_POLYEXPONENTIAL:
            out[i] = exp(pow(ramp(1, 0, i, n), rho) * log(hi / lo) + log(lo));
            break;
        case SCHEDULE_SGM_UNIFORM:
            out[i] = schedule_sigma_of_t(s, ramp(t_hi, t_lo, i, n + 1));
            break;
        case SCHEDULE_KL_OPTIMAL:
            out[i] = tan(ramp(atan(hi), atan(lo), i, n + 1));
            break;
        case SCHEDULE_ALIGN_YOUR_STEPS:
            out[i] = align_your_steps(s->aligned, i, n);
            break;
        case SCHEDULE_SIMPLE: /* more steps than levels repeat the lowest */
            out[i] = s->prediction == SCHEDULE_VELOCITY
                         ? shifted_sigma(s->shift, 1 - (double)i / n)
                         : s->sigmas[LAST - (int)((double)i * SCHEDULE_LEVELS / n)];
            break;
        case SCHEDULE_DDIM:
            out[i] = s->sigmas[1 + (n - 1 - i) * ddim_stride(steps)];
            break;
        case SCHEDULE_BETA:
            out[i] = lo + beta_quantile(ramp(1, 0, i, n), alpha, beta) * (hi - lo);
            break;
        }
    }
    out[n] = kind == SCHEDULE_KL_OPTIMAL ? lo : 0;
    for (int i = 0; flow && i <= n; i++)
        out[i] = sigma_of_flow(out[i]);
    *count = n + 1;
    return out;
}
