/* sdxl_test.c: Stable Diffusion XL and its refiner against transformers, diffusers and k-diffusion
 * (tests/golden, "sdxl"): words, network and whole trajectories, from both layouts; and how a
 * checkpoint says what it predicts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/golden_sdxl.h"

/* ---- files ---- */

static const char *const folders[] = {"unet", "vae", "text_encoder", "text_encoder_2", "scheduler"};
static const char *const weights[] = {"diffusion_pytorch_model.safetensors",
                                      "diffusion_pytorch_model.safetensors", "model.safetensors",
                                      "model.safetensors"};

static void add_turned(struct file *f, const char *name, const char *shape,
                       const struct raw_tensor *t)
{
    uint16_t turned[NARROW * NARROW];
    struct raw_tensor copy = *t;
    assert_int_equal(t->bytes, sizeof turned);
    for (int i = 0; i < NARROW; i++)
        for (int j = 0; j < NARROW; j++)
            memcpy(&turned[j * NARROW + i], (const uint16_t *)t->data + i * NARROW + j, 2);
    copy.data = turned;
    file_add(f, name, shape, -1, &copy);
}

static void write_text(const char *dir, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The diffusers folder, at `dir`, which exists. Its UNet's metadata say v, for the scheduler's file
 * to overrule. */
static void write_folder(const char *dir)
{
    struct safetensors *tiny = open_file(TINY), *sdxl = open_file(SDXL "weights.safetensors");
    char path[512], where[64], name[160], ldm[160], shape[32], third[8];
    struct file files[4];
    for (int i = 0; i < 4; i++)
        files[i] = file_new(i ? "" : "\"modelspec.prediction_type\":\"v\"");
    FILE *names = fopen(SDXL "names.tsv", "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s %7s", where, name, ldm, shape, third) == 5) {
        struct file *f = &files[starts(where, "unet") ? 0 : starts(where, "text_encoder/") ? 2 : 3];
        bool tokens = strstr(ldm, "token_embedding") != NULL;
        const struct raw_tensor *t = tokens ? want(tiny, TOKENS) : want(sdxl, ldm);
        if (*third == 't')
            add_turned(f, name, shape, t);
        else
            file_add(f, name, shape, *third == '-' ? -1 : atoi(third), t);
    }
    fclose(names);
    names = fopen(TINY_NAMES, "r");
    assert_non_null(names);
    while (fscanf(names, "%63s %159s %159s %31s", where, name, ldm, shape) == 4)
        if (starts(where, "vae"))
            file_add(&files[1], name, shape, -1, want(tiny, ldm));
    fclose(names);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        if (i == 4)
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", dir, folders[i], weights[i]);
        file_write(&files[i], path);
    }
    safetensors_close(sdxl);
    safetensors_close(tiny);
}

static void remove_folder(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    unlink(path);
    for (int i = 0; i < 5; i++) {
        if (i < 4) {
            snprintf(path, sizeof path, "%s/%s/%s", dir, folders[i], weights[i]);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
        rmdir(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* ---- the model against the golden tensors ---- */

static struct fixture fixture_of(const struct checkpoint *cp, const char *level, const char *name)
{
    struct err err;
    struct device_options options = {.threads = 2, .cpu = level, .bf16 = 0};
    struct fixture f = {.dev = device_new(&options, &err),
                        .golden = open_file(SDXL "golden.safetensors"),
                        .params = {.guidance = 2, .clip_skip = 1},
                        .limit = 1e-4};
    const struct family *family = family_of(cp, &err);
    if (!f.dev || !family || !(f.m = family->open(f.dev, cp, &err)))
        fail_msg("%s", err.msg);
    assert_string_equal(f.m->facts.info.architecture, name);
    assert_int_equal(f.m->facts.info.native_width, 1024);
    return f;
}

static void fixture_free(struct fixture *f)
{
    f->m->family->free(f->m);
    safetensors_close(f->golden);
    device_free(f->dev);
}

/* A chunk's states: of the second text encoder alone, or of both. */
static void check_states(const struct fixture *f, const char *name, int width, const float *got)
{
    struct raw_tensor t = *want(f->golden, name);
    float *part = columns(&t, WIDE - width, width);
    t.shape[1] = (size_t)width;
    t.bytes = TOKENS_A_CHUNK * (size_t)width * sizeof *part;
    t.data = part;
    check(f, name, got, &t);
    free(part);
}

static struct family_words words_of(struct fixture *f, const char *prompt, bool negative)
{
    struct family_words words;
    RUN(f, assert_true(words_ask(f->m, &o, &f->params, prompt, negative, &words, &err)));
    assert_int_equal(words.negative, negative);
    return words;
}

static void check_words(struct fixture *f, int width)
{
    static const char *const prompts[][2] = {{"empty", ""}, {"prompt", PROMPT}, {"unicode", CAT}};
    struct family_words words;
    char name[64];
    for (int i = 0; i < 3; i++) {
        /* Clip skip is SD 1.x's. */
        for (f->params.clip_skip = 1; f->params.clip_skip <= 2; f->params.clip_skip++) {
            words = words_of(f, prompts[i][1], false);
            assert_int_equal(words.tokens, TOKENS_A_CHUNK);
            snprintf(name, sizeof name, "%s.states", prompts[i][0]);
            check_states(f, name, width, words.states);
            snprintf(name, sizeof name, "%s.pooled", prompts[i][0]);
            check(f, name, words.pooled, want(f->golden, name));
        }
    }
    f->params.clip_skip = 1;
    words = words_of(f, "(" PROMPT ":1.3)", false);
    check_states(f, "weighted.states", width, words.states);
    check(f, "prompt.pooled", words.pooled, want(f->golden, "prompt.pooled"));

    words = words_of(f, PROMPT " BREAK " CAT, false);
    assert_int_equal(words.tokens, 2 * TOKENS_A_CHUNK);
    check_states(f, "prompt.states", width, words.states);
    check_states(f, "unicode.states", width, words.states + TOKENS_A_CHUNK * width);
    check(f, "prompt.pooled", words.pooled, want(f->golden, "prompt.pooled"));

    /* Of what is led away from, nothing is zeros, and words are words. */
    words = words_of(f, "", true);
    assert_int_equal(words.tokens, TOKENS_A_CHUNK);
    for (int i = 0; i < TOKENS_A_CHUNK * width; i++)
        assert_true(words.states[i] == 0);
    for (int i = 0; i < NARROW; i++)
        assert_true(words.pooled[i] == 0);
    words = words_of(f, PROMPT, true);
    check_states(f, "prompt.states", width, words.states);
}

static void check_networks(struct fixture *f, int width, const char *suffix)
{
    static const struct {
        const char *size, *time;
        double t;
    } cases[] = {{"8x8", "t999", 999}, {"8x8", "t500.5", 500.5}, {"9x12", "t999", 999}};
    struct family_words words[2] = {golden_words(f, "prompt", width, false),
                                    golden_words(f, "unicode", width, true)};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s%s", cases[i].size, cases[i].time, suffix);
        check_network(f, cases[i].size, cases[i].t, name, words);
    }
    words_free(&words[0]);
    words_free(&words[1]);
}

/* Against an empty negative prompt. */
static void check_run(struct fixture *f, const char *sampler, const char *scheduler,
                      const char *golden)
{
    static const float zeros[TOKENS_A_CHUNK * WIDE];
    struct family_words words[2] = {golden_words(f, "prompt", WIDE, false),
                                    {TOKENS_A_CHUNK, zeros, zeros, true}};
    check_trajectory(f, sampler, scheduler, golden, words);
    words_free(&words[0]);
}

static const char *const none[] = {NULL};

static void test_single_file(void **state)
{
    unsigned char *bytes;
    struct checkpoint *cp = single_file(false, "", none, &bytes);
    struct fixture f = fixture_of(cp, NULL, "sdxl");
    check_words(&f, WIDE);
    check_networks(&f, WIDE, "");
    check_run(&f, "Euler", "uniform", "euler.uniform");
    check_run(&f, "DPM++ 2M", "karras", "dpmpp_2m.karras");
    fixture_free(&f);
    f = fixture_of(cp, "scalar", "sdxl");
    check_words(&f, WIDE);
    check_networks(&f, WIDE, "");
    fixture_free(&f);
    checkpoint_free(cp);
    free(bytes);
}

/* The SD WebUI's ten Align Your Steps for SDXL. */
static void check_aligned(const struct schedule *s)
{
    static const double want[] = {14.615,  5.96340, 3.33897, 1.85505, 1.10233, 0.67496,
                                  0.43114, 0.26062, 0.12252, 0.029,   0};
    int count;
    double *sigmas = schedule_sigmas(s, SCHEDULE_ALIGN_YOUR_STEPS, 10, &count, NULL);
    assert_non_null(sigmas);
    assert_int_equal(count, 11);
    for (int i = 0; i < count; i++)
        assert_true(fabs(sigmas[i] - want[i]) < 1e-5);
    free(sigmas);
}

/* What the schedule of a checkpoint says. */
static void check_schedule(const struct checkpoint *cp, bool v, bool zero_terminal)
{
    struct schedule s;
    struct fixture f = fixture_of(cp, NULL, "sdxl");
    f.m->family->schedule(f.m, 1024, 1024, 20, &s);
    assert_int_equal(s.prediction, v ? SCHEDULE_V : SCHEDULE_NOISE);
    assert_true(zero_terminal ? s.sigmas[SCHEDULE_LEVELS - 1] > 4500
                              : s.sigmas[SCHEDULE_LEVELS - 1] < 15);
    check_aligned(&s);
    fixture_free(&f);
}

static void test_folder(void **state)
{
    struct err err;
    char dir[] = P_tmpdir "/sdxl_test.XXXXXX";
    assert_non_null(mkdtemp(dir));
    write_folder(dir);
    static const char *const configs[] = {
        "{\"prediction_type\": \"epsilon\", \"rescale_betas_zero_snr\": false}",
        "{\"prediction_type\": \"v_prediction\", \"rescale_betas_zero_snr\": true}"};
    for (int v = 0; v < 2; v++) {
        write_text(dir, configs[v]);
        struct checkpoint *cp = checkpoint_open(dir, &err);
        if (!cp)
            fail_msg("%s", err.msg);
        check_schedule(cp, v, v);
        if (!v) {
            struct fixture f = fixture_of(cp, NULL, "sdxl");
            check_words(&f, WIDE);
            check_networks(&f, WIDE, "");
            fixture_free(&f);
        }
        checkpoint_free(cp);
    }
    remove_folder(dir);
}

static void test_refiner(void **state)
{
    unsigned char *bytes;
    struct checkpoint *cp = single_file(true, "", none, &bytes);
    struct fixture f = fixture_of(cp, NULL, "sdxl-refiner");
    check_words(&f, NARROW);
    check_networks(&f, NARROW, ".refiner");
    fixture_free(&f);
    checkpoint_free(cp);
    free(bytes);
}

static void test_predictions(void **state)
{
    static const char v[] = "\"modelspec.prediction_type\":\"v\"";
    static const struct {
        const char *metadata, *markers[3];
        bool v, zero_terminal;
    } cases[] = {{"", {NULL}, false, false},
                 {"", {"v_pred"}, true, false},
                 {"", {"v_pred", "ztsnr"}, true, true},
                 {v, {NULL}, true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *bytes;
        struct checkpoint *cp = single_file(false, cases[i].metadata, cases[i].markers, &bytes);
        check_schedule(cp, cases[i].v, cases[i].zero_terminal);
        if (cases[i].zero_terminal) {
            struct fixture f = fixture_of(cp, NULL, "sdxl");
            check_run(&f, "Euler", "uniform", "euler.zero_terminal");
            fixture_free(&f);
        }
        checkpoint_free(cp);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_refiner),
        cmocka_unit_test(test_predictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
