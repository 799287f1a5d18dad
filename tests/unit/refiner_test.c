/* refiner_test.c: pictures of two models: whole trajectories against k-diffusion and diffusers'
 * two pipelines (tests/golden, "refiner"); and through engine/pictor.h what must be equal, what
 * must differ, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "engine/pipeline/refined.h"
#include "tests/unit/golden_sdxl.h"
#include "tests/unit/painted.h"

static const char *const none[] = {NULL};

/* ---- trajectories ---- */

struct pair {
    unsigned char *bytes[2];
    struct checkpoint *cp[2];
    struct family_model *m[2];
    struct family_words words[2][2];
    struct spoken spoken[2];
};

/* Of each model `prompt` against zeros. */
static void pair_open(struct pair *p, struct fixture *f)
{
    static const float zeros[TOKENS_A_CHUNK * WIDE];
    struct err err;
    for (int i = 0; i < 2; i++) {
        p->cp[i] = single_file(i, "", none, &p->bytes[i]);
        const struct family *family = family_of(p->cp[i], &err);
        if (!family || !(p->m[i] = family->open(f->dev, p->cp[i], &err)))
            fail_msg("%s", err.msg);
        struct safetensors *own = f->golden;
        f->golden = open_file(SDXL "golden.safetensors");
        p->words[i][0] = golden_words(f, "prompt", i ? NARROW : WIDE, false);
        safetensors_close(f->golden);
        f->golden = own;
        p->words[i][1] = (struct family_words){TOKENS_A_CHUNK, zeros, zeros, true};
        p->spoken[i] = spoken_of(p->words[i], 1);
    }
}

static void pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        wording_free(&p->spoken[i].wording);
        words_free(&p->words[i][0]);
        p->m[i]->family->free(p->m[i]);
        checkpoint_free(p->cp[i]);
        free(p->bytes[i]);
    }
}

struct run {
    const char *sampler, *scheduler, *golden;
    double at;
    bool by_steps;
};

static void check_run(struct fixture *f, const struct pair *p, const struct run *r)
{
    enum { W = 16, H = 8, C = 4, N = W * H * C, STEPS = 10 };
    char name[64];
    float x[N], scratch[4 * N];
    const struct sampler *sampler = sampler_find(r->sampler, NULL);
    struct schedule schedules[2];
    struct sampler_plan plan;
    struct noise noise;
    for (int i = 0; i < 2; i++)
        p->m[i]->family->schedule(p->m[i], 8 * W, 8 * H, STEPS, &schedules[i]);
    assert_true(sampler_plan_text(&plan, sampler,
                                  schedule_kind_of(pictor_scheduler_find(r->scheduler)),
                                  &schedules[0], STEPS, NULL));
    begin_trajectory(f, r->golden, STEPS, W * H, C, &plan, x);
    noise_init(&noise, PICTOR_RNG_CPU, 0);
    struct guided g[2];
    bool ok = false;
    RUN(
        f,
        for (int i = 0; i < 2; i++) {
            struct guided_options options = {
                .ops = &o,
                .model = p->m[i],
                .schedule = &schedules[i],
                .picture = {.width = W, .height = H, .params = &f->params},
                .spoken = &p->spoken[i],
                .sampler = sampler,
                .calls = STEPS * (sampler->info.second_order ? 2 : 1)};
            guided_new(&g[i], &options);
        } struct refined refined = {.first = &g[0],
                                    .second = &g[1],
                                    .at = r->at,
                                    .by_steps = r->by_steps};
        struct denoiser d = refined_denoiser(&refined);
        struct sampler_run run = {.sampler = sampler,
                                  .plan = &plan,
                                  .pixels = W * H,
                                  .channels = C,
                                  .denoiser = d,
                                  .noise = &noise,
                                  .eta = NAN};
        ok = arena_planning(&arena) ? d.denoise(d.ctx, NULL, 1, NULL, NULL, &err)
                                    : sampler_run(&run, x, scratch, &err);
        assert_true(ok && refined.switched); guided_free(&g[0]); guided_free(&g[1]));
    snprintf(name, sizeof name, "%s.latents", r->golden);
    check(f, r->golden, x, want(f->golden, name));
    sampler_plan_free(&plan);
}

static void test_trajectories(void **state)
{
    static const struct run runs[] = {
        {"Euler", "uniform", "euler.uniform", 0.5, false},
        {"DPM++ 2M", "karras", "dpmpp_2m.karras", 0.8, false},
        {"DPM++ 2M", "karras", "dpmpp_2m.karras.steps", 0.8, true},
        {"Heun", "karras", "heun.karras.steps", 0.8, true},
    };
    static const char *const levels[] = {NULL, "scalar"};
    for (int l = 0; l < 2; l++) {
        struct err err;
        struct device_options options = {.threads = 2, .cpu = levels[l], .bf16 = 0};
        struct fixture f = {.dev = device_new(&options, &err),
                            .golden = open_file("tests/golden/refiner/golden.safetensors"),
                            .params = {.guidance = 2, .clip_skip = 1},
                            .limit = 1e-4};
        struct pair p;
        assert_non_null(f.dev);
        pair_open(&p, &f);
        for (size_t i = 0; i < (l ? 1 : sizeof runs / sizeof *runs); i++)
            check_run(&f, &p, &runs[i]);
        pair_close(&p);
        safetensors_close(f.golden);
        device_free(f.dev);
    }
}

/* ---- whole pictures ---- */

struct bench {
    struct pictor_engine *engine;
    struct pictor_model *base, *twin, *refiner, *sd1, *sd1_twin;
    char paths[2][64]; /* base, refiner */
};

static struct pictor_model *open_path(struct pictor_engine *e, const char *path)
{
    struct err err;
    struct pictor_model *m = pictor_model_open(e, path, &err);
    if (!m)
        fail_msg("%s", err.msg);
    return m;
}

static void write_model(bool refiner, char *path)
{
    size_t size;
    unsigned char *bytes = single_bytes(refiner, "", none, &size);
    int fd = mkstemps(path, (int)strlen(".safetensors"));
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(close(fd), 0);
    free(bytes);
}

static int bench_new(void **state)
{
    static struct bench b;
    struct err err;
    struct pictor_engine_options options = {.threads = 2, .precision = PICTOR_PRECISION_F32};
    b = (struct bench){
        .engine = pictor_engine_new(&options, &err),
        .paths = {P_tmpdir "/base.XXXXXX.safetensors", P_tmpdir "/ref.XXXXXX.safetensors"}};
    const char *base = b.paths[0], *other = b.paths[1];
    write_model(false, b.paths[0]);
    write_model(true, b.paths[1]);
    assert_non_null(b.engine);
    b.base = open_path(b.engine, base);
    b.twin = open_path(b.engine, base);
    b.refiner = open_path(b.engine, other);
    b.sd1 = open_path(b.engine, TINY);
    b.sd1_twin = open_path(b.engine, TINY);
    *state = &b;
    return 0;
}

static int bench_free(void **state)
{
    struct bench *b = *state;
    unlink(b->paths[0]);
    unlink(b->paths[1]);
    pictor_model_free(b->base);
    pictor_model_free(b->twin);
    pictor_model_free(b->refiner);
    pictor_model_free(b->sd1);
    pictor_model_free(b->sd1_twin);
    pictor_engine_free(b->engine);
    return 0;
}

static struct pictor_params params_of(struct pictor_model *m)
{
    struct pictor_params p;
    pictor_params_init(&p, m);
    p.prompt = "a red [circle:square:0.5]";
    p.negative_prompt = "grey";
    p.width = 96;
    p.height = 64;
    p.steps = 5;
    p.seed = 5;
    return p;
}

static bool is_same(struct pictor_model *m, const struct pictor_params *p,
                    const struct pictor_params *q)
{
    struct pictor_image a = paint(m, p), b = paint(m, q);
    bool same = a.width == b.width && a.height == b.height &&
                memcmp(a.pixels, b.pixels, 3 * (size_t)a.width * (size_t)a.height) == 0;
    pictor_image_free(&a);
    pictor_image_free(&b);
    return same;
}

static void test_a_twin_changes_nothing(void **state)
{
    static uint8_t init_pixels[96 * 64 * 3], mask_pixels[96 * 64];
    struct bench *b = *state;
    for (int i = 0; i < 96 * 64 * 3; i++)
        init_pixels[i] = (uint8_t)(i * 7);
    memset(mask_pixels, 255, sizeof mask_pixels / 2);
    const struct pictor_image init = {96, 64, 3, init_pixels}, mask = {96, 64, 1, mask_pixels};
    struct pictor_params plain = params_of(b->base), with;
    for (int i = 0; i < 6; i++) {
        plain = params_of(b->base);
        plain.sampler = i % 2 ? "DPM++ 2M" : "DPM++ SDE";
        plain.hires_width = i == 1 || i == 2 ? 128 : 0;
        plain.hires_height = i == 1 || i == 2 ? 96 : 0;
        plain.hires_upscaler = i == 1 ? "Latent" : "Lanczos";
        plain.init = i >= 3 ? &init : NULL;
        plain.mask = i >= 4 ? &mask : NULL;
        plain.speed.reuse_every = 1;
        with = plain;
        with.refiner = i == 5 ? b->base : b->twin; /* itself is no refiner */
        with.refiner_at = 0.4;
        with.refiner_by_steps = i == 3;
        with.refiner_pass = PICTOR_REFINE_BOTH;
        assert_true(is_same(b->base, &plain, &with));
        with.refiner = NULL;
        with.hires_model = b->twin;
        assert_true(is_same(b->base, &plain, &with));
    }
}

static void test_a_refiner_changes_the_end(void **state)
{
    struct bench *b = *state;
    struct pictor_params plain = params_of(b->base), p = plain, q;
    p.refiner = b->refiner;
    p.refiner_at = 1;
    assert_true(is_same(b->base, &plain, &p));
    p.refiner_at = 0;
    assert_false(is_same(b->base, &plain, &p));
    p.refiner_at = 0.5;
    assert_false(is_same(b->base, &plain, &p));
    assert_true(is_same(b->base, &p, &p));
    q = p;
    q.refiner_at = 0.1;
    assert_false(is_same(b->base, &p, &q));

    /* Of two passes the second is refined unless it is asked for otherwise. */
    plain.hires_width = 128;
    plain.hires_height = 96;
    plain.hires_upscaler = "Lanczos";
    struct pictor_params passes[4] = {plain, plain, plain, plain};
    for (int i = 0; i < 3; i++) {
        passes[i].refiner = b->refiner;
        passes[i].refiner_at = 0.5;
        passes[i].refiner_pass = (enum pictor_refine)i;
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            assert_false(is_same(b->base, &passes[i], &passes[k]));

    /* The twin paints the second pass like the model itself, the refiner not. */
    q = passes[2];
    q.hires_model = b->twin;
    assert_true(is_same(b->base, &passes[2], &q));
    q = passes[3];
    q.hires_model = b->refiner;
    assert_false(is_same(b->base, &passes[3], &q));
    assert_false(is_same(b->base, &passes[0], &q));
}

static void test_a_second_pass_of_another_family(void **state)
{
    struct bench *b = *state;
    struct err err;
    struct pictor_params plain = params_of(b->sd1), p;
    plain.hires_width = 128;
    plain.hires_height = 96;
    plain.hires_upscaler = "Lanczos";
    plain.preview_every = 1;
    p = plain;
    p.hires_model = b->base;
    assert_false(is_same(b->sd1, &plain, &p));
    p.refiner = b->refiner;
    p.refiner_at = 0.5;
    assert_false(is_same(b->sd1, &plain, &p));
    p.hires_upscaler = "Latent";
    assert_false(pictor_check(b->sd1, &p, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.msg, "model of the second pass is of the family sdxl"));
    p = plain;
    p.hires_model = b->sd1_twin;
    assert_true(is_same(b->sd1, &plain, &p));
}

/* The tiny model with a tiny autoencoder, which takes less memory than its own. */
static struct pictor_model *open_light(struct pictor_engine *e)
{
    struct err err;
    struct pictor_files files;
    assert_true(pictor_files_open(TINY, &files, &err));
    assert_true(pictor_files_add(&files, "vae", "tests/golden/tae/weights.safetensors", &err));
    struct pictor_model *m = pictor_model_open_files(e, &files, &err);
    if (!m)
        fail_msg("%s", err.msg);
    pictor_files_close(&files);
    return m;
}

/* A refiner whose turn does not come leaves the decoder between the passes to the painter, and that
 * one's may want more memory than its own. */
static void test_a_turn_that_does_not_come(void **state)
{
    struct bench *b = *state;
    struct pictor_model *light = open_light(b->engine);
    struct pictor_params plain = params_of(b->sd1), p;
    plain.sampler = "Euler";
    plain.steps = 2;
    plain.guidance = 1;
    plain.width = plain.height = 128;
    plain.hires_width = plain.hires_height = 128;
    plain.hires_upscaler = "Lanczos";
    plain.hires_model = light;
    p = plain;
    p.refiner = light;
    p.refiner_pass = PICTOR_REFINE_FIRST;
    p.refiner_at = 0.95;
    p.refiner_by_steps = true;
    assert_true(is_same(b->sd1, &plain, &p));
    pictor_model_free(light);
}

static void test_refused(void **state)
{
    struct bench *b = *state;
    static const struct {
        double at;
        const char *message;
    } bad[] = {{-0.1, "refiner_at must be 0..1, got -0.1"},
               {1.5, "refiner_at must be 0..1"},
               {NAN, "refiner_at must be 0..1"},
               {0.5, "the refiner is of the family sdxl-refiner, whose latents are not those of "
                     "sd1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err;
        struct pictor_params p = params_of(b->sd1);
        p.refiner = b->refiner;
        p.refiner_at = bad[i].at;
        assert_false(pictor_check(b->sd1, &p, NULL, &err));
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.msg, bad[i].message))
            fail_msg("%s", err.msg);
    }
    struct err err;
    struct pictor_params p = params_of(b->base);
    p.refiner = b->refiner;
    p.clip_skip = 12;
    assert_false(pictor_check(b->base, &p, NULL, &err));
    assert_non_null(strstr(err.msg, "clip_skip"));
}

static void merge(struct pictor_model *m)
{
    struct err err;
    FILE *f = fopen("tests/golden/lora/kohya.safetensors", "rb");
    assert_non_null(f);
    struct pictor_lora lora = {"kohya", fileno(f), 1, 1};
    assert_true(pictor_model_merge(m, &lora, 1, &err));
    fclose(f);
}

/* Both models count; where there is no room for both, they take turns, which nobody sees. */
static void test_memory(void **state)
{
    struct err err;
    struct bench *b = *state;
    struct pictor_image pictures[3];
    struct pictor_params p = params_of(b->base);
    p.prompt = "x";
    p.refiner_at = 0.5;
    p.hires_width = 128;
    p.hires_height = 96;
    p.hires_upscaler = "Lanczos";
    p.refiner_pass = PICTOR_REFINE_BOTH;
    size_t first = pictor_model_info(b->base)->weight_bytes, bytes;
    size_t second = pictor_model_info(b->refiner)->weight_bytes;
    size_t most = first > second ? first : second;
    p.refiner = b->refiner;
    assert_true(pictor_check(b->base, &p, &bytes, &err));
    const size_t limits[3] = {0, most + bytes + 1024, most + bytes / 2};
    for (int i = 0; i < 3; i++) {
        struct pictor_engine_options options = {
            .threads = 2, .precision = PICTOR_PRECISION_F32, .memory_limit = limits[i]};
        struct pictor_engine *e = pictor_engine_new(&options, &err);
        struct pictor_model *m = open_path(e, b->paths[0]);
        merge(m);
        assert_true(i == 0 || pictor_model_rest(m));
        struct pictor_model *refiner = open_path(e, b->paths[1]);
        p.refiner = NULL;
        if (i < 2)
            assert_true(pictor_check(m, &p, NULL, &err));
        p.refiner = refiner;
        bool done = pictor_generate(m, &p, &pictures[i], &err);
        if (i == 2) {
            assert_false(done);
            assert_int_equal(err.code, ERR_TOO_LARGE);
        } else {
            assert_true(done);
            assert_true(is_same(m, &p, &p));
        }
        /* Of one that rests, merging is for when it wakes. */
        merge(m);
        assert_true(pictor_model_merge(m, NULL, 0, &err));
        if (i < 2) {
            struct pictor_image plain = paint(m, &p);
            size_t n = 3 * (size_t)plain.width * (size_t)plain.height;
            assert_int_not_equal(memcmp(plain.pixels, pictures[i].pixels, n), 0);
            p.refiner = b->refiner;
            struct pictor_image like = paint(b->base, &p);
            assert_int_equal(memcmp(plain.pixels, like.pixels, n), 0);
            pictor_image_free(&plain);
            pictor_image_free(&like);
        }
        pictor_model_free(m);
        pictor_model_free(refiner);
        pictor_engine_free(e);
    }
    size_t n = 3 * (size_t)pictures[0].width * (size_t)pictures[0].height;
    assert_int_equal(memcmp(pictures[0].pixels, pictures[1].pixels, n), 0);
    pictor_image_free(&pictures[0]);
    pictor_image_free(&pictures[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_a_twin_changes_nothing),
        cmocka_unit_test(test_a_refiner_changes_the_end),
        cmocka_unit_test(test_a_second_pass_of_another_family),
        cmocka_unit_test(test_a_turn_that_does_not_come),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, bench_new, bench_free);
}
