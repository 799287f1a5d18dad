/* schedule_test.c: noise levels and schedules against the reference implementations' numbers. */
#include "engine/sample/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/family/stable.h"
#include "tests/golden/schedule_vectors.h"

static struct schedule schedule;

static int setup(void **state)
{
    schedule_init(&schedule, STABLE_BETA_START, STABLE_BETA_END);
    return 0;
}

static void test_table(void **state)
{
    assert_float_equal(schedule.alphas_cumprod[0], 0.99915, 1e-7);
    assert_float_equal(schedule.alphas_cumprod[999], 0.0046600983, 1e-8);
    assert_float_equal(schedule.sigmas[0], 0.02916753, 1e-7);
    assert_float_equal(schedule.sigmas[999], 14.614642, 2e-6);
}

static void test_t_and_sigma(void **state)
{
    for (int t = 0; t < SCHEDULE_LEVELS; t++) {
        assert_true(schedule_t_of_sigma(&schedule, schedule.sigmas[t]) == t);
        assert_true(schedule_sigma_of_t(&schedule, t) == schedule.sigmas[t]);
    }
    for (double t = 0.25; t < 999; t += 7.3)
        assert_float_equal(schedule_t_of_sigma(&schedule, schedule_sigma_of_t(&schedule, t)), t,
                           1e-6);
    assert_true(schedule_t_of_sigma(&schedule, 0) == 0);
    assert_true(schedule_t_of_sigma(&schedule, -1) == 0);
    assert_true(schedule_t_of_sigma(&schedule, NAN) == 0);
    assert_true(schedule_t_of_sigma(&schedule, 1e30) == 999);
    assert_true(schedule_sigma_of_t(&schedule, 5000) == schedule.sigmas[999]);
    assert_true(schedule_sigma_of_t(&schedule, -5) == schedule.sigmas[0]);
}

#define END (-1.0)

static void test_schedules(void **state)
{
    static const struct {
        const char *name;
        int steps;
        double sigmas[24]; /* up to END */
    } cases[] = {
        {"uniform",
         10,
         {14.61464, 7.83988, 4.60917, 2.91831, 1.95016, 1.34493, 0.93236, 0.62498, 0.36866, 0.02917,
          0, END}},
        {"normal",
         10,
         {14.61464, 7.83988, 4.60917, 2.91831, 1.95016, 1.34493, 0.93236, 0.62498, 0.36866, 0.02917,
          0, END}},
        {"karras",
         10,
         {14.61464, 9.10293, 5.47840, 3.16861, 1.74942, 0.91408, 0.44692, 0.20140, 0.08191, 0.02917,
          0, END}},
        {"exponential",
         10,
         {14.61464, 7.32488, 3.67124, 1.84003, 0.92223, 0.46222, 0.23167, 0.11611, 0.05820, 0.02917,
          0, END}},
        {"polyexponential",
         10,
         {14.61464, 7.32488, 3.67124, 1.84003, 0.92223, 0.46222, 0.23167, 0.11611, 0.05820, 0.02917,
          0, END}},
        {"sgm_uniform",
         10,
         {14.61464, 8.30717, 5.09241, 3.32507, 2.27973, 1.61558, 1.16286, 0.83188, 0.57119, 0.34370,
          0, END}},
        {"kl_optimal",
         10,
         {14.61464, 4.56504, 2.63289, 1.78645, 1.29477, 0.96159, 0.71163, 0.50942, 0.33564, 0.17835,
          0.02917, END}},
        {"align_your_steps",
         10,
         {14.615, 6.11351, 3.56511, 2.39387, 1.64996, 1.13579, 0.74252, 0.44501, 0.16921, 0.029, 0,
          END}},
        {"align_your_steps",
         11,
         {14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029, 0, END}},
        {"simple",
         10,
         {14.61464, 8.30280, 5.08776, 3.32108, 2.27646, 1.61289, 1.16058, 0.82986, 0.56928, 0.34167,
          0, END}},
        {"ddim",
         10,
         {8.39068, 5.13443, 3.34776, 2.29285, 1.62369, 1.16822, 0.83565, 0.57405, 0.34619, 0.04131,
          0, END}},
        {"beta",
         10,
         {14.61464, 13.92779, 12.49098, 10.59761, 8.44244, 6.20137, 4.04620, 2.15283, 0.71602,
          0.02917, 0, END}},
        {"karras", 20, {14.61464, 11.72537, 9.34021, 7.38362, 5.78942, 4.49984, 3.46475, 2.64085,
                        1.99092,  1.48322,  1.09079, 0.79095, 0.56472, 0.39639, 0.27304, 0.18417,
                        0.12134,  0.07786,  0.04848, 0.02917, 0,       END}},
        {"uniform", 20, {14.61464, 10.74681, 8.08152, 6.20493, 4.85565, 3.86538, 3.12376, 2.55717,
                         2.11566,  1.76482,  1.48058, 1.24581, 1.04814, 0.87843, 0.72972, 0.59643,
                         0.47358,  0.35555,  0.23216, 0.02917, 0,       END}},
        {"exponential", 20, {14.61464, 10.53632, 7.59608, 5.47633, 3.94812, 2.84637,
                             2.05207,  1.47942,  1.06658, 0.76894, 0.55436, 0.39966,
                             0.28813,  0.20773,  0.14976, 0.10797, 0.07784, 0.05612,
                             0.04046,  0.02917,  0,       END}},
        {"sgm_uniform", 20, {14.61464, 10.90732, 8.30717, 6.44769, 5.09241, 4.08608,
                             3.32507,  2.73908,  2.27973, 1.91321, 1.61558, 1.36964,
                             1.16286,  0.98596,  0.83188, 0.69515, 0.57119, 0.45574,
                             0.34370,  0.22545,  0,       END}},
        {"karras", 1, {14.61464, 0, END}},
        {"uniform", 1, {14.61464, 0, END}},
        {"beta", 1, {14.61464, 0, END}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct pictor_scheduler_info *info = pictor_scheduler_find(cases[i].name);
        assert_non_null(info);
        int count;
        double *got =
            schedule_sigmas(&schedule, schedule_kind_of(info), cases[i].steps, &count, NULL);
        assert_non_null(got);
        int k = 0;
        for (; cases[i].sigmas[k] != END; k++)
            if (k >= count || !(fabs(got[k] - cases[i].sigmas[k]) < 2e-5)) /* printed to 5 places */
                fail_msg("%s %d [%d]: %g wanted, got %g", cases[i].name, cases[i].steps, k,
                         cases[i].sigmas[k], k < count ? got[k] : NAN);
        assert_int_equal(k, count);
        free(got);
    }
}

/* Between other ends, with another rho, by other distributions. */
static void test_told(void **state)
{
    for (size_t i = 0; i < sizeof schedule_vectors / sizeof *schedule_vectors; i++) {
        const struct schedule_vector *v = &schedule_vectors[i];
        struct schedule s = schedule;
        s.sigma_min = v->low;
        s.sigma_max = v->high;
        s.rho = v->rho;
        s.beta_alpha = v->alpha;
        s.beta_beta = v->beta;
        int count;
        double *got = schedule_sigmas(&s, schedule_kind_of(pictor_scheduler_find(v->name)),
                                      v->steps, &count, NULL);
        assert_non_null(got);
        assert_int_equal(count, v->count);
        for (int k = 0; k < count; k++) /* k-diffusion has them in F32, of which powers are made */
            if (!(fabs(got[k] - v->sigmas[k]) <= 2e-5 * v->sigmas[k] + 2e-6))
                fail_msg(
                    "%s of %d steps, %g to %g, rho %g, beta %g %g, [%d]: %.7g wanted, got %.7g",
                    v->name, v->steps, v->low, v->high, v->rho, v->alpha, v->beta, k, v->sigmas[k],
                    got[k]);
        free(got);
    }
}

/* Whatever is said: finite and falling, or an error. */
static void test_told_extremes(void **state)
{
    static const double sigmas[] = {0, 1e-9, 0.029, 1, 14.7, 1000};
    static const double rhos[] = {0, 0.1, 1, 100}, shapes[] = {0, 0.01, 1, 10};
    for (int i = 0; i < 6 * 6 * 4 * 4 * 4; i++) {
        struct schedule s = schedule;
        s.sigma_min = sigmas[i % 6];
        s.sigma_max = sigmas[i / 6 % 6];
        s.rho = rhos[i / 36 % 4];
        s.beta_alpha = shapes[i / 144 % 4];
        s.beta_beta = shapes[i / 576];
        double low = s.sigma_min > 0 ? s.sigma_min : schedule.sigmas[0];
        double high = s.sigma_max > 0 ? s.sigma_max : schedule.sigmas[SCHEDULE_LEVELS - 1];
        for (int kind = 0; pictor_scheduler_at(kind); kind++) {
            int count;
            struct err err = {0};
            double *got = schedule_sigmas(&s, kind, 12, &count, &err);
            if (pictor_scheduler_at(kind)->has_ends && low >= high) {
                assert_null(got);
                assert_int_equal(err.code, ERR_INVALID);
                continue;
            }
            assert_non_null(got);
            for (int k = 0; k < count; k++) {
                assert_true(isfinite(got[k]) && got[k] >= 0 && got[k] <= 1000.001);
                assert_true(k == 0 || got[k] <= got[k - 1] * (1 + 1e-12));
            }
            free(got);
        }
    }
}

/* Every kind at every size: falling, finite, within the model's range. */
static void test_shapes(void **state)
{
    static const int sizes[] = {1, 2, 3, 7, 30, 333, 999, 1000, 1001, 5000};
    for (int kind = 0; pictor_scheduler_at(kind); kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int count;
            double *s = schedule_sigmas(&schedule, kind, sizes[i], &count, NULL);
            assert_non_null(s);
            if (kind != SCHEDULE_DDIM)
                assert_int_equal(count, sizes[i] + 1);
            for (int k = 0; k < count; k++) {
                assert_true(s[k] >= 0 && s[k] < 14.6151);
                assert_true(k == 0 || s[k] <= s[k - 1]);
            }
            assert_true(s[count - 1] == (kind == SCHEDULE_KL_OPTIMAL ? schedule.sigmas[0] : 0));
            free(s);
        }
    int count;
    free(schedule_sigmas(&schedule, SCHEDULE_DDIM, 30, &count, NULL));
    assert_int_equal(count, 32);
}

/* A family's own table counts. */
static void test_align_your_steps(void **state)
{
    static const double table[SCHEDULE_ALIGNED] = {11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
    struct schedule s = schedule;
    s.aligned = table;
    int count;
    double *sigmas = schedule_sigmas(&s, SCHEDULE_ALIGN_YOUR_STEPS, 11, &count, NULL);
    assert_non_null(sigmas);
    assert_int_equal(count, 12);
    for (int i = 0; i < 11; i++)
        assert_true(fabs(sigmas[i] - table[i]) < 1e-9);
    free(sigmas);
}

/* The first level stays, the last is nearly all noise, and t and sigma still are each other's. */
static void test_zero_terminal(void **state)
{
    struct schedule s = schedule;
    schedule_zero_terminal(&s);
    assert_true(fabs(s.sigmas[0] / schedule.sigmas[0] - 1) < 1e-3);
    assert_true(fabs(s.sigmas[SCHEDULE_LEVELS - 1] - 4518.7) < 0.2);
    for (int t = 1; t < SCHEDULE_LEVELS; t++) {
        assert_true(s.sigmas[t] > s.sigmas[t - 1]);
        assert_true(schedule_t_of_sigma(&s, s.sigmas[t]) == t);
    }
}

static void test_names(void **state)
{
    static const char *const same[] = {"sgm_uniform", "SGM Uniform", "SGMUniform", "sgm uniform"};
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(pictor_scheduler_find(same[i]), pictor_scheduler_at(SCHEDULE_SGM_UNIFORM));
    assert_string_equal(pictor_scheduler_find("KARRAS")->label, "Karras");
    assert_true(pictor_scheduler_find("karras")->default_rho == 7);
    static const char *const unknown[] = {"", " ", "_", "karra", "karrass", "uniform karras"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_null(pictor_scheduler_find(unknown[i]));
    assert_null(pictor_scheduler_find(NULL));
    assert_null(pictor_scheduler_at(-1));
    int n = 0;
    while (pictor_scheduler_at(n)) {
        assert_int_equal(schedule_kind_of(pictor_scheduler_at(n)), n);
        n++;
    }
    assert_int_equal(n, SCHEDULE_BETA + 1);
}

/* Published sigmas of FLUX.2 klein in 4 steps at 512x512, whose shift is e^2.03069, and of Z-Image
 * in 8 steps, whose shift is 3: noise of a flow model's latent, sigma of the samplers' over 1 +
 * sigma. */
static void test_flow(void **state)
{
    static const double klein[] = {1, 0.95809, 0.88398, 0.71750, 0};
    static const double zimage[] = {1, 0.954545, 0.9, 0.833333, 0.75, 0.642857, 0.5, 0.3, 0};
    const struct {
        double shift;
        int steps;
        const double *want;
    } cases[] = {{exp(2.03069), 4, klein}, {3, 8, zimage}};
    struct schedule flow;
    for (int i = 0; i < 2; i++) {
        int count;
        schedule_init_flow(&flow, cases[i].shift);
        double *sigmas = schedule_sigmas(&flow, SCHEDULE_SIMPLE, cases[i].steps, &count, NULL);
        assert_non_null(sigmas);
        assert_int_equal(count, cases[i].steps + 1);
        for (int k = 0; k < count; k++) {
            struct schedule_scales s = schedule_scales(&flow, sigmas[k]);
            double f = cases[i].want[k];
            assert_true(fabs(s.t / 1000 - f) < 1e-5);
            assert_true(fabs(s.in - (1 - f)) < 1e-5 && fabs(s.skip - (1 - f)) < 1e-5);
            assert_true(fabs(s.out + f) < 1e-5);
        }
        free(sigmas);
    }
    /* A formula is in the noise that the model sees: the middle of three exponential steps. */
    int count;
    schedule_init_flow(&flow, 1);
    double *sigmas = schedule_sigmas(&flow, SCHEDULE_EXPONENTIAL, 3, &count, NULL);
    assert_non_null(sigmas);
    assert_true(fabs(schedule_scales(&flow, sigmas[1]).t / 1000 - sqrt(0.001)) < 1e-6);
    free(sigmas);
}

/* What is put in and what comes out: a network that is right gives the x0 that x was made from. */
static void test_scales(void **state)
{
    struct schedule s = schedule;
    const double x0 = 0.7, noise = -1.3;
    for (int i = 0; i < 3; i++) {
        enum schedule_prediction kinds[] = {SCHEDULE_NOISE, SCHEDULE_V, SCHEDULE_VELOCITY};
        if (kinds[i] == SCHEDULE_VELOCITY)
            schedule_init_flow(&s, 3);
        s.prediction = kinds[i];
        for (int t = 0; t < SCHEDULE_LEVELS - 1; t += 37) {
            double sigma = s.sigmas[t], a = 1 / sqrt(1 + sigma * sigma), b = sigma * a;
            struct schedule_scales c = schedule_scales(&s, sigma);
            double answer = kinds[i] == SCHEDULE_NOISE ? noise
                            : kinds[i] == SCHEDULE_V   ? a * noise - b * x0
                                                       : noise - x0;
            double x = x0 + sigma * noise;
            assert_true(fabs(c.skip * x + c.out * answer - x0) < 1e-9 * (1 + sigma));
            if (kinds[i] == SCHEDULE_VELOCITY)
                assert_true(fabs(c.in - 1 / (1 + sigma)) < 1e-12);
            else
                assert_true(fabs(c.in - a) < 1e-12 && fabs(c.t - t) < 1e-9);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),         cmocka_unit_test(test_t_and_sigma),
        cmocka_unit_test(test_schedules),     cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_flow),
        cmocka_unit_test(test_scales),        cmocka_unit_test(test_align_your_steps),
        cmocka_unit_test(test_zero_terminal), cmocka_unit_test(test_told),
        cmocka_unit_test(test_told_extremes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
