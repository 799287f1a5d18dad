/* trajectory_test.c: whole pictures' latents, step by step, against k-diffusion's samplers around
 * diffusers' UNet (tests/golden/README.md, trajectories): guidance, timesteps, schedules, samplers,
 * noise, image to image and masks, all at once, F32, at the best level and the scalar one.
 *
 * The float32 reference itself is within 1.3e-5 of a float64 one; 1e-4 relative L2 is the bar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/checkpoint.h"
#include "engine/io/safetensors.h"
#include "engine/family/stable.h"
#include "engine/pipeline/guided.h"
#include "engine/sample/blend.h"
#include "engine/sample/noise.h"
#include "engine/sample/sampler.h"
#include "tests/unit/golden_words.h"

enum { W = 16, H = 8, C = 4, N = W * H * C, STEPS = 10 };

struct fixture {
    struct device *dev;
    struct checkpoint *cp;
    struct family_model *model;
    struct safetensors *st;
    struct arena arena;
    struct ops ops;
    struct schedule schedule;
    struct guided guided;
    float cond[77 * 64], uncond[77 * 64];
    double worst;
};

static const float *tensor(const struct fixture *f, const char *name, float *out, size_t n)
{
    const struct raw_tensor *t = safetensors_find(f->st, name);
    if (!t || t->bytes < n * sizeof *out)
        fail_msg("no tensor %s of %zu", name, n);
    memcpy(out, t->data, n * sizeof *out);
    return out;
}

/* What the sampler shows the denoiser is the latent before each step. */
struct watch {
    struct denoiser inner;
    const struct fixture *f;
    const struct raw_tensor *rows; /* [steps + 1, C, H, W] */
    const char *name;
    bool timesteps; /* rows are of unit variance: x / sqrt(sigma^2 + 1) */
    int calls;
    double worst;
};

static double error_of(const float *x, const struct raw_tensor *rows, int row, double scale)
{
    double diff = 0, norm = 0;
    for (int c = 0; c < C; c++)
        for (int p = 0; p < W * H; p++) {
            float want;
            memcpy(&want,
                   (const char *)rows->data + sizeof want * (size_t)(row * N + c * W * H + p),
                   sizeof want);
            double d = x[p * C + c] * scale - want;
            diff += d * d;
            norm += (double)want * want;
        }
    return sqrt(diff / norm);
}

static bool watched(void *ctx, const float *x, double sigma, float *x0, float *uncond,
                    struct err *err)
{
    struct watch *w = ctx;
    if (w->rows) {
        double scale = w->timesteps ? 1 / sqrt(sigma * sigma + 1) : 1;
        double e = error_of(x, w->rows, w->calls, scale);
        w->worst = e > w->worst ? e : w->worst;
    }
    w->calls++;
    return w->inner.denoise(w->inner.ctx, x, sigma, x0, uncond, err);
}

/* k-diffusion computes its sigmas in float32, a few 1e-7 from the true ones, which a picture at low
 * noise multiplies by hundreds. Ours must agree to that; then both step through the same. */
static void take_sigmas(const struct fixture *f, struct sampler_plan *plan, const char *golden)
{
    char name[96];
    snprintf(name, sizeof name, "%s.sigmas", golden);
    const struct raw_tensor *t = safetensors_find(f->st, name);
    if (!t) /* DDIM */
        return;
    assert_int_equal(t->shape[0], plan->steps + 1);
    for (int i = 0; i <= plan->steps; i++) {
        float sigma;
        memcpy(&sigma, (const char *)t->data + sizeof sigma * (size_t)i, sizeof sigma);
        assert_true(fabs(plan->sigmas[i] - sigma) <= 1e-6 * sigma);
        plan->sigmas[i] = sigma;
    }
    plan->noise = plan->sigmas[0];
}

enum start { TEXT, IMAGE, MASKED };

static void run_case(struct fixture *f, const char *sampler_name, const char *scheduler_name,
                     const char *golden, enum start start, double eta, bool one_call)
{
    struct err err;
    char name[96];
    float x[N], init[N], noise_nchw[N], scratch_nchw[N], mask[W * H], blend_scratch[N];
    const struct pictor_scheduler_info *named = NULL;
    const struct sampler *sampler = sampler_find(sampler_name, &named);
    enum schedule_kind kind = schedule_kind_of(pictor_scheduler_find(scheduler_name));
    struct sampler_plan plan;
    assert_non_null(sampler);
    bool ok = start == TEXT
                  ? sampler_plan_text(&plan, sampler, kind, &f->schedule, STEPS, &err)
                  : sampler_plan_image(&plan, sampler, kind, &f->schedule, STEPS, 0.6, &err);
    if (!ok)
        fail_msg("%s", err.msg);
    snprintf(name, sizeof name, "%s.latents", golden);
    const struct raw_tensor *rows = safetensors_find(f->st, name);
    if (!rows)
        fail_msg("no tensor %s", name);
    assert_int_equal(rows->shape[0], plan.steps + 1);
    take_sigmas(f, &plan, golden);

    /* Seed 60 is the start, seed 61 the steps: what the generator draws must be what torch drew. */
    struct noise noise;
    noise_init(&noise, PICTOR_RNG_CPU, 60);
    noise_draw(&noise, noise_nchw, N);
    tensor(f, "start_noise", scratch_nchw, N);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(noise_nchw[i] - scratch_nchw[i]) < 1e-5);
    noise_init(&noise, PICTOR_RNG_CPU, 61);
    noise_channels_last(x, noise_nchw, C, W * H);
    noise_channels_last(init, tensor(f, "init", scratch_nchw, N), C, W * H);
    tensor(f, "mask", mask, W * H);

    struct watch watch = {.f = f, .name = golden, .timesteps = sampler->timesteps};
    watch.rows = one_call && !(start == MASKED && sampler->timesteps) ? rows : NULL;
    watch.inner = guided_denoiser(&f->guided);
    struct denoiser denoiser = {watched, &watch};
    struct blend blend = {denoiser, init, mask, W * H, C, sampler->timesteps, blend_scratch};
    struct sampler_run run = {
        .sampler = sampler,
        .plan = &plan,
        .pixels = W * H,
        .channels = C,
        .denoiser = start == MASKED ? blend_denoiser(&blend) : denoiser,
        .noise = &noise,
        .eta = eta,
    };
    float *buffers = malloc(sizeof *buffers * N * (size_t)(sampler->buffers + 1));
    sampler_start(&plan, x, start == TEXT ? NULL : init, x, N);
    if (!sampler_run(&run, x, buffers, &err))
        fail_msg("%s: %s", golden, err.msg);
    if (start == MASKED)
        blend_apply(&blend, x);
    double last = error_of(x, rows, plan.steps, 1);
    printf("%-7s %-28s steps %.1e, result %.1e\n", device_level(f->dev), golden, watch.worst, last);
    assert_true(watch.worst <= 1e-4 && last <= 1e-4);
    free(buffers);
    sampler_plan_free(&plan);
}

static void all_cases(struct fixture *f)
{
    static const struct {
        const char *sampler, *scheduler, *golden;
        bool one_call;
    } text[] = {
        {"Euler", "uniform", "euler.uniform", true},
        {"Euler", "karras", "euler.karras", true},
        {"Euler a", "uniform", "euler_a.uniform", true},
        {"Euler a", "karras", "euler_a.karras", true},
        {"DPM++ 2M", "uniform", "dpmpp_2m.uniform", true},
        {"DPM++ 2M", "karras", "dpmpp_2m.karras", true},
        {"Heun", "karras", "heun.karras", false},
        {"LMS", "karras", "lms.karras", true},
        {"DPM++ 2S a", "karras", "dpmpp_2s_a.karras", false},
    };
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        run_case(f, text[i].sampler, text[i].scheduler, text[i].golden, TEXT, NAN,
                 text[i].one_call);
    run_case(f, "DDIM", "automatic", "ddim.eta0", TEXT, 0, true);
    run_case(f, "DDIM", "automatic", "ddim.eta1", TEXT, 1, true);
    for (int masked = 0; masked <= 1; masked++) {
        static const char *const cases[][3] = {{"Euler", "uniform", "euler.uniform"},
                                               {"Euler a", "uniform", "euler_a.uniform"},
                                               {"DPM++ 2M", "karras", "dpmpp_2m.karras"},
                                               {"DDIM", "automatic", "ddim.eta0"}};
        for (int i = 0; i < 4; i++) {
            char golden[64];
            snprintf(golden, sizeof golden, "%s.%s", masked ? "inpaint" : "img2img", cases[i][2]);
            run_case(f, cases[i][0], cases[i][1], golden, masked ? MASKED : IMAGE, NAN, true);
        }
    }
}

static void at_level(const char *level)
{
    struct err err;
    const struct family *family = NULL;
    struct pictor_params params = {.guidance = 7.5f};
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err)};
    if (!f.dev || !(f.cp = checkpoint_open("tests/golden/tiny/tiny-ldm.safetensors", &err)) ||
        !(family = family_of(f.cp, &err)) || !(f.model = family->open(f.dev, f.cp, &err)) ||
        !(f.st = safetensors_open("tests/golden/tiny/trajectories.safetensors", &err)))
        fail_msg("%s", err.msg);
    family->schedule(f.model, 8 * W, 8 * H, STEPS, &f.schedule);
    tensor(&f, "cond", f.cond, 77 * 64);
    tensor(&f, "uncond", f.uncond, 77 * 64);
    f.ops = (struct ops){f.dev, &f.arena};
    struct family_words words[2] = {{.tokens = 77, .states = f.cond},
                                    {.tokens = 77, .states = f.uncond}};
    struct spoken spoken = spoken_of(words, 1);
    struct guided_options o = {
        .ops = &f.ops,
        .model = f.model,
        .schedule = &f.schedule,
        .picture = {W, H, &params, NULL, NULL, NULL},
        .spoken = &spoken,
    };
    arena_plan(&f.arena);
    guided_new(&f.guided, &o);
    struct denoiser d = guided_denoiser(&f.guided);
    assert_true(d.denoise(d.ctx, NULL, 1, NULL, NULL, &err));
    guided_free(&f.guided);
    size_t peak = f.arena.peak;
    assert_true(arena_init(&f.arena, peak, &err));
    guided_new(&f.guided, &o);
    all_cases(&f);
    guided_free(&f.guided);
    wording_free(&spoken.wording);
    arena_free(&f.arena);
    family->free(f.model);
    safetensors_close(f.st);
    checkpoint_free(f.cp);
    device_free(f.dev);
}

static void test_best_level(void **state)
{
    at_level(NULL);
}

static void test_scalar(void **state)
{
    at_level("scalar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_level),
        cmocka_unit_test(test_scalar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
