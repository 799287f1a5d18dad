/* golden_model.h: making checkpoints out of golden tensors, and holding an opened model against
 * them: what the tests of single families have in common. */
#ifndef PICTOR_TESTS_UNIT_GOLDEN_MODEL_H
#define PICTOR_TESTS_UNIT_GOLDEN_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/io/safetensors.h"
#include "engine/pipeline/guided.h"
#include "tests/unit/golden_words.h"
#include "tests/unit/nchw.h"

#define TINY "tests/golden/tiny/tiny-ldm.safetensors"
#define TINY_NAMES "tests/golden/tiny/diffusers/names.tsv"
#define TOKENS "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"

/* ---- files ---- */

/* A .safetensors file in the making. */
struct file {
    char *header;
    unsigned char *data;
    size_t header_used, used;
};

static inline struct file file_new(const char *metadata)
{
    struct file f = {malloc(1 << 20), malloc(32 << 20), 0, 0};
    assert_true(f.header && f.data);
    f.header_used = (size_t)sprintf(f.header, "{\"__metadata__\":{%s}", metadata);
    return f;
}

/* `shape`: "64,64"; `third`: which third of its rows, -1: all. */
static inline void file_add(struct file *f, const char *name, const char *shape, int third,
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

static inline void file_add_whole(struct file *f, const char *name, const struct raw_tensor *t)
{
    char shape[96] = "";
    for (int i = 0; i < t->ndim; i++)
        sprintf(shape + strlen(shape), "%s%zu", i ? "," : "", t->shape[i]);
    file_add(f, name, shape, -1, t);
}

/* The file's bytes; frees what made it. */
static inline unsigned char *file_bytes(struct file *f, size_t *size)
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

static inline void file_write(struct file *f, const char *path)
{
    size_t size;
    unsigned char *bytes = file_bytes(f, &size);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
    free(bytes);
}

static inline struct safetensors *open_file(const char *path)
{
    struct err err;
    struct safetensors *st = safetensors_open(path, &err);
    if (!st)
        fail_msg("%s", err.msg);
    return st;
}

static inline const struct raw_tensor *want(const struct safetensors *st, const char *name)
{
    const struct raw_tensor *t = safetensors_find(st, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
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
static inline void check(const struct fixture *f, const char *name, const float *got,
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

static inline float *floats_of(const struct raw_tensor *t)
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

/* What the network says of `size`'s latents ("8x8") at time t, for two prompts. */
static inline void check_network(struct fixture *f, const char *size, double t, const char *golden,
                                 const struct family_words *words)
{
    char name[64];
    snprintf(name, sizeof name, "%s.latent", size);
    const struct raw_tensor *latent = want(f->golden, name);
    float *nchw = floats_of(latent), *x = malloc(latent->bytes), *y = malloc(latent->bytes);
    assert_true(x && y);
    nchw_to_last(x, nchw, 2, 4, latent->shape[2] * latent->shape[3]);
    struct family_picture picture = {
        .width = (int)latent->shape[3], .height = (int)latent->shape[2], .params = &f->params};
    struct family_call *call;
    RUN(f, call = f->m->family->call_new(f->m, &o, &picture, words, 2, &err); assert_non_null(call);
        f->m->family->predict(f->m, &o, call, x, t, false, y); f->m->family->call_free(call));
    check(f, golden, y, want(f->golden, golden));
    free(nchw);
    free(x);
    free(y);
}

/* Where a trajectory begins: k-diffusion's sigmas, which are float32 (trajectory_test.c), in the
 * plan, and the golden noise at the first of them in `x` [pixels, channels]. */
static inline void begin_trajectory(struct fixture *f, const char *golden, int steps, int pixels,
                                    int channels, struct sampler_plan *plan, float *x)
{
    char name[64];
    snprintf(name, sizeof name, "%s.sigmas", golden);
    float *sigmas = floats_of(want(f->golden, name));
    float *start = floats_of(want(f->golden, "start_noise"));
    for (int i = 0; i <= steps; i++) {
        assert_true(fabs(plan->sigmas[i] - sigmas[i]) <= 1e-6 * sigmas[i]);
        plan->sigmas[i] = sigmas[i];
    }
    nchw_to_last(x, start, 1, channels, pixels);
    for (int i = 0; i < pixels * channels; i++)
        x[i] *= sigmas[0];
    free(sigmas);
    free(start);
}

/* A whole picture's latent: the end is held against the golden tensors. */
static inline void check_spoken(struct fixture *f, const char *sampler_name, const char *scheduler,
                                const char *golden, const struct spoken *spoken)
{
    enum { W = 16, H = 8, C = 4, N = W * H * C, STEPS = 10 };
    char name[64];
    float x[N], scratch[4 * N];
    const struct sampler *sampler = sampler_find(sampler_name, NULL);
    struct schedule schedule;
    struct sampler_plan plan;
    struct noise noise;
    f->m->family->schedule(f->m, 8 * W, 8 * H, STEPS, &schedule);
    assert_true(sampler_plan_text(&plan, sampler,
                                  schedule_kind_of(pictor_scheduler_find(scheduler)), &schedule,
                                  STEPS, NULL));
    begin_trajectory(f, golden, STEPS, W * H, C, &plan, x);
    noise_init(&noise, PICTOR_RNG_CPU, 0);
    struct guided g;
    bool ok = false;
    RUN(f, struct guided_options options = {.ops = &o,
                                            .model = f->m,
                                            .schedule = &schedule,
                                            .picture = {W, H, &f->params, NULL, NULL, NULL},
                                            .spoken = spoken};
        guided_new(&g, &options); struct denoiser d = guided_denoiser(&g);
        struct sampler_run run = {.sampler = sampler,
                                  .plan = &plan,
                                  .pixels = W * H,
                                  .channels = C,
                                  .denoiser = d,
                                  .noise = &noise,
                                  .eta = NAN};
        ok = arena_planning(&arena) ? d.denoise(d.ctx, NULL, 1, NULL, NULL, &err)
                                    : sampler_run(&run, x, scratch, &err);
        assert_true(ok); guided_free(&g));
    snprintf(name, sizeof name, "%s.latents", golden);
    struct raw_tensor last = *want(f->golden, name); /* [.., C, H, W] */
    size_t rows = last.shape[0];
    last.shape[0] = 1;
    last.bytes /= rows;
    last.data = (const char *)last.data + (rows - 1) * last.bytes;
    check(f, golden, x, &last);
    sampler_plan_free(&plan);
}

/* So of two prompts' words. */
static inline void check_trajectory(struct fixture *f, const char *sampler_name,
                                    const char *scheduler, const char *golden,
                                    const struct family_words *words)
{
    struct family_words two[2] = {words[0], words[1]};
    struct spoken spoken = spoken_of(two, 1);
    check_spoken(f, sampler_name, scheduler, golden, &spoken);
    wording_free(&spoken.wording);
}

#endif
