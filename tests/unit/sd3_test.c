/* sd3_test.c: Stable Diffusion 3 and 3.5 medium against diffusers and transformers (tests/golden,
 * "sd3"): the transformer in both layouts, and whole pictures through engine/pictor.h, with T5 and
 * without, from files apart, from a folder and from one file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/model/sd3.h"
#include "tests/unit/flow_case.h"

#define SD3 "tests/golden/sd3/"
#define T5 "tests/golden/t5/"
#define ROWS 49408
#define WIDTH 32 /* of either CLIP */

/* ---- the transformer ---- */

static void check_velocity(struct fixture *f, const struct sd3 *m, const char *which, int h, int w,
                           double t)
{
    char input[32], golden[64];
    struct sd3_scene scene = {.words = NULL};
    struct sd3_call call;
    float *text = floats_of(want(f->golden, "text")),
          *pooled = floats_of(want(f->golden, "pooled"));
    snprintf(input, sizeof input, "%dx%d.x", h, w);
    snprintf(golden, sizeof golden, "%dx%d.%s.t%g", h, w, which, t / 1000);
    scene.tokens = (int)want(f->golden, "text")->shape[0];
    float *x = latent_of(f, input, &scene.height, &scene.width);
    float *y = malloc(want(f->golden, input)->bytes);
    float *words = malloc((size_t)scene.tokens * 64 * sizeof *words);
    assert_true(y && words);
    scene.words = words;
    scene.pooled = pooled;
    RUN(f, sd3_words(&o, m, text, scene.tokens, words); sd3_begin(&o, m, &scene, &call);
        sd3_forward(&o, m, &call, x, t, y));
    check(f, golden, y, want(f->golden, golden));
    free(text);
    free(pooled);
    free(words);
    free(x);
    free(y);
}

static void check_transformer(const char *cpu, int bf16, const char *file, const char *which)
{
    struct err err;
    struct sd3_config config;
    bool large = strcmp(which, "large") == 0, medium = strcmp(which, "medium") == 0;
    const char *golden = large ? SD3 "golden-large.safetensors" : SD3 "golden.safetensors";
    struct fixture f = flow_fixture(golden, cpu, bf16);
    struct checkpoint *cp = flow_network("unet", file);
    struct sd3 *m = sd3_read(cp, &config, &err) ? sd3_load(f.dev, cp, &config, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    assert_int_equal(config.heads, large ? 4 : medium ? 2 : 1);
    assert_int_equal(config.blocks, large ? 5 : medium ? 3 : 2);
    assert_int_equal(config.side, 12);
    assert_true(config.normed == (medium || large));
    for (int i = 0; i < 4; i++)
        check_velocity(&f, m, which, i % 2 ? 6 : 8, i % 2 ? 10 : 12, i / 2 ? 717.5 : 1000);
    sd3_free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_transformer(void **state)
{
    for (int i = 0; device_level_name(i); i++)
        check_transformer(device_level_name(i), 0, SD3 "medium.safetensors", "medium");
    check_transformer(NULL, 0, SD3 "transformer/diffusion_pytorch_model.safetensors", "medium");
    check_transformer(NULL, 0, SD3 "three.safetensors", "three");
    check_transformer(NULL, 0, SD3 "large.safetensors", "large");
    check_transformer(NULL, 1, SD3 "medium.safetensors", "medium");
}

/* ---- files ---- */

static char folder[32], clips[2][96], whole[96];

/* A CLIP with its table of tokens, which is a formula's. */
static void copy_clip(struct file *f, int which, const char *to)
{
    float *numbers = malloc((size_t)ROWS * WIDTH * sizeof *numbers);
    char name[200];
    struct raw_tensor t = {.dtype = DTYPE_F32,
                           .ndim = 2,
                           .shape = {ROWS, WIDTH},
                           .data = numbers,
                           .bytes = (size_t)ROWS * WIDTH * sizeof *numbers};
    assert_non_null(numbers);
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < WIDTH; k++)
            numbers[i * WIDTH + k] =
                (float)(((int64_t)i * 7 + k * (13 + which) + (int64_t)i * k) % 61 - 30) / 32;
    flow_copy_into(f, which ? SD3 "clip_g.safetensors" : SD3 "clip_l.safetensors", "", to);
    snprintf(name, sizeof name, "%stext_model.embeddings.token_embedding.weight", to);
    file_add_whole(f, name, &t);
    free(numbers);
}

/* The CLIPs, and one file with all but T5, as Stability published it. */
static int make_files(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/sd3-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        snprintf(clips[i], sizeof clips[i], "%s/clip_%c.safetensors", folder, i ? 'g' : 'l');
        struct file f = file_new("\"a\":\"b\"");
        copy_clip(&f, i, "");
        file_write(&f, clips[i]);
    }
    snprintf(whole, sizeof whole, "%s/whole.safetensors", folder);
    struct file f = file_new("\"a\":\"b\"");
    flow_copy_into(&f, SD3 "medium.safetensors", "", "");
    flow_copy_into(&f, "tests/golden/flux1/ae.safetensors", "", "first_stage_model.");
    copy_clip(&f, 0, "text_encoders.clip_l.transformer.");
    copy_clip(&f, 1, "text_encoders.clip_g.transformer.");
    file_write(&f, whole);
    return 0;
}

static int remove_files(void **state)
{
    unlink(clips[0]);
    unlink(clips[1]);
    unlink(whole);
    return rmdir(folder);
}

static void add_parts(struct pictor_files *files, const char *network, bool spoken)
{
    struct err err;
    files->count = 0;
    if (!pictor_files_add(files, "unet", network, &err) ||
        !pictor_files_add(files, "text_encoder", clips[0], &err) ||
        !pictor_files_add(files, "text_encoder_2", clips[1], &err) ||
        !pictor_files_add(files, "vae", "tests/golden/flux1/ae.safetensors", &err) ||
        (spoken && (!pictor_files_add(files, "text_encoder_3", T5 "model.safetensors", &err) ||
                    !pictor_files_add(files, "tokenizer", T5 "spiece.model", &err))))
        fail_msg("%s", err.msg);
}

static struct pictor_params params_of(const struct flow_painter *p)
{
    struct pictor_params params;
    pictor_params_init(&params, p->model);
    params.prompt = "a red rabbit with a watch";
    params.seed = 7;
    params.rng = PICTOR_RNG_CPU;
    params.width = 96;
    params.height = 64;
    params.steps = 5;
    params.guidance = 4.5;
    return params;
}

/* ---- pictures ---- */

static void check_painted(const char *cpu, const char *network, bool spoken, const char *golden)
{
    struct pictor_files files;
    add_parts(&files, network, spoken);
    struct flow_painter p = flow_painter(&files, SD3 "golden.safetensors", cpu);
    pictor_files_close(&files);
    const struct pictor_model_info *info = pictor_model_info(p.model);
    assert_string_equal(info->architecture, "sd3");
    assert_string_equal(info->default_sampler, "Euler");
    assert_int_equal(info->default_steps, 28);
    assert_int_equal(info->native_width, 1024);
    assert_true(info->default_guidance == (strstr(network, "three") ? 7.0f : 4.5f) && info->flow);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, golden);
    flow_painter_free(&p);
}

static void test_pictures(void **state)
{
    check_painted("scalar", SD3 "medium.safetensors", true, "medium.picture");
    check_painted(NULL, SD3 "medium.safetensors", true, "medium.picture");
    check_painted(NULL, SD3 "medium.safetensors", false, "mute.picture");
    check_painted(NULL, SD3 "three.safetensors", true, "three.picture");
}

/* Begun from a picture, and a part of it painted over, as diffusers does either. */
static void test_over(void **state)
{
    static const char *const levels[] = {"scalar", NULL};
    for (int i = 0; i < 2; i++) {
        struct pictor_files files;
        add_parts(&files, SD3 "medium.safetensors", true);
        struct flow_painter p = flow_painter(&files, FLOW_OVER "golden.safetensors", levels[i]);
        pictor_files_close(&files);
        flow_check_over(&p, params_of(&p), "sd3");
        flow_painter_free(&p);
    }
}

/* Every step, in F32. */
static void test_trajectories(void **state)
{
    static const char *const networks[] = {SD3 "medium.safetensors", SD3 "medium.safetensors",
                                           SD3 "three.safetensors"};
    static const char *const goldens[] = {"medium.latents", "mute.latents", "three.latents"};
    for (int i = 0; i < 3; i++) {
        struct err err;
        struct pictor_files files;
        struct fixture f = flow_fixture(SD3 "golden.safetensors", NULL, 0);
        struct flow_asked asked = {.prompt = "a red rabbit with a watch",
                                   .guidance = 4.5,
                                   .width = 96,
                                   .height = 64,
                                   .steps = 5};
        add_parts(&files, networks[i], i != 1);
        struct checkpoint *cp = checkpoint_open_files(&files, &err);
        pictor_files_close(&files);
        assert_non_null(cp);
        flow_check_trajectory(&f, &family_sd3, cp, &asked, goldens[i]);
        checkpoint_free(cp);
        flow_fixture_free(&f);
    }
}

static void test_one_file(void **state)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    assert_true(pictor_files_add(&files, "model", whole, &err));
    struct flow_painter p = flow_painter(&files, SD3 "golden.safetensors", NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "mute.picture");
    assert_true(pictor_model_rest(p.model));
    flow_check_picture(&p, &params, "mute.picture");
    /* Beyond its positions. */
    params.width = 208;
    assert_false(pictor_check(p.model, &params, NULL, &err));
    assert_non_null(strstr(err.msg, "positions for pictures of 192 x 192"));
    /* Words of several chunks, painting over, and sides in steps of 8. */
    struct pictor_image out, first;
    params.width = 96;
    assert_true(pictor_generate(p.model, &params, &first, &err));
    char words[2048] = "";
    for (int i = 0; i < 200; i++)
        memcpy(words + 6 * i, " clock", 6);
    params.prompt = words;
    params.init = &first;
    params.strength = 0.5;
    params.width = 104;
    params.height = 72;
    if (!pictor_generate(p.model, &params, &out, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(out.width, 104);
    assert_int_equal(out.height, 72);
    pictor_image_free(&out);
    pictor_image_free(&first);
    flow_painter_free(&p);
}

static void test_folder(void **state)
{
    const char *const parts[][3] = {
        {"transformer", "model.safetensors", SD3 "transformer/diffusion_pytorch_model.safetensors"},
        {"vae", "model.safetensors", "tests/golden/flux1/ae.safetensors"},
        {"text_encoder", "model.safetensors", clips[0]},
        {"text_encoder_2", "model.safetensors", clips[1]},
        {"text_encoder_3", "model.safetensors", T5 "model.safetensors"},
        {"tokenizer_3", "spiece.model", T5 "spiece.model"},
    };
    char path[200], from[PATH_MAX];
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i][0]);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof path, "%s/%s/%s", folder, parts[i][0], parts[i][1]);
        assert_non_null(realpath(parts[i][2], from));
        assert_int_equal(symlink(from, path), 0);
    }
    struct err err;
    struct pictor_files files;
    if (!pictor_files_open(folder, &files, &err))
        fail_msg("%s", err.msg);
    struct flow_painter p = flow_painter(&files, SD3 "golden.safetensors", NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "medium.picture");
    flow_painter_free(&p);
    for (int i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, parts[i][0], parts[i][1]);
        unlink(path);
        snprintf(path, sizeof path, "%s/%s", folder, parts[i][0]);
        rmdir(path);
    }
}

static void test_alone(void **state)
{
    struct err err;
    struct pictor_file_info info;
    static const char *const files[] = {SD3 "medium.safetensors",
                                        SD3 "transformer/diffusion_pytorch_model.safetensors"};
    for (int i = 0; i < 2; i++) {
        if (!pictor_file_probe(files[i], &info, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(info.kind, PICTOR_KIND_MODEL);
        assert_true(info.lone);
        assert_string_equal(info.family, "sd3");
    }
    assert_true(pictor_file_probe(whole, &info, &err) && !info.lone);
    assert_string_equal(info.family, "sd3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer), cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_pictures),    cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_folder),      cmocka_unit_test(test_alone),
        cmocka_unit_test(test_over),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
