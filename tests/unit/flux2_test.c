/* flux2_test.c: FLUX.2 against diffusers and transformers (tests/golden, "flux2"): its transformer
 * in both layouts, with pictures that it is shown and told its guidance, its autoencoder, and whole
 * pictures through engine/pictor.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "engine/family/qwen_words.h"
#include "engine/model/flux2.h"

#define FLUX2 "tests/golden/flux2/"
#define FLOW FLUX2
#define FLOW_FILES                                                                                 \
    {FLUX2 "model_index.json", FLUX2 "transformer/diffusion_pytorch_model.safetensors",            \
     FLUX2 "vae/diffusion_pytorch_model.safetensors",                                              \
     FLUX2 "text_encoder/model-00001-of-00002.safetensors"}
#include "tests/unit/flow_model.h"

/* `shown`: of the golden references, how many the network sees. */
static void check_velocity(struct fixture *f, const struct flux2 *m, const char *input, double t,
                           int shown, const char *golden)
{
    char name[64];
    struct flux2_scene scene = {.guidance = 4, .reference_count = shown};
    struct flux2_call call;
    float *text = floats_of(want(f->golden, "text")), *references[2];
    scene.tokens = (int)want(f->golden, "text")->shape[0];
    float *x = latent_of(f, input, &scene.height, &scene.width);
    for (int i = 0; i < shown; i++) {
        struct flux2_reference *r = &scene.references[i];
        snprintf(name, sizeof name, "reference%d", i);
        r->latent = references[i] = latent_of(f, name, &r->height, &r->width);
    }
    float *y = malloc(want(f->golden, input)->bytes);
    float *words = malloc((size_t)scene.tokens * 32 * sizeof *words);
    assert_true(y && words);
    scene.words = words;
    RUN(f, flux2_words(&o, m, text, scene.tokens, words); flux2_begin(&o, m, &scene, &call);
        flux2_forward(&o, m, &call, x, t, y));
    check(f, golden, y, want(f->golden, golden));
    for (int i = 0; i < shown; i++)
        free(references[i]);
    free(text);
    free(words);
    free(x);
    free(y);
}

static struct flux2 *load(struct fixture *f, const struct checkpoint *cp, bool guided)
{
    struct err err;
    struct flux2_config config;
    struct flux2 *m =
        flux2_read(cp, &config, &err) ? flux2_load(f->dev, cp, &config, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err.msg);
    assert_int_equal(config.channels, 128);
    assert_int_equal(config.blocks.width, 32);
    assert_int_equal(config.blocks.heads, 2);
    assert_int_equal(config.blocks.inside, 96);
    assert_int_equal(config.blocks.doubles, guided ? 1 : 2);
    assert_int_equal(config.blocks.singles, guided ? 1 : 2);
    assert_true(config.blocks.guided == guided);
    return m;
}

static void check_transformer(const char *level, int bf16, const char *path)
{
    struct fixture f = fixture(level, bf16);
    struct checkpoint *cp = flow_network("unet", path);
    struct flux2 *m = load(&f, cp, false);
    check_velocity(&f, m, "4x6.x", 1000, 0, "4x6.t1");
    check_velocity(&f, m, "4x6.x", 717.5, 0, "4x6.t0.7175");
    check_velocity(&f, m, "3x5.x", 1000, 0, "3x5.t1");
    check_velocity(&f, m, "3x5.x", 717.5, 0, "3x5.t0.7175");
    check_velocity(&f, m, "4x6.x", 717.5, 1, "4x6.one");
    check_velocity(&f, m, "4x6.x", 717.5, 2, "4x6.two");
    flux2_free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void test_transformer(void **state)
{
    const char *level;
    for (int i = 0; (level = device_level_name(i)); i++) {
        check_transformer(level, 0, FLUX2 "transformer/diffusion_pytorch_model.safetensors");
        check_transformer(level, 1, FLUX2 "transformer/diffusion_pytorch_model.safetensors");
    }
    check_transformer(NULL, 0, FLUX2 "bfl.safetensors");
}

static void test_told_its_guidance(void **state)
{
    struct fixture f = fixture(NULL, 0);
    struct checkpoint *cp = flow_network("unet", FLUX2 "dev.safetensors");
    struct flux2 *m = load(&f, cp, true);
    check_velocity(&f, m, "4x6.x", 717.5, 0, "4x6.dev");
    flux2_free(m);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

static void check_vae(const char *level, int bf16)
{
    const struct vae_config numbers = {.channels = 32, .scale = 1};
    flow_check_vae(fixture(level, bf16), FLUX2 "vae/diffusion_pytorch_model.safetensors", &numbers,
                   "first");
}

static void test_vae(void **state)
{
    check_vae("scalar", 0);
    check_vae(NULL, 0);
    check_vae(NULL, 1);
}

/* ---- whole pictures ---- */

static void check_pictures(const char *cpu)
{
    struct flow_painter p = painter_of(folder, cpu);
    const struct pictor_model_info *info = pictor_model_info(p.model);
    assert_string_equal(info->architecture, "flux2");
    assert_string_equal(info->default_sampler, "Euler");
    assert_int_equal(info->default_steps, 4);
    assert_int_equal(info->native_width, 1024);
    assert_true(info->default_guidance == 1 && info->references == FLUX2_REFERENCES);
    struct pictor_image first = flow_image(&p, "first"), second = flow_image(&p, "second");
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "distilled.picture");
    params.guidance = 9; /* there is none */
    params.negative_prompt = "a green pear";
    flow_check_picture(&p, &params, "distilled.picture");
    params.init = &first;
    assert_true(params.strength == 1);
    flow_check_picture(&p, &params, "edit1.picture");
    const struct pictor_image *references[] = {&second, &first};
    params.references = references;
    params.reference_count = 1;
    flow_check_picture(&p, &params, "edit2.picture");
    const struct pictor_image *turned[] = {&first, &second};
    params.init = NULL;
    params.references = turned;
    params.reference_count = 2;
    flow_check_picture(&p, &params, "edit2.picture");
    pictor_image_free(&first);
    pictor_image_free(&second);
    flow_painter_free(&p);
}

static void test_pictures(void **state)
{
    check_pictures("scalar");
    check_pictures(NULL);
}

/* Without a word that it is distilled it is not. */
static void test_base(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/model_index.json", folder);
    assert_int_equal(unlink(path), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"_class_name\": \"Flux2KleinPipeline\"}", f);
    assert_int_equal(fclose(f), 0);
    struct flow_painter p = painter_of(folder, NULL);
    assert_int_equal(pictor_model_info(p.model)->default_steps, 50);
    assert_true(pictor_model_info(p.model)->default_guidance == 4);
    struct pictor_params params = params_of(&p);
    params.steps = 6;
    flow_check_picture(&p, &params, "base.picture");
    assert_true(pictor_model_rest(p.model));
    flow_check_picture(&p, &params, "base.picture");
    flow_painter_free(&p);
    unlink(path);
    link_in(FLUX2 "model_index.json");
}

static void test_refused(void **state)
{
    struct flow_painter p = painter_of(folder, NULL);
    struct pictor_image first = flow_image(&p, "first"), thin = {64, 600, 3, first.pixels};
    struct pictor_params params = params_of(&p);
    params.sampler = "DDIM";
    check_refused(&p, &params, "not for flow models as this one: wanted one of DPM++ 2M, ");
    params = params_of(&p);
    params.width = 68;
    check_refused(&p, &params, "width must be a multiple of 8");
    params = params_of(&p);
    const struct pictor_image *many[11] = {&first, &first, &first, &first, &first, &first,
                                           &first, &first, &first, &first, &first};
    params.references = many;
    params.reference_count = 11;
    check_refused(&p, &params, "shown at most 10 pictures, got 11");
    params.reference_count = 10;
    params.init = &first;
    check_refused(&p, &params, "that which is begun from among them, got 11");
    many[0] = &thin;
    params.reference_count = 1;
    check_refused(&p, &params, "number 1 is 64 x 600");
    char *words = malloc(20000);
    assert_non_null(words);
    *words = 0;
    for (int i = 0; i < 3000; i++)
        strcpy(words + 2 * i, " a");
    params = params_of(&p);
    params.prompt = words;
    check_refused(&p, &params, "at most 2048 tokens, got 30");
    free(words);
    pictor_image_free(&first);
    flow_painter_free(&p);
}

/* Sides in steps of 8 come out as they were asked for, with all that may be asked for besides. */
static void test_sizes(void **state)
{
    struct err error;
    struct flow_painter p = painter_of(folder, NULL);
    struct pictor_image first = flow_image(&p, "first"), out;
    struct pictor_image mask = {first.width, first.height, 1,
                                calloc((size_t)(first.width * first.height), 1)};
    assert_non_null(mask.pixels);
    for (int i = 0; i < first.width * first.height; i++)
        mask.pixels[i] = i % first.width < first.width / 2 ? 255 : 0;
    for (int i = 0; i < 6; i++) {
        struct pictor_params params = params_of(&p);
        params.width = 104;
        params.height = 72;
        params.preview_every = 1;
        params.init = i >= 1 && i <= 4 ? &first : NULL;
        params.mask = i >= 2 && i <= 3 ? &mask : NULL;
        params.mask_only_area = i == 3;
        params.fit = i == 4 ? PICTOR_FIT_LATENT : PICTOR_FIT_STRETCH;
        params.strength = i == 2 ? 0.5 : 1;
        params.hires_width = i == 5 ? 120 : 0;
        params.hires_height = i == 5 ? 88 : 0;
        if (!pictor_generate(p.model, &params, &out, &error))
            fail_msg("%d: %s", i, error.msg);
        assert_int_equal(out.width, i == 5 ? 120 : i == 3 ? first.width : 104);
        assert_int_equal(out.height, i == 5 ? 88 : i == 3 ? first.height : 72);
        for (int k = 0; i == 3 && k < out.width * out.height; k++) /* far from the mask */
            if (k % out.width >= out.width * 3 / 4)
                assert_memory_equal(out.pixels + 3 * k, first.pixels + 3 * k, 3);
        pictor_image_free(&out);
    }
    pictor_image_free(&mask);
    pictor_image_free(&first);
    flow_painter_free(&p);
}

struct canceller {
    struct pictor_engine *engine;
    atomic_bool over;
};

/* Some operations after it was begun. */
static void *cancel_soon(void *ctx)
{
    struct canceller *c = ctx;
    uint64_t before = pictor_engine_beats(c->engine);
    while (!c->over && pictor_engine_beats(c->engine) < before + 40)
        sched_yield();
    pictor_engine_cancel(c->engine);
    return NULL;
}

/* In the midst of the text encoder, which is none of the steps. What was not computed is not
 * kept. */
static void test_cancelled_words(void **state)
{
    struct err error;
    struct pictor_image image;
    struct flow_painter p = painter_of(folder, NULL);
    struct pictor_params params = params_of(&p);
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        struct canceller c = {.engine = p.engine};
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &c), 0);
        bool ok = pictor_generate(p.model, &params, &image, &error);
        c.over = true;
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (!ok)
            assert_int_equal(error.code, ERR_CANCELLED);
        assert_true(ok || !image.pixels);
        pictor_image_free(&image);
    }
    flow_check_picture(&p, &params, "distilled.picture");
    flow_painter_free(&p);
}

/* A transformer in a file of its own is known, and paints with its parts beside it. */
static void test_alone(void **state)
{
    struct err error;
    struct pictor_file_info info;
    struct pictor_files files = {.count = 0};
    char path[160];
    if (!pictor_file_probe(FLUX2 "bfl.safetensors", &info, &error))
        fail_msg("%s", error.msg);
    assert_int_equal(info.kind, PICTOR_KIND_MODEL);
    assert_true(info.lone);
    assert_string_equal(info.family, "flux2");
    assert_int_equal(info.model.default_steps, 4);
    assert_int_equal(info.model.references, FLUX2_REFERENCES);
    assert_true(
        pictor_file_probe(FLUX2 "transformer/diffusion_pytorch_model.safetensors", &info, &error) &&
        info.lone);
    assert_false(pictor_file_probe(FLUX2 "dev.safetensors", &info, &error));
    assert_non_null(strstr(error.msg, "FLUX.2 [dev]"));
    assert_true(pictor_files_add(&files, "unet", FLUX2 "bfl.safetensors", &error));
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/text_encoder/model-0000%d-of-00002.safetensors", folder, i);
        assert_true(pictor_files_add(&files, "text_encoder", path, &error));
    }
    assert_true(
        pictor_files_add(&files, "vae", FLUX2 "vae/diffusion_pytorch_model.safetensors", &error));
    struct pictor_engine_options options = {.threads = 2, .precision = PICTOR_PRECISION_F32};
    struct flow_painter p = {pictor_engine_new(&options, &error), NULL,
                             open_file(FLUX2 "golden.safetensors")};
    if (!p.engine || !(p.model = pictor_model_open_files(p.engine, &files, &error)))
        fail_msg("%s", error.msg);
    pictor_files_close(&files);
    struct pictor_params params = params_of(&p);
    flow_check_picture(&p, &params, "distilled.picture");
    flow_painter_free(&p);
}

/* Painting over a part, and over the whole with a strength: what is kept is kept. */
static void test_painting_over(void **state)
{
    struct err error;
    struct flow_painter p = painter_of(folder, NULL);
    struct pictor_image first = flow_image(&p, "first"), mask = {96, 64, 1, calloc(96 * 64, 1)},
                        out;
    struct pictor_params params = params_of(&p);
    assert_non_null(mask.pixels);
    for (int i = 0; i < 96 * 64; i++)
        mask.pixels[i] = i % 96 < 32 ? 255 : 0;
    params.init = &first;
    params.mask = &mask;
    params.mask_blur = 0;
    for (int i = 0; i < 2; i++) {
        params.strength = i ? 0.5 : 1;
        if (!pictor_generate(p.model, &params, &out, &error))
            fail_msg("%s", error.msg);
        int changed = 0;
        for (int k = 0; k < 96 * 64 * 3; k++) {
            bool painted = k / 3 % 96 < 32;
            changed += painted && out.pixels[k] != first.pixels[k];
            assert_true(painted || out.pixels[k] == first.pixels[k]);
        }
        assert_true(changed > 3000);
        pictor_image_free(&out);
    }
    pictor_image_free(&first);
    pictor_image_free(&mask);
    flow_painter_free(&p);
}

static void copy_states(void *ctx, struct ops *o, const float *states, int tokens, int all,
                        float *out)
{
    if (!arena_planning(o->arena))
        memcpy(out, states, (size_t)tokens * *(const size_t *)ctx * sizeof *out);
}

#define TEXTS 80 /* more than a picture has prompts */

/* A prompt that changes is many texts, all of which are there as long as it is. */
static void test_many_texts(void **state)
{
    struct err err;
    struct fixture f = fixture(NULL, 0);
    struct pictor_files files = {.count = 0};
    struct qwen3_config config;
    char path[160], texts[TEXTS][16];
    const char *at[TEXTS];
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/text_encoder/model-0000%d-of-00002.safetensors", folder, i);
        assert_true(pictor_files_add(&files, "text_encoder", path, &err));
    }
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    pictor_files_close(&files);
    assert_true(cp && qwen3_read(cp, QWEN3_ROOT, &config, &err));
    struct qwen3 *qwen = qwen3_load(f.dev, cp, &config, NULL, &err);
    size_t width = (size_t)config.width;
    struct qwen_words_how how = {
        .count = 1, .width = config.width, .take = copy_states, .ctx = &width};
    struct qwen_words *words = qwen_words_new(qwen, &how, &err);
    assert_non_null(words);
    for (int i = 0; i < TEXTS; i++) {
        snprintf(texts[i], sizeof texts[i], "number %c%c", 'a' + i / 26, 'a' + i % 26);
        at[i] = texts[i];
    }
    struct family_prompt prompt = {.texts = at, .count = TEXTS};
    struct family_words said[TEXTS], alone[TEXTS];
    struct arena arena;
    struct ops o = {f.dev, &arena};
    arena_plan(&arena);
    assert_true(qwen_words_say(words, &o, &prompt, said, &err));
    assert_true(arena_init(&arena, arena.peak, &err));
    assert_true(qwen_words_say(words, &o, &prompt, said, &err));
    size_t n = (size_t)said[0].tokens * width;
    float *kept = malloc(TEXTS * n * sizeof *kept);
    assert_non_null(kept);
    for (size_t i = 0; i < TEXTS; i++) {
        memcpy(kept + i * n, said[i].states, n * sizeof *kept);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(said[i].states, said[k].states);
    }
    for (size_t i = 0; i < TEXTS; i++) {
        struct family_prompt one = {.texts = &at[i], .count = 1};
        assert_true(qwen_words_say(words, &o, &one, &alone[i], &err));
        if (alone[i].tokens == said[i].tokens)
            assert_memory_equal(alone[i].states, kept + i * n, n * sizeof *kept);
    }
    free(kept);
    arena_free(&arena);
    qwen_words_free(words);
    qwen3_free(qwen);
    checkpoint_free(cp);
    flow_fixture_free(&f);
}

/* The publisher's shift, by a picture's size and the steps: published sigmas of 4 steps, and the
 * logarithms of the shifts of 50. */
static void test_schedule(void **state)
{
    static const struct {
        int side;
        double sigmas[5];
    } sizes[] = {{256, {1, 0.95539, 0.87713, 0.70411, 0}},
                 {512, {1, 0.95809, 0.88398, 0.71750, 0}},
                 {768, {1, 0.96223, 0.89466, 0.73897, 0}},
                 {1024, {1, 0.96738, 0.90814, 0.76720, 0}},
                 {1536, {1, 0.95752, 0.88254, 0.71464, 0}}};
    static const double fifty[][2] = {{512, 1.70196}, {1024, 2.02335}};
    struct schedule s;
    int count;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        family_flux2.schedule(NULL, sizes[i].side, sizes[i].side, 4, &s);
        double *sigmas = schedule_sigmas(&s, SCHEDULE_SIMPLE, 4, &count, NULL);
        assert_true(sigmas && count == 5);
        for (int k = 0; k < 5; k++)
            assert_true(fabs(schedule_scales(&s, sigmas[k]).t / 1000 - sizes[i].sigmas[k]) < 1e-5);
        free(sigmas);
    }
    for (int i = 0; i < 2; i++) {
        family_flux2.schedule(NULL, (int)fifty[i][0], (int)fifty[i][0], 50, &s);
        double *sigmas = schedule_sigmas(&s, SCHEDULE_SIMPLE, 2, &count, NULL);
        assert_true(sigmas && count == 3);
        double half = schedule_scales(&s, sigmas[1]).t / 1000; /* shift / (shift + 1) */
        assert_true(fabs(log(half / (1 - half)) - fifty[i][1]) < 1e-4);
        free(sigmas);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformer), cmocka_unit_test(test_told_its_guidance),
        cmocka_unit_test(test_vae),         cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_base),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_painting_over),
        cmocka_unit_test(test_alone),       cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_many_texts),  cmocka_unit_test(test_cancelled_words),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
