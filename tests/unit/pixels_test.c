/* pixels_test.c: unconditional diffusion over pixels against diffusers (tests/golden, "pixels"):
 * what networks of three channels and of one say, whole pictures of its DDPM and DDIM pipelines,
 * and through engine/pictor.h, where small networks paint larger pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/golden_model.h"

#define PIXELS "tests/golden/pixels/"

enum { SIDE = 16, STEPS = 10, SEED = 7 };

static void check_says(struct fixture *f, const char *name, const char *input, double t)
{
    char golden[64];
    snprintf(golden, sizeof golden, "%s.%sx", name, input);
    const struct raw_tensor *in = want(f->golden, golden);
    int c = (int)in->shape[1], h = (int)in->shape[2], w = (int)in->shape[3];
    float *planes = floats_of(in), *x = malloc(in->bytes), *y = malloc(in->bytes);
    assert_true(x && y);
    nchw_to_last(x, planes, 1, c, (size_t)(h * w));
    struct family_picture picture = {.width = w, .height = h, .params = &f->params};
    struct family_words words = {.tokens = 1};
    struct family_call *call;
    RUN(f, call = f->m->family->call_new(f->m, &o, &picture, &words, 1, &err);
        assert_non_null(call); f->m->family->predict(f->m, &o, call, x, t, false, y);
        f->m->family->call_free(call));
    snprintf(golden, sizeof golden, "%s.%st%g", name, input, t);
    check(f, golden, y, want(f->golden, golden));
    free(planes);
    free(x);
    free(y);
}

/* A picture of ten steps from torch's seed. */
static void check_picture(struct fixture *f, const char *name, const char *sampler_name, double eta,
                          const char *what)
{
    char golden[64];
    int c = f->m->facts.channels;
    size_t n = (size_t)(SIDE * SIDE * c);
    float x[SIDE * SIDE * 3], draw[SIDE * SIDE * 3], scratch[4 * SIDE * SIDE * 3];
    const struct sampler *sampler = sampler_find(sampler_name, NULL);
    struct family_words words[2] = {{.tokens = 1}, {.tokens = 1}};
    struct spoken spoken = spoken_of(words, 1);
    struct schedule schedule;
    struct sampler_plan plan;
    struct noise noise;
    struct guided g;
    bool ok = false;
    f->m->family->schedule(f->m, SIDE, SIDE, STEPS, &schedule);
    assert_true(sampler_plan_text(&plan, sampler, SCHEDULE_SIMPLE, &schedule, STEPS, NULL));
    noise_init(&noise, PICTOR_RNG_CPU, SEED);
    noise_draw(&noise, draw, n);
    noise_channels_last(x, draw, c, SIDE * SIDE);
    for (size_t i = 0; i < n; i++) /* their latents have a signal; ours have none of that scale */
        x[i] *= (float)sqrt(1 + plan.sigmas[0] * plan.sigmas[0]);
    RUN(f, struct guided_options options = {.ops = &o,
                                            .model = f->m,
                                            .schedule = &schedule,
                                            .picture = {SIDE, SIDE, &f->params, NULL, NULL, NULL},
                                            .spoken = &spoken};
        guided_new(&g, &options); struct denoiser d = guided_denoiser(&g);
        struct sampler_run run = {.sampler = sampler,
                                  .plan = &plan,
                                  .pixels = SIDE * SIDE,
                                  .channels = c,
                                  .denoiser = d,
                                  .noise = &noise,
                                  .eta = eta};
        ok = arena_planning(&arena) ? d.denoise(d.ctx, NULL, 1, NULL, NULL, &err)
                                    : sampler_run(&run, x, scratch, &err);
        assert_true(ok); guided_free(&g));
    snprintf(golden, sizeof golden, "%s.%s", name, what);
    check(f, golden, x, want(f->golden, golden));
    wording_free(&spoken.wording);
    sampler_plan_free(&plan);
}

static void check_folder(const char *folder, const char *name, const char *level)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(PIXELS "golden.safetensors"),
                        .params = {.guidance = 7, .clip_skip = 1},
                        .limit = 1e-4};
    struct checkpoint *cp = checkpoint_open(folder, &err);
    const struct family *family = cp ? family_of(cp, &err) : NULL;
    if (!f.dev || !family || !(f.m = family->open(f.dev, cp, &err)))
        fail_msg("%s", err.msg);
    assert_string_equal(f.m->facts.info.architecture, "pixels");
    assert_int_equal(f.m->facts.channels, strcmp(name, "grey") == 0 ? 1 : 3);
    assert_int_equal(f.m->facts.info.native_width, 64); /* four times its own */
    check_says(&f, name, "", 999);
    check_says(&f, name, "", 400);
    check_says(&f, name, "", 0);
    check_says(&f, name, "wide.", 400);
    check_picture(&f, name, "Euler a", NAN, "ddpm");
    check_picture(&f, name, "Euler a", 0.5, "ddim.eta0.5");
    check_picture(&f, name, "Euler", NAN, "ddim.eta0");
    family->free(f.m);
    checkpoint_free(cp);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_golden(void **state)
{
    check_folder(PIXELS "rgb", "rgb", NULL);
    check_folder(PIXELS "rgb", "rgb", "scalar");
    check_folder(PIXELS "grey", "grey", NULL);
}

static void test_pictures(void **state)
{
    static const char *const folders[] = {PIXELS "rgb", PIXELS "grey"};
    for (int i = 0; i < 2; i++) {
        struct err err;
        struct pictor_engine *e = pictor_engine_new(NULL, &err);
        struct pictor_model *m = pictor_model_open(e, folders[i], &err);
        if (!m)
            fail_msg("%s", err.msg);
        struct pictor_params p;
        struct pictor_image one, other;
        pictor_params_init(&p, m);
        assert_string_equal(p.sampler, "Euler a");
        p.steps = 3;
        p.preview_every = 1;
        assert_true(pictor_generate(m, &p, &one, &err));
        assert_true(one.width == 64 && one.height == 64 && one.channels == 3);
        if (i == 1)
            for (int k = 0; k < 64 * 64; k++)
                assert_int_equal(one.pixels[3 * k], one.pixels[3 * k + 2]);
        p.prompt = "words";
        p.negative_prompt = "that say nothing";
        assert_true(pictor_generate(m, &p, &other, &err));
        assert_memory_equal(one.pixels, other.pixels, 64 * 64 * 3);
        pictor_image_free(&other);
        p.init = &one;
        p.strength = 0.5;
        p.width = 96;
        assert_true(pictor_generate(m, &p, &other, &err));
        assert_true(other.width == 96 && other.height == 64);
        pictor_image_free(&other);
        pictor_image_free(&one);
        pictor_model_free(m);
        pictor_engine_free(e);
    }
}

/* Configurations that are not what runs here: `from` in the grey model's becomes `to`. */
static void check_refused(const char *from, const char *to, const char *message)
{
    char dir[] = P_tmpdir "/pixels_test.XXXXXX", path[256], text[8192], weights[512];
    struct err err = {0};
    struct pictor_model_info info;
    assert_non_null(mkdtemp(dir));
    FILE *in = fopen(PIXELS "grey/config.json", "r");
    assert_non_null(in);
    size_t n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    fclose(in);
    char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fclose(out), 0);
    assert_non_null(realpath(PIXELS "grey/diffusion_pytorch_model.safetensors", weights));
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", dir);
    assert_int_equal(symlink(weights, path), 0);
    if (pictor_model_probe(dir, &info, &err) || !strstr(err.msg, message))
        fail_msg("%s: wanted \"%s\", got \"%s\"", to, message, err.msg);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void test_refused(void **state)
{
    check_refused("\"positional\"", "\"fourier\"", "time_embedding_type is 'fourier'");
    check_refused("\"silu\"", "\"mish\"", "act_fn is 'mish'");
    check_refused("\"norm_num_groups\": 8", "\"norm_num_groups\": 7", "of 7 groups");
    check_refused("\"norm_num_groups\": 8", "\"norm_num_groups\": 0", "norm_num_groups is 0");
    check_refused("\"sample_size\": 16", "\"sample_size\": 99999", "sample_size is 99999");
    check_refused("\"attention_head_dim\": null", "\"attention_head_dim\": 24", "heads 24 wide");
    check_refused("UNet2DModel", "UNet3DModel", "_class_name is 'UNet3DModel'");
    check_refused("{", "", "wanted JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
