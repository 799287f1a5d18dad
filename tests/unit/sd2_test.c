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

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/family/family.h"
#include "engine/io/safetensors.h"
#include "engine/pipeline/guided.h"
#include "tests/unit/nchw.h"

#define TINY "tests/golden/tiny/tiny-ldm.safetensors"
#define TINY_NAMES "tests/golden/tiny/diffusers/names.tsv"
#define SD2 "tests/golden/sd2/"
#define TOKENS "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
#define BIAS "model.diffusion_model.output_blocks.3.1.transformer_blocks.0.norm1.bias"

/* ---- files ---- */

/* A .safetensors file in the making. */
struct file {
    char *header;
    unsigned char *data;
    size_t header_used, used;
};

static struct file file_new(const char *metadata)
{
    struct file f = {malloc(1 << 20), malloc(32 << 20), 0, 0};
    assert_true(f.header && f.data);
    f.header_used = (size_t)sprintf(f.header, "{\"__metadata__\":{%s}", metadata);
    return f;
}

/* `shape`: "64,64"; `third`: which third of its rows, -1: all. */
static void file_add(struct file *f, const char *name, const char *shape, int third,
                     const struct raw_tensor *t)
{
    size_t bytes = third < 0 ? t->bytes : t->bytes / 3;
    size_t from = third < 0 ? 0 : (size_t)third * bytes;
    f->header_used +=
        (size_t)sprintf(f->header + f->header_used,
                        ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                        name, dtype_name(t->dtype), shape, f->used, f->used + bytes);
    memcpy(f->data + f->used, (const unsigned char *)t->data + from, bytes);
    f->used += bytes;
}

static void file_add_whole(struct file *f, const char *name, const struct raw_tensor *t)
{
    char shape[96] = "";
    for (int i = 0; i < t->ndim; i++)
        sprintf(shape + strlen(shape), "%s%zu", i ? "," : "", t->shape[i]);
    file_add(f, name, shape, -1, t);
}

/* The file's bytes; frees what made it. */
static unsigned char *file_bytes(struct file *f, size_t *size)
{
    f->header[f->header_used++] = '}';
    *size = 8 + f->header_used + f->used;
    unsigned char *out = malloc(*size);
    assert_non_null(out);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)f->header_used >> 8 * i);
    memcpy(out + 8, f->header, f->header_used);
    memcpy(out + 8 + f->header_used, f->data, f->used);
    free(f->header);
    free(f->data);
    return out;
}

static void file_write(struct file *f, const char *path)
{
    size_t size;
    unsigned char *bytes = file_bytes(f, &size);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
    free(bytes);
}

static struct safetensors *open_file(const char *path)
{
    struct err err;
    struct safetensors *st = safetensors_open(path, &err);
    if (!st)
        fail_msg("%s", err.msg);
    return st;
}

static const struct raw_tensor *want(const struct safetensors *st, const char *name)
{
    const struct raw_tensor *t = safetensors_find(st, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
}

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

struct fixture {
    struct device *dev;
    struct family_model *m;
    struct safetensors *golden;
    struct pictor_params params;
    double limit;
};

/* `got` is channels-last where the golden tensor is of four dimensions. */
static void check(const struct fixture *f, const char *name, const float *got,
                  const struct raw_tensor *t)
{
    size_t n = t->bytes / sizeof(float);
    float *expected = malloc(t->bytes), *turned = malloc(t->bytes);
    assert_true(expected && turned);
    memcpy(expected, t->data, t->bytes);
    if (t->ndim == 4)
        nchw_from_last(turned, got, (int)t->shape[0], (int)t->shape[1], t->shape[2] * t->shape[3]);
    else
        memcpy(turned, got, t->bytes);
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)turned[i] - expected[i]) * ((double)turned[i] - expected[i]);
        norm += (double)expected[i] * expected[i];
    }
    double e = sqrt(diff / norm);
    printf("%-7s %-28s %.2e\n", device_level(f->dev), name, e);
    assert_true(e <= f->limit);
    free(expected);
    free(turned);
}

static float *floats_of(const struct raw_tensor *t)
{
    float *f = malloc(t->bytes);
    assert_non_null(f);
    memcpy(f, t->data, t->bytes);
    return f;
}

/* Runs the statements over a planning arena and for real. */
#define RUN(f, ...)                                                                                \
    do {                                                                                           \
        struct err err;                                                                            \
        struct arena arena;                                                                        \
        struct ops o = {(f)->dev, &arena};                                                         \
        arena_plan(&arena);                                                                        \
        for (int real = 0; real < 2; real++) {                                                     \
            __VA_ARGS__;                                                                           \
            if (!real)                                                                             \
                assert_true(arena_init(&arena, arena.peak, &err));                                 \
        }                                                                                          \
        arena_free(&arena);                                                                        \
    } while (0)

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
            RUN(f, assert_true(
                       f->m->family->words(f->m, &o, &f->params, prompts[i][1], &words, &err)));
            assert_int_equal(words.tokens, 77);
            snprintf(name, sizeof name, "%s.states", prompts[i][0]);
            check(f, name, words.states, want(f->golden, name));
        }
    }
}

static void check_network(struct fixture *f)
{
    static const struct {
        const char *size, *time;
        double t;
    } cases[] = {{"8x8", "t999", 999}, {"8x8", "t500.5", 500.5}, {"9x12", "t999", 999}};
    float *states[2] = {floats_of(want(f->golden, "prompt.states")),
                        floats_of(want(f->golden, "unicode.states"))};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.latent", cases[i].size);
        const struct raw_tensor *t = want(f->golden, name);
        float *nchw = floats_of(t), *x = malloc(t->bytes), *y = malloc(t->bytes);
        assert_true(x && y);
        nchw_to_last(x, nchw, 2, 4, t->shape[2] * t->shape[3]);
        struct family_words words[2] = {{.tokens = 77, .states = states[0]},
                                        {.tokens = 77, .states = states[1]}};
        struct family_picture picture = {(int)t->shape[3], (int)t->shape[2], &f->params};
        struct family_call *call;
        RUN(f, call = f->m->family->call_new(f->m, &o, &picture, words, 2, &err);
            assert_non_null(call); f->m->family->predict(f->m, &o, call, x, cases[i].t, false, y);
            f->m->family->call_free(call));
        snprintf(name, sizeof name, "%s.%s", cases[i].size, cases[i].time);
        check(f, name, y, want(f->golden, name));
        free(nchw);
        free(x);
        free(y);
    }
    free(states[0]);
    free(states[1]);
}

/* A whole picture's latent, last and first to be held against. */
static void check_trajectory(struct fixture *f, const char *sampler_name, const char *scheduler,
                             const char *golden)
{
    enum { W = 16, H = 8, C = 4, N = W * H * C, STEPS = 10 };
    char name[64];
    float x[N], scratch[4 * N];
    float *start = floats_of(want(f->golden, "start_noise"));
    float *states[2] = {floats_of(want(f->golden, "prompt.states")),
                        floats_of(want(f->golden, "empty.states"))};
    const struct sampler *sampler = sampler_find(sampler_name, NULL);
    struct schedule schedule;
    struct sampler_plan plan;
    struct noise noise;
    f->m->family->schedule(f->m, 8 * W, 8 * H, STEPS, &schedule);
    assert_true(sampler_plan_text(&plan, sampler,
                                  schedule_kind_of(pictor_scheduler_find(scheduler)), &schedule,
                                  STEPS, NULL));
    /* k-diffusion's sigmas are float32; see trajectory_test.c. */
    snprintf(name, sizeof name, "%s.sigmas", golden);
    float *sigmas = floats_of(want(f->golden, name));
    for (int i = 0; i <= STEPS; i++) {
        assert_true(fabs(plan.sigmas[i] - sigmas[i]) <= 1e-6 * sigmas[i]);
        plan.sigmas[i] = sigmas[i];
    }
    nchw_to_last(x, start, 1, C, W * H);
    for (int i = 0; i < N; i++)
        x[i] *= sigmas[0];
    noise_init(&noise, PICTOR_RNG_CPU, 0);
    struct guided g;
    bool ok = false;
    RUN(f, struct guided_options options = {.ops = &o,
                                            .model = f->m,
                                            .schedule = &schedule,
                                            .picture = {W, H, &f->params},
                                            .words = {{.tokens = 77, .states = states[0]},
                                                      {.tokens = 77, .states = states[1]}}};
        assert_true(guided_new(&g, &options, &err)); struct denoiser d = guided_denoiser(&g);
        struct sampler_run run = {.sampler = sampler,
                                  .plan = &plan,
                                  .pixels = W * H,
                                  .channels = C,
                                  .denoiser = d,
                                  .noise = &noise,
                                  .eta = NAN};
        ok = arena_planning(&arena) ? d.denoise(d.ctx, NULL, 1, NULL, &err)
                                    : sampler_run(&run, x, scratch, &err);
        assert_true(ok); guided_free(&g));
    snprintf(name, sizeof name, "%s.latents", golden);
    struct raw_tensor last = *want(f->golden, name); /* [steps + 1, C, H, W] */
    last.shape[0] = 1;
    last.bytes /= STEPS + 1;
    last.data = (const char *)last.data + STEPS * last.bytes;
    check(f, golden, x, &last);
    sampler_plan_free(&plan);
    free(sigmas);
    free(start);
    free(states[0]);
    free(states[1]);
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
    check_network(&f);
    if (trajectories) {
        check_trajectory(&f, "Euler", "uniform", "euler.uniform");
        check_trajectory(&f, "DPM++ 2M", "karras", "dpmpp_2m.karras");
    }
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
