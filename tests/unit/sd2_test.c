/* sd2_test.c: Stable Diffusion 2.x against transformers, diffusers and k-diffusion (tests/golden,
 * "sd2"): words, network and whole trajectories of v-prediction, from both layouts; and how a
 * checkpoint says what it predicts.
 *
 * The model is put together here: its text encoder and UNet are sd2/weights.safetensors, the table
 * of tokens and the autoencoder those of the tiny SD 1.x model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/golden_model.h"

#define SD2 "tests/golden/sd2/"
#define BIAS "model.diffusion_model.output_blocks.3.1.transformer_blocks.0.norm1.bias"

/* The single file. `bias` takes the place of the one by which v is told, if it is not NULL;
 * `marker`: there is a tensor "v_pred". */
static unsigned char *single_file(const char *metadata, const struct raw_tensor *bias, bool marker,
                                  size_t *size)
{
    struct safetensors *tiny = open_file(TINY), *sd2 = open_file(SD2 "weights.safetensors");
    struct file f = file_new(metadata);
    for (size_t i = 0; i < safetensors_count(sd2); i++) {
        const struct raw_tensor *t = safetensors_at(sd2, i);
        file_add_whole(&f, t->name, bias && strcmp(t->name, BIAS) == 0 ? bias : t);
    }
    for (size_t i = 0; i < safetensors_count(tiny); i++) {
        const struct raw_tensor *t = safetensors_at(tiny, i);
        if (strncmp(t->name, "first_stage_model.", 18) == 0)
            file_add_whole(&f, t->name, t);
    }
    file_add_whole(&f, "cond_stage_model.model.token_embedding.weight", want(tiny, TOKENS));
    if (marker) {
        unsigned char nothing[4] = {0};
        struct raw_tensor t = {.dtype = DTYPE_F32, .data = nothing, .bytes = 4};
        file_add(&f, "v_pred", "", -1, &t);
    }
    safetensors_close(sd2);
    safetensors_close(tiny);
    return file_bytes(&f, size);
}

static const char *const folders[] = {"unet", "vae", "text_encoder", "scheduler"};
static const char *const weights[] = {"diffusion_pytorch_model.safetensors",
                                      "diffusion_pytorch_model.safetensors", "model.safetensors"};

/* The diffusers folder, at `dir`, which exists. */
static void write_folder(const char *dir)
{
    struct safetensors *tiny = open_file(TINY), *sd2 = open_file(SD2 "weights.safetensors");
    char path[512], where[64], name[160], ldm[160], shape[32], third[8];
    struct file files[3];
    for (int i = 0; i < 3; i++)
        files[i] = file_new("");
    FILE *names = fopen(SD2 "names.tsv", "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s %7s", where, name, ldm, shape, third) == 5) {
        bool tokens = strstr(ldm, "token_embedding") != NULL;
        file_add(&files[strncmp(where, "unet", 4) ? 2 : 0], name, shape,
                 *third == '-' ? -1 : atoi(third), tokens ? want(tiny, TOKENS) : want(sd2, ldm));
    }
    fclose(names);
    names = fopen(TINY_NAMES, "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s", where, name, ldm, shape) == 4)
        if (strncmp(where, "vae", 3) == 0)
            file_add(&files[1], name, shape, -1, want(tiny, ldm));
    fclose(names);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        if (i == 3)
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", dir, folders[i], weights[i]);
        file_write(&files[i], path);
    }
    safetensors_close(sd2);
    safetensors_close(tiny);
}

static void write_scheduler(const char *dir, const char *prediction)
{
    char path[512];
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "{\"prediction_type\": \"%s\"}\n", prediction);
    assert_int_equal(fclose(f), 0);
}

static void remove_folder(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    unlink(path);
    for (int i = 0; i < 4; i++) {
        if (i < 3) {
            snprintf(path, sizeof path, "%s/%s/%s", dir, folders[i], weights[i]);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        rmdir(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* ---- the model against the golden tensors ---- */

/* Tokens, padding, the layer that is read, activation: all at once. */
static void check_words(struct fixture *f)
{
    static const char *const prompts[][2] = {
        {"empty", ""},
        {"prompt", "a photo of an astronaut riding a horse on mars"},
        {"unicode", "a cat \xf0\x9f\x90\xb1 and a dog\xf0\x9f\x90\xb6!"}};
    for (int i = 0; i < 3; i++) {
        char name[64];
        struct family_words words;
        for (f->params.clip_skip = 1; f->params.clip_skip <= 2; f->params.clip_skip++) {
            RUN(f,
                assert_true(words_ask(f->m, &o, &f->params, prompts[i][1], false, &words, &err)));
            assert_int_equal(words.tokens, 77);
            snprintf(name, sizeof name, "%s.states", prompts[i][0]);
            check(f, name, words.states, want(f->golden, name));
        }
    }
}

static void check_networks(struct fixture *f)
{
    static const struct {
        const char *size, *golden;
        double t;
    } cases[] = {
        {"8x8", "8x8.t999", 999}, {"8x8", "8x8.t500.5", 500.5}, {"9x12", "9x12.t999", 999}};
    struct family_words words[2] = {
        {.tokens = 77, .states = floats_of(want(f->golden, "prompt.states"))},
        {.tokens = 77, .states = floats_of(want(f->golden, "unicode.states"))}};
    for (int i = 0; i < 3; i++)
        check_network(f, cases[i].size, cases[i].t, cases[i].golden, words);
    free((float *)words[0].states);
    free((float *)words[1].states);
}

static void check_trajectories(struct fixture *f)
{
    struct family_words words[2] = {
        {.tokens = 77, .states = floats_of(want(f->golden, "prompt.states"))},
        {.tokens = 77, .states = floats_of(want(f->golden, "empty.states"))}};
    check_trajectory(f, "Euler", "uniform", "euler.uniform", words);
    check_trajectory(f, "DPM++ 2M", "karras", "dpmpp_2m.karras", words);
    free((float *)words[0].states);
    free((float *)words[1].states);
}

static void check_model(const struct checkpoint *cp, const char *level, bool trajectories)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(SD2 "golden.safetensors"),
                        .params = {.guidance = 7.5f, .clip_skip = 1},
                        .limit = 1e-4};
    const struct family *family = family_of(cp, &err);
    if (!f.dev || !family || !(f.m = family->open(f.dev, cp, &err)))
        fail_msg("%s", err.msg);
    assert_string_equal(f.m->facts.info.architecture, "sd2");
    assert_int_equal(f.m->facts.info.native_width, 768);
    check_words(&f);
    check_networks(&f);
    if (trajectories)
        check_trajectories(&f);
    family->free(f.m);
    safetensors_close(f.golden);
    device_free(f.dev);
}

static void test_single_file(void **state)
{
    struct err err;
    size_t size;
    unsigned char *bytes = single_file("", NULL, false, &size);
    struct checkpoint *cp = checkpoint_open_memory(bytes, size, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    check_model(cp, NULL, true);
    check_model(cp, "scalar", false);
    checkpoint_free(cp);
    free(bytes);
}

/* What the facts of a checkpoint say that it predicts. */
static void check_side(const struct checkpoint *cp, int side)
{
    struct err err = {0};
    struct family_facts facts;
    const struct family *family = family_of(cp, &err);
    if (!family || !family->read(cp, &facts, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(facts.info.native_width, side);
}

static void test_folder(void **state)
{
    struct err err;
    char dir[] = P_tmpdir "/sd2_test.XXXXXX";
    assert_non_null(mkdtemp(dir));
    write_folder(dir);
    write_scheduler(dir, "v_prediction");
    struct checkpoint *cp = checkpoint_open(dir, &err);
    if (!cp)
        fail_msg("%s", err.msg);
    check_model(cp, NULL, true);
    checkpoint_free(cp);
    write_scheduler(dir, "epsilon");
    cp = checkpoint_open(dir, &err);
    assert_non_null(cp);
    check_side(cp, 512);
    checkpoint_free(cp);
    remove_folder(dir);
}

/* What a single file predicts: by its biases, by metadata, by a marker. */
static void test_predictions(void **state)
{
    float small[64];
    for (int i = 0; i < 64; i++)
        small[i] = i % 2 ? 0.05f : -0.05f;
    struct raw_tensor bias = {
        .dtype = DTYPE_F32, .ndim = 1, .shape = {64}, .data = small, .bytes = sizeof small};
    const struct {
        const char *metadata;
        bool narrow, marker;
        int side;
    } cases[] = {
        {"", false, false, 768},
        {"", true, false, 512},
        {"", true, true, 768},
        {"\"modelspec.prediction_type\":\"epsilon\"", false, false, 512},
        {"\"modelspec.prediction_type\":\"v\"", true, false, 768},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err;
        size_t size;
        unsigned char *bytes =
            single_file(cases[i].metadata, cases[i].narrow ? &bias : NULL, cases[i].marker, &size);
        struct checkpoint *cp = checkpoint_open_memory(bytes, size, &err);
        if (!cp)
            fail_msg("%s", err.msg);
        check_side(cp, cases[i].side);
        checkpoint_free(cp);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_predictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
