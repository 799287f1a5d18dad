/* sampler_test.c: samplers against k-diffusion's loops, on a denoiser that is a formula; see
 * tests/golden/sampler_vectors.py. */
#include "engine/sample/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/family/stable.h"
#include "engine/pipeline/guided.h"
#include "engine/sample/blend.h"
#include "tests/golden/sampler_vectors.h"

#define PIXELS 16
#define CHANNELS 2
#define N (PIXELS * CHANNELS)
/* Latents of up to 15 in float32 over 30 steps, against float64: 1e-6 each way is seen. LCM leaves
 * out scalings of 7e-6. */
#define TOLERANCE 1e-5

/* DPM fast goes all the way in a few steps, whose weights of 10 enlarge what float32 loses. What
 * DPM adaptive takes for the length of a step hangs on differences of predictions; without fresh
 * noise its steps are the longest, and least exact. */
static double tolerance_of(const char *sampler, double eta)
{
    if (strcmp(sampler, "DPM adaptive") == 0 && eta == 0)
        return 1e-3;
    return strncmp(sampler, "DPM fast", 8) == 0 || strcmp(sampler, "DPM adaptive") == 0 ? 1e-4
                                                                                        : TOLERANCE;
}

static struct schedule schedule;

static int setup(void **state)
{
    schedule_init(&schedule, STABLE_BETA_START, STABLE_BETA_END);
    return 0;
}

/* Data of +-1 with a spread of 0.5: the mean of what x may have been. Without a prompt they are
 * around 0 with a spread of 1. */
static bool mixture(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err)
{
    double s2 = sigma * sigma, v = 0.25;
    for (int i = 0; i < N; i++)
        x0[i] = (float)((v * x[i] + s2 * tanh(x[i] / (v + s2))) / (v + s2));
    for (int i = 0; i < N && uncond; i++)
        uncond[i] = (float)(x[i] / (1 + s2));
    if (ctx)
        ++*(int *)ctx;
    return true;
}

struct job {
    const char *sampler, *scheduler, *mode;
    int steps;
    double strength, eta;
    bool masked;
    struct denoiser denoiser;
    enum sampler_verdict (*on_step)(void *ctx, int step, const float *x0);
    void *ctx;
};

static const struct sampler_noise_vector *told; /* what paint() tells about noise; NULL: nothing */

/* Paints from seed 5 over the test's initial latent; `end` is channels-last. */
static bool paint(const struct job *job, float end[N], struct sampler_plan *plan, struct err *err)
{
    const struct sampler *sampler = sampler_find(job->sampler, NULL);
    assert_non_null(sampler);
    enum schedule_kind kind = schedule_kind_of(pictor_scheduler_find(job->scheduler));
    bool text = strcmp(job->mode, "text") == 0;
    bool ok =
        text ? sampler_plan_text(plan, sampler, kind, &schedule, job->steps, err)
        : strcmp(job->mode, "hires") == 0
            ? sampler_plan_hires(plan, sampler, kind, &schedule, job->steps, job->strength, err)
            : sampler_plan_image(plan, sampler, kind, &schedule, job->steps, job->strength, err);
    if (!ok)
        return false;

    struct noise noise;
    float draw[N], start[N], init_planar[N], init[N], mask[PIXELS], shown[N];
    noise_init(&noise, PICTOR_RNG_NV, 5);
    noise_draw(&noise, draw, N);
    noise_channels_last(start, draw, CHANNELS, PIXELS);
    for (int i = 0; i < N; i++)
        init_planar[i] = (float)(0.8 * sin(i));
    noise_channels_last(init, init_planar, CHANNELS, PIXELS);
    for (int i = 0; i < PIXELS; i++)
        mask[i] = i % 3 != 0;
    sampler_start(plan, end, text ? NULL : init, start, N);

    struct blend blend = {job->denoiser, init, mask, PIXELS, CHANNELS, sampler->timesteps, shown};
    struct sampler_run run = {
        .sampler = sampler,
        .plan = plan,
        .pixels = PIXELS,
        .channels = CHANNELS,
        .denoiser = job->masked ? blend_denoiser(&blend) : job->denoiser,
        .noise = &noise,
        .eta = job->eta < 0 ? NAN : job->eta,
        .churn = told ? told->churn : 0,
        .churn_low = told ? told->low : 0,
        .churn_high = told ? told->high : 0,
        .noise_scale = told ? told->scale : 1,
        .on_step = job->on_step,
        .ctx = job->ctx,
    };
    /* Exactly the scratch it asks for, so that an overrun is seen. */
    float *scratch = malloc((size_t)sampler->buffers * N * sizeof *scratch);
    ok = sampler_run(&run, end, scratch, err);
    free(scratch);
    if (ok && job->masked)
        blend_apply(&blend, end);
    return ok;
}

/* DPM adaptive reports between steps, too. */
static enum sampler_verdict count_steps(void *ctx, int step, const float *x0)
{
    int *count = ctx;
    assert_true(step == *count + 1 || step == *count);
    *count = step;
    return SAMPLER_CONTINUE;
}

static void test_vectors(void **state)
{
    double worst = 0;
    for (size_t k = 0; k < sizeof sampler_vectors / sizeof *sampler_vectors; k++) {
        const struct sampler_vector *v = &sampler_vectors[k];
        float end[N];
        struct sampler_plan plan;
        struct err err;
        int steps = 0;
        struct job job = {v->sampler, v->scheduler, v->mode,         v->steps,    v->strength,
                          v->eta,     v->masked,    {mixture, NULL}, count_steps, &steps};
        assert_true(paint(&job, end, &plan, &err));
        assert_int_equal(plan.steps, v->plan_steps);
        assert_int_equal(steps, plan.steps);
        for (int i = 0; i < N; i++) {
            double want = v->end[i % CHANNELS * PIXELS + i / CHANNELS];
            worst = fmax(worst, fabs(end[i] - want));
            if (!(fabs(end[i] - want) < tolerance_of(v->sampler, v->eta)))
                fail_msg("%s, %s, %d steps, %s %g, eta %g, [%d]: %.7f wanted, got %.7f", v->sampler,
                         v->scheduler, v->steps, v->mode, v->strength, v->eta, i, want, end[i]);
        }
        sampler_plan_free(&plan);
    }
    print_message("worst difference %.1e\n", worst);
}

/* Every sampler that takes a schedule with each of them. */
static void test_pairs(void **state)
{
    double worst = 0;
    for (size_t k = 0; k < sizeof sampler_pairs / sizeof *sampler_pairs; k++) {
        const struct sampler_pair *v = &sampler_pairs[k];
        float end[N];
        struct sampler_plan plan;
        struct err err;
        struct job job = {v->sampler, v->scheduler, "text",          10,   1,
                          -1,         false,        {mixture, NULL}, NULL, NULL};
        assert_true(paint(&job, end, &plan, &err));
        for (int i = 0; i < 4; i++) {
            double got = end[i * CHANNELS];
            worst = fmax(worst, fabs(got - v->end[i]));
            if (!(fabs(got - v->end[i]) < tolerance_of(v->sampler, -1)))
                fail_msg("%s, %s, [%d]: %.7f wanted, got %.7f", v->sampler, v->scheduler, i,
                         v->end[i], got);
        }
        sampler_plan_free(&plan);
    }
    print_message("%zu pairs, worst difference %.1e\n",
                  sizeof sampler_pairs / sizeof *sampler_pairs, worst);
}

static void test_noise(void **state)
{
    for (size_t k = 0; k < sizeof sampler_noise_vectors / sizeof *sampler_noise_vectors; k++) {
        const struct sampler_noise_vector *v = &sampler_noise_vectors[k];
        float end[N];
        struct sampler_plan plan;
        struct job job = {.sampler = v->sampler,
                          .scheduler = v->scheduler,
                          .mode = "text",
                          .steps = 10,
                          .eta = -1,
                          .denoiser = {mixture, NULL}};
        told = v;
        assert_true(paint(&job, end, &plan, NULL));
        told = NULL;
        for (int i = 0; i < 4; i++)
            if (!(fabs(end[i * CHANNELS] - v->end[i]) < TOLERANCE))
                fail_msg("%s, %s, churn %g, scale %g, [%d]: %.7f wanted, got %.7f", v->sampler,
                         v->scheduler, v->churn, v->scale, i, v->end[i], end[i * CHANNELS]);
        sampler_plan_free(&plan);
    }
}

static void test_rescale(void **state)
{
    float guided[12], cond[12];
    for (int i = 0; i < 12; i++) {
        guided[i] = (float)(2 * sin(3 * i) + 0.3);
        cond[i] = (float)(0.7 * cos(2 * i));
    }
    guided_rescale(guided, cond, 12, 0.7);
    for (int i = 0; i < 12; i++)
        assert_float_equal(guided[i], rescaled_vector[i], 1e-6);
}

/* The smallest level before 0 is left out when the schedule says so. */
static void test_discard(void **state)
{
    struct schedule s = schedule;
    struct sampler_plan plan, longer;
    const struct sampler *euler = sampler_find("Euler", NULL);
    assert_true(sampler_plan_text(&longer, euler, SCHEDULE_KARRAS, &s, 11, NULL));
    s.discard_last = true;
    assert_true(sampler_plan_text(&plan, euler, SCHEDULE_KARRAS, &s, 10, NULL));
    assert_int_equal(plan.steps, 10);
    for (int i = 0; i < 10; i++)
        assert_true(plan.sigmas[i] == longer.sigmas[i]);
    assert_true(plan.sigmas[10] == 0);
    sampler_plan_free(&plan);
    sampler_plan_free(&longer);
}

/* Every sampler with every schedule and the awkward numbers of steps ends in finite numbers. */
static void test_all_finite(void **state)
{
    static const int steps[] = {1, 2, 3, 4, 5, 50, 1000};
    static const double strengths[] = {0, 0.01, 0.5, 1};
    static const char *const modes[] = {"text", "image", "hires"};
    for (int s = 0; pictor_sampler_at(s); s++)
        for (int kind = 0; pictor_scheduler_at(kind); kind++)
            for (size_t i = 0; i < 7 * 4 * 3; i++) {
                struct job job = {pictor_sampler_at(s)->name,
                                  pictor_scheduler_at(kind)->name,
                                  modes[i % 3],
                                  steps[i / 12],
                                  strengths[i / 3 % 4],
                                  -1,
                                  false,
                                  {mixture, NULL},
                                  NULL,
                                  NULL};
                float end[N];
                struct sampler_plan plan;
                if (job.steps == 1000 && kind > SCHEDULE_KARRAS && kind != SCHEDULE_SIMPLE)
                    continue;
                /* The last of 100,000 levels predict nothing about the way to 0 that follows. */
                if (job.steps == 1000 && job.strength < 0.1 && strcmp(job.sampler, "LMS") == 0)
                    continue;
                assert_true(paint(&job, end, &plan, NULL));
                for (int k = 0; k < N; k++)
                    if (!(fabs(end[k]) < 50)) /* two steps of Heun do overshoot */
                        fail_msg("%s, %s, %d steps, %s %g: %g", job.sampler, job.scheduler,
                                 job.steps, job.mode, job.strength, end[k]);
                if (strcmp(job.mode, "hires") == 0 && job.strength > 0 &&
                    !sampler_find(job.sampler, NULL)->timesteps &&
                    !sampler_find(job.sampler, NULL)->distilled &&
                    !sampler_find(job.sampler, NULL)->restarts && kind != SCHEDULE_SIMPLE &&
                    kind != SCHEDULE_DDIM)
                    assert_int_equal(plan.steps, job.steps);
                sampler_plan_free(&plan);
            }
}

static void test_strength_zero(void **state)
{
    struct sampler_plan plan;
    float end[N];
    struct job job = {"Euler", "automatic", "hires", 20, 0, -1, false, {mixture, NULL}, NULL, NULL};
    assert_true(paint(&job, end, &plan, NULL));
    assert_int_equal(plan.steps, 0);
    assert_float_equal(end[2], 0.8 * sin(1), 1e-6); /* pixel 1 of channel 0, untouched */
    sampler_plan_free(&plan);

    job.mode = "image";
    assert_true(paint(&job, end, &plan, NULL));
    assert_int_equal(plan.steps, 1);
    sampler_plan_free(&plan);
}

static void test_one_step_is_the_prediction(void **state)
{
    for (int s = 0; pictor_sampler_at(s); s++) {
        const struct sampler *sampler = sampler_find(pictor_sampler_at(s)->name, NULL);
        int calls = 0;
        struct job job = {sampler->info.name, "automatic", "text", 1, 1, -1, false,
                          {mixture, &calls},  NULL,        NULL};
        float end[N];
        struct sampler_plan plan;
        assert_true(paint(&job, end, &plan, NULL));
        assert_int_equal(plan.steps, 1);
        /* PLMS' first step is of two calls; DPM adaptive takes as many as it likes. */
        if (strcmp(job.sampler, "DPM adaptive") != 0)
            assert_int_equal(calls, strcmp(job.sampler, "PLMS") == 0 ? 2 : 1);
        sampler_plan_free(&plan);
    }
}

struct stop {
    int at, calls;
    enum sampler_verdict verdict;
    float x0[N];
};

static enum sampler_verdict stop_at(void *ctx, int step, const float *x0)
{
    struct stop *stop = ctx;
    stop->calls++;
    memcpy(stop->x0, x0, sizeof stop->x0);
    return step == stop->at ? stop->verdict : SAMPLER_CONTINUE;
}

static void test_stopping(void **state)
{
    for (int s = 0; pictor_sampler_at(s); s++) {
        struct stop stop = {4, 0, SAMPLER_FINISH, {0}};
        struct job job = {pictor_sampler_at(s)->name,
                          "automatic",
                          "text",
                          12,
                          1,
                          -1,
                          false,
                          {mixture, NULL},
                          stop_at,
                          &stop};
        float end[N];
        struct sampler_plan plan;
        struct err err = {0};
        assert_true(paint(&job, end, &plan, &err));
        bool adaptive = strcmp(job.sampler, "DPM adaptive") == 0; /* reports between steps, too */
        assert_true(stop.calls == 4 || (adaptive && stop.calls > 4));
        assert_memory_equal(end, stop.x0, sizeof end);
        sampler_plan_free(&plan);

        stop = (struct stop){4, 0, SAMPLER_CANCEL, {0}};
        assert_false(paint(&job, end, &plan, &err));
        assert_int_equal(err.code, ERR_CANCELLED);
        assert_true(stop.calls == 4 || (adaptive && stop.calls > 4));
        sampler_plan_free(&plan);
    }
}

static bool broken(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                   struct err *err)
{
    return err_set(err, ERR_INTERNAL, "broken at %g", sigma);
}

static void test_failing_denoiser(void **state)
{
    for (int s = 0; pictor_sampler_at(s); s++)
        for (int masked = 0; masked < 2; masked++) {
            struct job job = {pictor_sampler_at(s)->name,
                              "automatic",
                              "text",
                              5,
                              1,
                              -1,
                              masked,
                              {broken, NULL},
                              NULL,
                              NULL};
            float end[N];
            struct sampler_plan plan;
            struct err err = {0};
            assert_false(paint(&job, end, &plan, &err));
            assert_int_equal(err.code, ERR_INTERNAL);
            sampler_plan_free(&plan);
        }
}

static void test_bad_plans(void **state)
{
    const struct sampler *euler = sampler_find("Euler", NULL);
    static const int steps[] = {0, -1, 1001, INT32_MIN};
    static const double strengths[] = {-0.1, 1.1, NAN};
    struct sampler_plan plan;
    for (size_t i = 0; i < 4; i++) {
        struct err err = {0};
        assert_false(sampler_plan_text(&plan, euler, SCHEDULE_KARRAS, &schedule, steps[i], &err));
        assert_int_equal(err.code, ERR_INVALID);
        sampler_plan_free(&plan);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_false(
            sampler_plan_image(&plan, euler, SCHEDULE_KARRAS, &schedule, 20, strengths[i], NULL));
        assert_false(
            sampler_plan_hires(&plan, euler, SCHEDULE_KARRAS, &schedule, 20, strengths[i], NULL));
        sampler_plan_free(&plan);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *name, *sampler, *scheduler;
    } cases[] = {
        {"Euler a", "Euler a", NULL},
        {"euler A", "Euler a", NULL},
        {"k_euler_a", "Euler a", NULL},
        {"K_EULER_ANCESTRAL", "Euler a", NULL},
        {"euler_ancestral", "Euler a", NULL},
        {"dpmpp_2m", "DPM++ 2M", NULL},
        {"DPM++ 2M Karras", "DPM++ 2M", "automatic"}, /* its own */
        {"DPM++ 2M Exponential", "DPM++ 2M", "exponential"},
        {"DPM++ SDE Karras", "DPM++ SDE", "automatic"},
        {"DPM++ 2M SDE Karras", "DPM++ 2M SDE", "karras"},
        {"DPM++ 2M SDE Heun", "DPM++ 2M SDE Heun", NULL},
        {"DPM++ 2M SDE Heun Exponential", "DPM++ 2M SDE Heun", "automatic"},
        {"DPM++ 2M SGMUniform", "DPM++ 2M", "sgm_uniform"},
        {"dpm++ 2m sgm uniform", "DPM++ 2M", "sgm_uniform"},
        {"Euler a Align Your Steps", "Euler a", "align_your_steps"},
        {"LMS Karras", "LMS", "karras"},
        {"Euler Uniform", "Euler", "automatic"},
        {"DDIM", "DDIM", NULL},
        {"ddim", "DDIM", NULL},
        {"", NULL, NULL},
        {" ", NULL, NULL},
        {" Karras", NULL, NULL},
        {"Karras", NULL, NULL},
        {"Euler ", NULL, NULL},
        {"Euler  a", NULL, NULL},
        {"k_", NULL, NULL},
        {"no such sampler with a name that is far longer than any sampler's Karras", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct pictor_scheduler_info *scheduler = pictor_scheduler_at(0);
        const struct pictor_sampler_info *got = pictor_sampler_find(cases[i].name, &scheduler);
        if (!got != !cases[i].sampler || !scheduler != !cases[i].scheduler)
            fail_msg("'%s': got %s, %s", cases[i].name, got ? got->name : "none",
                     scheduler ? scheduler->name : "none");
        if (got)
            assert_string_equal(got->name, cases[i].sampler);
        if (scheduler)
            assert_string_equal(scheduler->name, cases[i].scheduler);
    }
    assert_null(pictor_sampler_find(NULL, NULL));
    assert_non_null(pictor_sampler_find("Heun Karras", NULL));
    for (int s = 0; pictor_sampler_at(s); s++) {
        const struct pictor_sampler_info *info = pictor_sampler_at(s);
        assert_ptr_equal(pictor_sampler_find(info->name, NULL), info);
        assert_ptr_equal(pictor_sampler_find(info->alias, NULL), info);
        assert_non_null(pictor_scheduler_find(info->default_scheduler));
    }
    assert_null(pictor_sampler_at(-1));
}

/* A distilled model is called at the levels it knows alone, whatever the schedule. */
static bool knows_level(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                        struct err *err)
{
    double t = schedule_t_of_sigma(&schedule, sigma);
    if (t != floor(t) || (int)t % 20 != 19)
        fail_msg("LCM was called at t = %g", t);
    return mixture(ctx, x, sigma, x0, uncond, err);
}

static void test_lcm_levels(void **state)
{
    for (int kind = 0; pictor_scheduler_at(kind); kind++)
        for (int steps = 1; steps <= 60; steps++) {
            struct job job = {"LCM",  pictor_scheduler_at(kind)->name,
                              "text", steps,
                              1,      -1,
                              false,  {knows_level, NULL},
                              NULL,   NULL};
            float end[N];
            struct sampler_plan plan;
            assert_true(paint(&job, end, &plan, NULL));
            sampler_plan_free(&plan);
        }
}

/* Euler over a flow model in the samplers' units is Euler in its own: x += (f' - f) v. */
static bool flow_denoise(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                         struct err *err)
{
    struct schedule_scales s = schedule_scales(ctx, sigma);
    for (int i = 0; i < N; i++)
        x0[i] = (float)(s.skip * x[i] + s.out * (0.5 * tanh(s.in * x[i]) + s.t / 1000));
    return true;
}

static void test_flow(void **state)
{
    enum { STEPS = 8 };
    struct err err;
    struct schedule flow;
    struct sampler_plan plan;
    struct noise noise;
    float x[N], start[N], scratch[2 * N];
    const struct sampler *euler = sampler_find("Euler", NULL);
    schedule_init_flow(&flow, 3);
    assert_true(sampler_plan_text(&plan, euler, SCHEDULE_SIMPLE, &flow, STEPS, &err));
    noise_init(&noise, PICTOR_RNG_NV, 5);
    noise_draw(&noise, start, N);
    sampler_start(&plan, x, NULL, start, N);
    struct sampler_run run = {.sampler = euler,
                              .plan = &plan,
                              .pixels = PIXELS,
                              .channels = CHANNELS,
                              .denoiser = {flow_denoise, &flow},
                              .noise = &noise,
                              .eta = NAN};
    assert_true(sampler_run(&run, x, scratch, &err));
    for (int i = 0; i < N; i++) {
        double want = start[i];
        for (int k = 0; k < STEPS; k++) {
            double t = 1 - (double)k / STEPS, next = 1 - (k + 1.0) / STEPS;
            double f = 3 * t / (1 + 2 * t), to = 3 * next / (1 + 2 * next);
            want += (to - f) * (0.5 * tanh(want) + f);
        }
        assert_true(fabs(x[i] - want) < 1e-5);
    }
    sampler_plan_free(&plan);
}

/* From the same noise, in so many steps. */
static void run_flow(const char *name, struct schedule *flow, int steps, float *x)
{
    struct err err;
    struct sampler_plan plan;
    struct noise noise;
    const struct sampler *sampler = sampler_find(name, NULL);
    float start[N], *scratch = malloc((size_t)sampler->buffers * sizeof start);
    assert_non_null(scratch);
    assert_true(sampler->flow);
    assert_true(sampler_plan_text(&plan, sampler, SCHEDULE_AUTOMATIC, flow, steps, &err));
    assert_int_equal(plan.steps, steps);
    noise_init(&noise, PICTOR_RNG_NV, 5);
    noise_draw(&noise, start, N);
    sampler_start(&plan, x, NULL, start, N);
    struct sampler_run run = {.sampler = sampler,
                              .plan = &plan,
                              .pixels = PIXELS,
                              .channels = CHANNELS,
                              .denoiser = {flow_denoise, flow},
                              .noise = &noise,
                              .eta = 0};
    assert_true(sampler_run(&run, x, scratch, &err));
    sampler_plan_free(&plan);
    free(scratch);
}

static double apart(const float *a, const float *b)
{
    double most = 0; /* by comparing: Debian 12's compiler for arm64 fails on fmax() in this loop */
    for (int i = 0; i < N; i++) {
        double d = fabs((double)a[i] - b[i]);
        most = d > most ? d : most;
    }
    return most;
}

/* Samplers for flow models, without fresh noise, come to one end; those of second order in few
 * steps, of which the last, to no noise at all, is of first order. */
static void test_flow_samplers(void **state)
{
    static const struct {
        const char *name;
        int steps;
        double limit;
    } cases[] = {{"Euler", 1000, 2e-3},      {"Euler a", 1000, 2e-3},  {"Heun", 30, 6e-3},
                 {"DPM++ 2M", 100, 5e-3},    {"DPM++ 2S a", 50, 5e-3}, {"DPM++ SDE", 50, 5e-3},
                 {"DPM++ 2M SDE", 100, 5e-3}};
    struct schedule flow;
    float truth[N], x[N];
    schedule_init_flow(&flow, 3);
    run_flow("Heun", &flow, 1000, truth);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_flow(cases[i].name, &flow, cases[i].steps, x);
        printf("%-14s %.1e\n", cases[i].name, apart(x, truth));
        assert_true(apart(x, truth) <= cases[i].limit);
    }
}

/* Of four steps three quarters are three, and a picture is left in the noise. */
static void test_flow_image(void **state)
{
    static const int steps[] = {1, 1, 2, 3, 4}; /* of strengths 0, 1/4, 1/2 .. 1 */
    struct err err;
    struct schedule flow;
    struct sampler_plan plan;
    schedule_init_flow(&flow, 3);
    for (int i = 0; i <= 4; i++) {
        assert_true(sampler_plan_image(&plan, sampler_find("Euler", NULL), SCHEDULE_SIMPLE, &flow,
                                       4, i / 4.0, &err));
        assert_int_equal(plan.steps, steps[i]);
        double t = steps[i] / 4.0;
        assert_true(fabs(schedule_flow(plan.sigmas[0]) - 3 * t / (1 + 2 * t)) < 2e-6);
        sampler_plan_free(&plan);
    }
}

/* What programs need not read out of names. */
static void test_facts(void **state)
{
    const struct pictor_sampler_info *s;
    for (int i = 0; (s = pictor_sampler_at(i)); i++) {
        size_t n = strlen(s->name);
        bool ddim = strncmp(s->name, "DDIM", 4) == 0, ddpm = strcmp(s->name, "DDPM") == 0;
        bool solver = strcmp(s->name, "DPM fast") == 0 || strcmp(s->name, "DPM adaptive") == 0;
        bool ancestral = strcmp(s->name + n - 2, " a") == 0 || strstr(s->name, " a ") || solver;
        bool sde = strstr(s->name, "SDE");
        assert_int_equal(s->ancestral, ancestral || ddpm);
        assert_int_equal(s->sde, sde);
        assert_non_null(pictor_scheduler_find(s->default_scheduler));
        if (ddim)
            assert_string_equal(s->eta_name, "Eta DDIM");
        else if (ancestral || sde)
            assert_string_equal(s->eta_name, "Eta");
        else
            assert_null(s->eta_name);
        assert_true(s->default_eta == (ancestral || sde || ddpm));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),         cmocka_unit_test(test_flow),
        cmocka_unit_test(test_flow_samplers), cmocka_unit_test(test_flow_image),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_noise),         cmocka_unit_test(test_rescale),
        cmocka_unit_test(test_discard),       cmocka_unit_test(test_all_finite),
        cmocka_unit_test(test_strength_zero), cmocka_unit_test(test_one_step_is_the_prediction),
        cmocka_unit_test(test_stopping),      cmocka_unit_test(test_failing_denoiser),
        cmocka_unit_test(test_bad_plans),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_lcm_levels),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
