/* flux1_test.c: FLUX.1 against diffusers and transformers (tests/golden, "flux1"): its transformer
 * in both layouts, its autoencoder, its words, and whole pictures of [dev] and [schnell] through
 * engine/pictor.h, from a folder, from files apart and from one file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/model/flux1.h"
#include "tests/unit/flow_case.h"

#define FLUX1 "tests/golden/flux1/"
#define T5 "tests/golden/t5/"

/* ---- the transformer ---- */

static struct flux1 *load(struct fixture *f, const struct checkpoint *cp, bool guided)
{
    struct err err;
    struct flux1_config config;
    struct flux1 *m =
        flux1_read(cp, &config, &err) ? flux1_load(f->dev, cp, &config, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    assert_int_equal(config.takes, 16);
    assert_int_equal(config.channels, 16);
    assert_int_equal(config.blocks.width, 64);
    assert_int_equal(config.blocks.heads, 2);
    assert_int_equal(config.blocks.inside, 256);
    assert_int_equal(config.blocks.text, 96);
    assert_int_equal(config.pooled, 64);
    assert_int_equal(config.blocks.doubles, 2);
    assert_int_equal(config.blocks.singles, 2);
    assert_true(config.blocks.guided == guided);
    return m;
}

static void check_velocity(struct fixture *f, const struct flux1 *m, const char *input, double t,
                           const char *golden)
{
    struct flux1_scene scene = {.guidance = 3.5f};
    struct flux1_call call;
    float *text = floats_of(want(f->golden, "text")),
          *pooled = floats_of(want(f->golden, "pooled"));
    scene.tokens = (int)want(f->golden, "text")->shape[0];
    float *x = latent_of(f, input, &scene.height, &scene.width);
    float *y = malloc(want(f->golden, input)->bytes);
    float *words = malloc((size_t)scene.tokens * 64 * sizeof *words);
    assert_true(y && words);
    scene.words = words;
    scene.pooled = pooled;
    RUN(f, flux1_words(&o, m, text, scene.tokens, words); flux1_begin(&o, m, &scene, &call);
        flux1_forward(&o, m, &call, x, t, y));
    check(f, golden, y, want(f->golden, golden));
    free(text);
    free(pooled);
    free(words);
    free(x);
    free(y);
}

static void check_transformer(const char *cpu, int bf16, const char *file)
{
    struct fixture f = flow_fixture(FLUX1 "golden.safetensors", cpu, bf16);
    struct checkpoint *cp = flow_network("unet", file);
    struct flux1 *m = load(&f, cp, true);
    check_velocity(&f, m, "8x12.x", 1000, "8x12.t1");
    check_velocity(&f, m, "8x12.x", 717.5, "8x12.t0.7175");
    check_velocity(&f, m, "6x10.x", 1000, "6x10.t1");
    check_velocity(&f, m, "6x10.x", 717.5, "6x10.t0.7175");
    flux1_free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_transformer(void **state)
{
    for (int i = 0; device_level_name(i); i++)
        check_transformer(device_level_name(i), 0, FLUX1 "bfl.safetensors");
    check_transformer(NULL, 0, FLUX1 "transformer/diffusion_pytorch_model.safetensors");
    check_transformer(NULL, 1, FLUX1 "bfl.safetensors");
}

/* ---- files ---- */

static char folder[32], schnell[96], whole[96], spoken[96], kontext[96], filling[96];

/* As ComfyUI saves it inside of some text encoders: bytes of whatever type. */
static void add_vocabulary(struct file *f)
{
    FILE *in = fopen(T5 "spiece.model", "rb");
    struct raw_tensor t = {.dtype = DTYPE_F8_E4M3, .ndim = 1};
    char *bytes = malloc(1 << 20);
    assert_true(in && bytes);
    t.bytes = t.shape[0] = fread(bytes, 1, 1 << 20, in);
    t.data = bytes;
    file_add_whole(f, "spiece_model", &t);
    fclose(in);
    free(bytes);
}

static void copy_but(struct file *f, const char *path, const char *without)
{
    struct safetensors *st = open_file(path);
    for (size_t i = 0; i < safetensors_count(st); i++)
        if (!strstr(safetensors_at(st, i)->name, without))
            file_add_whole(f, safetensors_at(st, i)->name, safetensors_at(st, i));
    safetensors_close(st);
}

/* [schnell] is [dev] without what is told its guidance; one file with all, as ComfyUI writes it;
 * Kontext is [dev] by that name; Fill takes more in. */
static int make_files(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/flux1-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(schnell, sizeof schnell, "%s/schnell.safetensors", folder);
    snprintf(whole, sizeof whole, "%s/whole.safetensors", folder);
    struct file f = file_new("\"a\":\"b\"");
    copy_but(&f, FLUX1 "bfl.safetensors", "guidance_in");
    file_write(&f, schnell);
    f = file_new("\"a\":\"b\"");
    flow_copy_into(&f, FLUX1 "bfl.safetensors", "", "model.diffusion_model.");
    flow_copy_into(&f, FLUX1 "ae.safetensors", "", "vae.");
    flow_copy_into(&f, T5 "model.safetensors", "", "text_encoders.t5xxl.transformer.");
    flow_copy_into(&f, TINY, "cond_stage_model.transformer.", "text_encoders.clip_l.transformer.");
    file_write(&f, whole);
    snprintf(filling, sizeof filling, "%s/filling.safetensors", folder);
    f = file_new("\"a\":\"b\"");
    flow_copy_into(&f, FLOW_OVER "fill.safetensors", "", "");
    copy_but(&f, FLUX1 "bfl.safetensors", "img_in.weight");
    file_write(&f, filling);
    snprintf(kontext, sizeof kontext, "%s/flux1-kontext.safetensors", folder);
    f = file_new("\"a\":\"b\"");
    flow_copy_into(&f, FLUX1 "bfl.safetensors", "", "");
    file_write(&f, kontext);
    snprintf(spoken, sizeof spoken, "%s/spoken.safetensors", folder);
    f = file_new("\"a\":\"b\"");
    flow_copy_into(&f, T5 "model.safetensors", "", "");
    add_vocabulary(&f);
    file_write(&f, spoken);
    return 0;
}

static int remove_files(void **state)
{
    unlink(schnell);
    unlink(whole);
    unlink(spoken);
    unlink(kontext);
    unlink(filling);
    return rmdir(folder);
}

/* The transformer with its parts; T5 in llama.cpp's file brings its vocabulary. */
static void add_parts(struct pictor_files *files, const char *network, bool gguf)
{
    struct err err;
    files->count = 0;
    if (!pictor_files_add(files, "unet", network, &err) ||
        !pictor_files_add(files, "text_encoder", TINY, &err) ||
        !pictor_files_add(files, "text_encoder_2", gguf ? T5 "model.gguf" : T5 "model.safetensors",
                          &err) ||
        !pictor_files_add(files, "vae", FLUX1 "ae.safetensors", &err) ||
        (!gguf && !pictor_files_add(files, "tokenizer", T5 "spiece.model", &err)))
        fail_msg("%s", err.msg);
}

static struct flow_painter painter_of(const struct pictor_files *files, const char *cpu)
{
    return flow_painter(files, FLUX1 "golden.safetensors", cpu);
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
    return params;
}

/* ---- pictures ---- */

static void check_pictures(const char *cpu)
{
    struct pictor_files files;
    add_parts(&files, FLUX1 "bfl.safetensors", false);
    struct flow_painter p = painter_of(&files, cpu);
    pictor_files_close(&files);
    const struct pictor_model_info *info = pictor_model_info(p.model);
    assert_string_equal(info->architecture, "flux1");
    assert_string_equal(info->default_sampler, "Euler");
    assert_int_equal(info->default_steps, 28);
    assert_int_equal(info->native_width, 1024);
    assert_true(info->default_guidance == 3.5f && info->flow);
    struct pictor_params params = params_of(&p);
    params.steps = 6;
    flow_check_picture(&p, &params, "dev.picture");
    params.negative_prompt = "a green pear"; /* says nothing */
    flow_check_picture(&p, &params, "dev.picture");
    assert_true(pictor_model_rest(p.model));
    flow_check_picture(&p, &params, "dev.picture");
    flow_painter_free(&p);

    add_parts(&files, schnell, false);
    p = painter_of(&files, cpu);
    pictor_files_close(&files);
    assert_int_equal(pictor_model_info(p.model)->default_steps, 4);
    assert_true(pictor_model_info(p.model)->default_guidance == 1);
    params = params_of(&p);
    flow_check_picture(&p, &params, "schnell.picture");
    flow_painter_free(&p);
}

static void test_pictures(void **state)
{
    check_pictures("scalar");
    check_pictures(NULL);
}

/* Every step, in F32. */
static void check_steps(const char *network, int steps, const char *golden)
{
    struct err err;
    struct pictor_files files;
    struct fixture f = flow_fixture(FLUX1 "golden.safetensors", NULL, 0);
    struct flow_asked asked = {.prompt = "a red rabbit with a watch",
                               .told = 3.5,
                               .width = 96,
                               .height = 64,
                               .steps = steps};
    add_parts(&files, network, false);
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    pictor_files_close(&files);
    assert_non_null(cp);
    flow_check_trajectory(&f, &family_flux1, cp, &asked, golden);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_trajectories(void **state)
{
    check_steps(FLUX1 "bfl.safetensors", 6, "dev.latents");
    check_steps(schnell, 4, "schnell.latents");
}

/* One file with all but T5's vocabulary. */
static void test_one_file(void **state)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    assert_true(pictor_files_add(&files, "model", whole, &err));
    struct pictor_engine_options options = {.threads = 2};
    struct pictor_engine *engine = pictor_engine_new(&options, &err);
    assert_non_null(engine);
    assert_null(pictor_model_open_files(engine, &files, &err));
    assert_non_null(strstr(err.msg, "spiece.model"));
    pictor_engine_free(engine);
    assert_true(pictor_files_add(&files, "tokenizer", T5 "spiece.model", &err));
    struct flow_painter p = painter_of(&files, NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    params.steps = 6;
    flow_check_picture(&p, &params, "dev.picture");
    flow_painter_free(&p);
}

static void test_vocabulary_inside(void **state)
{
    struct err err;
    struct pictor_files files = {.count = 0};
    assert_true(pictor_files_add(&files, "unet", schnell, &err) &&
                pictor_files_add(&files, "text_encoder", TINY, &err) &&
                pictor_files_add(&files, "text_encoder_2", spoken, &err) &&
                pictor_files_add(&files, "vae", FLUX1 "ae.safetensors", &err));
    struct flow_painter p = painter_of(&files, NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "schnell.picture");
    flow_painter_free(&p);
}

/* T5 of llama.cpp's, which has a vocabulary of its own: the states are rounded, the tokens not. */
static void test_vocabulary_of_gguf(void **state)
{
    struct err err;
    struct pictor_files files;
    struct pictor_image image;
    add_parts(&files, schnell, true);
    /* A stray file beside it, which would be refused if it were read. */
    assert_true(pictor_files_add(&files, "tokenizer", FLUX1 "ae.safetensors", &err));
    struct flow_painter p = painter_of(&files, NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    if (!pictor_generate(p.model, &params, &image, &err))
        fail_msg("%s", err.msg);
    flow_check_near(&p, &image, "schnell.picture", 12);
    pictor_image_free(&image);
    flow_painter_free(&p);
}

/* A folder of diffusers', whose scheduler says how times are shifted. */
static void test_folder(void **state)
{
    static const char *const parts[][2] = {
        {"transformer", FLUX1 "transformer/diffusion_pytorch_model.safetensors"},
        {"vae", FLUX1 "ae.safetensors"},
        {"text_encoder", TINY},
        {"text_encoder_2", T5 "model.safetensors"},
        {"tokenizer_2", T5 "spiece.model"},
    };
    char path[160], from[PATH_MAX];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i][0]);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof path, "%s/%s/%s", folder, parts[i][0],
                 i == 4 ? "spiece.model" : "model.safetensors");
        assert_non_null(realpath(parts[i][1], from));
        assert_int_equal(symlink(from, path), 0);
    }
    struct err err;
    struct pictor_files files;
    if (!pictor_files_open(folder, &files, &err))
        fail_msg("%s", err.msg);
    struct flow_painter p = painter_of(&files, NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    params.steps = 6;
    flow_check_picture(&p, &params, "dev.picture");
    flow_painter_free(&p);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, parts[i][0],
                 i == 4 ? "spiece.model" : "model.safetensors");
        unlink(path);
        snprintf(path, sizeof path, "%s/%s", folder, parts[i][0]);
        rmdir(path);
    }
}

/* A transformer in a file of its own is known; one that is shown more is refused. */
static void test_alone(void **state)
{
    struct err err;
    struct pictor_file_info info;
    if (!pictor_file_probe(FLUX1 "bfl.safetensors", &info, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(info.kind, PICTOR_KIND_MODEL);
    assert_true(info.lone);
    assert_string_equal(info.family, "flux1");
    assert_int_equal(info.model.default_steps, 28);
    assert_true(
        pictor_file_probe(FLUX1 "transformer/diffusion_pytorch_model.safetensors", &info, &err) &&
        info.lone);
    assert_true(pictor_file_probe(schnell, &info, &err) && info.lone);
    assert_int_equal(info.model.default_steps, 4);
    assert_true(pictor_file_probe(whole, &info, &err) && !info.lone);
    assert_string_equal(info.family, "flux1");
}

/* Painting over a part, and over the whole with a strength: what is kept is kept; any side in steps
 * of 8; prompts longer than what they are filled up to. */
static void test_painting_over(void **state)
{
    struct err err;
    struct pictor_files files;
    struct pictor_image out;
    add_parts(&files, schnell, false);
    struct flow_painter p = painter_of(&files, NULL);
    pictor_files_close(&files);
    struct pictor_image first = flow_image(&p, "picture");
    struct pictor_image mask = {96, 64, 1, calloc(96 * 64, 1)};
    assert_non_null(mask.pixels);
    for (int i = 0; i < 96 * 64; i++)
        mask.pixels[i] = i % 96 < 32 ? 255 : 0;
    struct pictor_params params = params_of(&p);
    params.init = &first;
    params.mask = &mask;
    params.mask_blur = 0;
    for (int i = 0; i < 2; i++) {
        params.strength = i ? 0.5 : 1;
        if (!pictor_generate(p.model, &params, &out, &err))
            fail_msg("%s", err.msg);
        int changed = 0;
        for (int k = 0; k < 96 * 64 * 3; k++) {
            bool painted = k / 3 % 96 < 32;
            changed += painted && out.pixels[k] != first.pixels[k];
            assert_true(painted || out.pixels[k] == first.pixels[k]);
        }
        assert_true(changed > 3000);
        pictor_image_free(&out);
    }
    params = params_of(&p);
    params.width = 104;
    params.height = 72;
    params.hires_width = 120;
    params.hires_height = 88;
    char words[2048] = "";
    for (int i = 0; i < 300; i++)
        memcpy(words + 6 * i, " clock", 6);
    params.prompt = words;
    if (!pictor_generate(p.model, &params, &out, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(out.width, 120);
    assert_int_equal(out.height, 88);
    pictor_image_free(&out);
    pictor_image_free(&first);
    pictor_image_free(&mask);
    flow_painter_free(&p);
}

/* Begun from a picture, and a part of it painted over, as diffusers does either. */
static void test_over(void **state)
{
    static const char *const levels[] = {"scalar", NULL};
    for (int i = 0; i < 4; i++) {
        struct pictor_files files;
        add_parts(&files, i % 2 ? schnell : FLUX1 "bfl.safetensors", false);
        struct flow_painter p = flow_painter(&files, FLOW_OVER "golden.safetensors", levels[i / 2]);
        pictor_files_close(&files);
        flow_check_over(&p, params_of(&p), i % 2 ? "flux1.schnell" : "flux1.dev");
        flow_painter_free(&p);
    }
}

/* It is shown what it begins from, or a reference, and then nothing of that is in the noise. */
static void check_edits(const char *cpu)
{
    struct err err;
    struct pictor_files files;
    add_parts(&files, kontext, false);
    struct flow_painter p = flow_painter(&files, FLOW_OVER "golden.safetensors", cpu);
    pictor_files_close(&files);
    const struct pictor_model_info *info = pictor_model_info(p.model);
    assert_int_equal(info->references, 1);
    assert_true(info->default_guidance == 2.5f && !info->masked);
    struct pictor_image first = flow_image(&p, "first");
    const struct pictor_image *references[] = {&first, &first};
    struct pictor_params params = params_of(&p);
    assert_true(params.strength == 1);
    params.steps = 4;
    params.guidance = 3.5;
    params.init = &first;
    flow_check_picture(&p, &params, "flux1.kontext.picture");
    params.references = references;
    params.reference_count = 1;
    assert_false(pictor_check(p.model, &params, NULL, &err));
    assert_non_null(strstr(err.msg, "at most 1 pictures"));
    params.init = NULL;
    flow_check_picture(&p, &params, "flux1.kontext.picture");
    pictor_image_free(&first);
    flow_painter_free(&p);
}

static void test_edits(void **state)
{
    check_edits("scalar");
    check_edits(NULL);
}

/* Another picture than is painted: 104 x 72 becomes 96 x 64, by whole tokens; and all of a job. */
static void test_edits_any_size(void **state)
{
    struct err err;
    struct pictor_files files;
    struct pictor_image out, odd = {104, 72, 3, calloc(104 * 72, 3)};
    const struct pictor_image *references[] = {&odd};
    add_parts(&files, kontext, false);
    struct flow_painter p = flow_painter(&files, FLOW_OVER "golden.safetensors", NULL);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    assert_non_null(odd.pixels);
    params.steps = 2;
    params.references = references;
    params.reference_count = 1;
    params.hires_width = 128;
    params.hires_height = 96;
    if (!pictor_generate(p.model, &params, &out, &err))
        fail_msg("%s", err.msg);
    assert_true(out.width == 128 && out.height == 96);
    pictor_image_free(&out);
    free(odd.pixels);
    flow_painter_free(&p);
}

/* Fill is shown what a mask does not hide, and the mask; diffusers keeps nothing of it besides. */
static void check_fills(const char *cpu)
{
    struct err error;
    struct pictor_files files;
    int h, w;
    struct fixture f = flow_fixture(FLOW_OVER "golden.safetensors", cpu, 0);
    struct fixture noise_of = {.golden = open_file(FLUX1 "golden.safetensors")};
    add_parts(&files, filling, false);
    struct checkpoint *cp = checkpoint_open_files(&files, &error);
    pictor_files_close(&files);
    struct family_model *m = cp ? family_flux1.open(f.dev, cp, &error) : NULL;
    if (!m)
        fail_msg("%s", error.msg);
    assert_true(m->facts.info.masked && m->facts.beside == 80 && m->facts.info.references == 0);
    assert_true(m->facts.info.default_guidance == 30 && m->facts.info.default_steps == 50);
    float *picture = latent_of(&f, "first", &h, &w);
    struct pictor_image third = flow_left_third(w, h);
    float *mask = malloc((size_t)(w * h) * sizeof *mask);
    assert_non_null(mask);
    for (int i = 0; i < w * h; i++)
        mask[i] = third.pixels[i] ? 1 : 0;
    for (int i = 0; i < 3 * w * h; i++)
        picture[i] = picture[i] / 127.5f - 1;
    struct flow_asked asked = {.prompt = "a red rabbit with a watch",
                               .told = 30,
                               .width = w,
                               .height = h,
                               .steps = 4,
                               .picture = picture,
                               .mask = mask};
    float *noise = latent_of(&noise_of, "noise", &h, &w);
    size_t n = (size_t)(h * w * 16);
    float *rows = malloc(4 * n * sizeof *rows), *out = malloc(n * 12 * sizeof *out);
    assert_true(rows && out);
    RUN(&f, flow_walk(&o, m, &asked, noise, h, w, rows);
        family_flux1.decode(m, &o, rows + 3 * n, h, w, out));
    for (size_t i = 0; i < n * 12; i++)
        out[i] = fminf(fmaxf(out[i] / 2 + 0.5f, 0), 1);
    /* diffusers has the sines of a guidance of 1000 x 30 in F32, whose steps are 2e-3 there. */
    f.limit = 2e-4;
    check(&f, "flux1.fill.picture", out, want(f.golden, "flux1.fill.picture"));
    free(picture);
    free(mask);
    free(noise);
    free(rows);
    free(out);
    pictor_image_free(&third);
    safetensors_close(noise_of.golden);
    family_flux1.free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_fills(void **state)
{
    for (int i = 0; device_level_name(i); i++)
        check_fills(device_level_name(i));
}

/* A part of a picture, and one without any. */
static void test_fills_pictures(void **state)
{
    struct err err;
    struct pictor_files files;
    struct pictor_image out;
    add_parts(&files, filling, false);
    struct flow_painter p = flow_painter(&files, FLOW_OVER "golden.safetensors", NULL);
    pictor_files_close(&files);
    struct pictor_image first = flow_image(&p, "first"), mask = flow_left_third(96, 64);
    struct pictor_params params = params_of(&p);
    params.steps = 3;
    params.mask_blur = 0;
    for (int i = 0; i < 2; i++) {
        params.init = i ? NULL : &first;
        params.mask = i ? NULL : &mask;
        params.strength = 1;
        if (!pictor_generate(p.model, &params, &out, &err))
            fail_msg("%s", err.msg);
        for (int k = 0; k < 96 * 64 * 3 && !i; k++)
            assert_true(k / 3 % 96 < 32 || out.pixels[k] == first.pixels[k]);
        pictor_image_free(&out);
    }
    pictor_image_free(&first);
    pictor_image_free(&mask);
    flow_painter_free(&p);
}

static void test_vae(void **state)
{
    const struct vae_config numbers = {.channels = 16, .scale = 0.3611f, .shift = 0.1159f};
    flow_check_vae(flow_fixture(FLUX1 "golden.safetensors", NULL, 0), FLUX1 "ae.safetensors",
                   &numbers, "picture");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer),
        cmocka_unit_test(test_vae),
        cmocka_unit_test(test_trajectories),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_vocabulary_of_gguf),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_vocabulary_inside),
        cmocka_unit_test(test_painting_over),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_edits_any_size),
        cmocka_unit_test(test_fills),
        cmocka_unit_test(test_fills_pictures),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
