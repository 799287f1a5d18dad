/* zimage_test.c: Z-Image against diffusers and transformers (tests/golden, "zimage"): its
 * transformer in both layouts, FLUX.1's autoencoder in both, and whole pictures through
 * engine/pictor.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model/zimage.h"

#define ZIMAGE "tests/golden/zimage/"
#define FLOW ZIMAGE
#define FLOW_FILES                                                                                 \
    {ZIMAGE "transformer/diffusion_pytorch_model.safetensors",                                     \
     ZIMAGE "vae/diffusion_pytorch_model.safetensors",                                             \
     "tests/golden/flux2/text_encoder/model-00001-of-00002.safetensors"}
#include "tests/unit/flow_model.h"

static struct zimage *load(struct fixture *f, const struct checkpoint *cp)
{
    struct err err;
    struct zimage_config c;
    struct zimage *m = zimage_read(cp, &c, &err) ? zimage_load(f->dev, cp, &c, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    assert_int_equal(c.channels, 16);
    assert_int_equal(c.width, 96);
    assert_int_equal(c.heads, 3);
    assert_int_equal(c.inside, 256);
    assert_int_equal(c.text, 32);
    assert_int_equal(c.time, 96);
    assert_int_equal(c.layers, 2);
    assert_int_equal(c.pictures, 1);
    assert_int_equal(c.words, 1);
    return m;
}

/* A latent of "HxW" and `tokens` states: what becomes of the words, and two velocities. */
static void check_velocity(struct fixture *f, const struct zimage *m, const char *size, int tokens)
{
    char name[32];
    struct zimage_call call;
    int h, w, all = (tokens + ZIMAGE_FILL - 1) / ZIMAGE_FILL * ZIMAGE_FILL;
    snprintf(name, sizeof name, "text%d", tokens);
    float *text = floats_of(want(f->golden, name));
    float *words = malloc((size_t)all * 96 * sizeof *words);
    snprintf(name, sizeof name, "text%d.said", tokens);
    assert_non_null(words);
    RUN(f, zimage_words(&o, m, text, tokens, all, words));
    check(f, name, words, want(f->golden, name));
    snprintf(name, sizeof name, "%s.x", size);
    float *x = latent_of(f, name, &h, &w), *y = malloc(want(f->golden, name)->bytes);
    assert_non_null(y);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.t%s", size, i ? "0.3" : "1");
        RUN(f, zimage_begin(&o, m, words, all, h, w, &call);
            zimage_forward(&o, m, &call, x, i ? 300 : 1000, y));
        check(f, name, y, want(f->golden, name));
    }
    free(text);
    free(words);
    free(x);
    free(y);
}

static void check_transformer(const char *level, int bf16, const char *path)
{
    struct fixture f = fixture(level, bf16);
    struct checkpoint *cp = flow_network("unet", path);
    struct zimage *m = load(&f, cp);
    check_velocity(&f, m, "8x12", 33);
    check_velocity(&f, m, "8x16", 32);
    check_velocity(&f, m, "6x10", 1);
    check_velocity(&f, m, "2x2", 31);
    zimage_free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_transformer(void **state)
{
    const char *level;
    for (int i = 0; (level = device_level_name(i)); i++) {
        check_transformer(level, 0, ZIMAGE "transformer/diffusion_pytorch_model.safetensors");
        check_transformer(level, 1, ZIMAGE "transformer/diffusion_pytorch_model.safetensors");
    }
    check_transformer(NULL, 0, ZIMAGE "z_image_turbo.safetensors");
}

static void check_vae(const char *level, int bf16, const char *path)
{
    const struct vae_config numbers = {.channels = 16, .scale = 0.3611f, .shift = 0.1159f};
    flow_check_vae(fixture(level, bf16), path, &numbers, "first");
}

static void test_vae(void **state)
{
    check_vae("scalar", 0, ZIMAGE "vae/diffusion_pytorch_model.safetensors");
    check_vae(NULL, 0, ZIMAGE "vae/diffusion_pytorch_model.safetensors");
    check_vae(NULL, 1, ZIMAGE "vae/diffusion_pytorch_model.safetensors");
    check_vae(NULL, 0, ZIMAGE "ae.safetensors");
}

/* ---- whole pictures ---- */

static void check_pictures(const char *cpu)
{
    struct flow_painter p = painter_of(folder, cpu);
    const struct pictor_model_info *info = pictor_model_info(p.model);
    assert_string_equal(info->architecture, "zimage");
    assert_string_equal(info->default_sampler, "Euler");
    assert_int_equal(info->default_steps, 8);
    assert_int_equal(info->native_width, 1024);
    assert_true(info->default_guidance == 1 && info->references == 0);
    struct pictor_image first = flow_image(&p, "first"), mask = {96, 64, 1, calloc(96 * 64, 1)};
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "turbo.picture");
    params.guidance = 9; /* there is none */
    params.negative_prompt = "a green pear";
    flow_check_picture(&p, &params, "turbo.picture");
    params.init = &first;
    params.strength = 0.75;
    flow_check_picture(&p, &params, "over.picture");
    assert_non_null(mask.pixels);
    for (int i = 0; i < 96 * 64; i++)
        mask.pixels[i] = i % 96 < 32 ? 255 : 0;
    params.mask = &mask;
    params.mask_blur = 0;
    flow_check_part(&p, &params, &first, "part.picture");
    pictor_image_free(&first);
    pictor_image_free(&mask);
    flow_painter_free(&p);
}

static void test_pictures(void **state)
{
    check_pictures("scalar");
    check_pictures(NULL);
}

static void write_scheduler(const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* What a folder's schedule says is that of a model that is not distilled. */
static void test_base(void **state)
{
    char path[160];
    struct err error;
    write_scheduler("{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\", \"shift\": 6.0}");
    struct flow_painter p = painter_of(folder, NULL);
    assert_int_equal(pictor_model_info(p.model)->default_steps, 50);
    assert_true(pictor_model_info(p.model)->default_guidance == 4);
    struct pictor_params params = params_of(&p);
    params.steps = 6;
    params.guidance = 2;
    flow_check_picture(&p, &params, "base.picture");
    assert_true(pictor_model_rest(p.model));
    flow_check_picture(&p, &params, "base.picture");
    pictor_model_free(p.model);
    write_scheduler("{\"shift\": -1}");
    assert_null(p.model = pictor_model_open(p.engine, folder, &error));
    assert_non_null(strstr(error.msg, "shift of 0.01 to 100, found -1"));
    flow_painter_free(&p);
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", folder);
    unlink(path);
}

/* Prompts of more tokens than are filled up, and sides that are no multiple of 16. */
static void test_sizes(void **state)
{
    struct err error;
    struct pictor_image out;
    struct flow_painter p = painter_of(folder, NULL);
    struct pictor_params params = params_of(&p);
    params.width = 104;
    params.height = 72;
    params.steps = 2;
    params.preview_every = 1;
    params.prompt = "a [red:green:0.5] apple on a table in front of a window with many small panes "
                    "of glass, and a long sentence about all of it AND a pear";
    if (!pictor_generate(p.model, &params, &out, &error))
        fail_msg("%s", error.msg);
    assert_true(out.width == 104 && out.height == 72);
    pictor_image_free(&out);
    flow_painter_free(&p);
}

/* ---- files ---- */

static void check_alone(const char *path, int steps)
{
    struct err error;
    struct pictor_file_info info;
    if (!pictor_file_probe(path, &info, &error))
        fail_msg("%s", error.msg);
    assert_int_equal(info.kind, PICTOR_KIND_MODEL);
    assert_true(info.lone);
    assert_string_equal(info.family, "zimage");
    assert_int_equal(info.model.default_steps, steps);
}

/* A transformer in a file of its own is known, is distilled or not by its name, and paints with its
 * parts beside it. */
static void test_alone(void **state)
{
    struct err error;
    struct pictor_files files = {.count = 0};
    char path[160], named[160];
    check_alone(ZIMAGE "z_image_turbo.safetensors", 8);
    check_alone(ZIMAGE "transformer/diffusion_pytorch_model.safetensors", 8);
    assert_non_null(realpath(ZIMAGE "z_image_turbo.safetensors", path));
    snprintf(named, sizeof named, "%s/z_image_bf16.safetensors", folder);
    assert_int_equal(symlink(path, named), 0);
    check_alone(named, 50);
    unlink(named);
    assert_true(pictor_files_add(&files, "unet", ZIMAGE "z_image_turbo.safetensors", &error));
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/text_encoder/model-0000%d-of-00002.safetensors", folder, i);
        assert_true(pictor_files_add(&files, "text_encoder", path, &error));
    }
    assert_true(pictor_files_add(&files, "vae", ZIMAGE "ae.safetensors", &error));
    struct pictor_engine_options options = {.threads = 2, .precision = PICTOR_PRECISION_F32};
    struct flow_painter p = {pictor_engine_new(&options, &error), NULL,
                             open_file(ZIMAGE "golden.safetensors")};
    if (!p.engine || !(p.model = pictor_model_open_files(p.engine, &files, &error)))
        fail_msg("%s", error.msg);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "turbo.picture");
    flow_painter_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer), cmocka_unit_test(test_vae),
        cmocka_unit_test(test_pictures),    cmocka_unit_test(test_base),
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
