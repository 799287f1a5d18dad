/* golden_test.c: each part of the engine against the tensors that diffusers and transformers
 * computed from the same weights (tests/golden/README.md), at every CPU level.
 *
 * F32 must agree to 1e-4 relative L2 error (the float32 reference itself is within 1.3e-5 of a
 * float64 computation). BF16 keeps 8 bits, so a single rounding is up to 2^-9 = 2e-3; a few dozen
 * of them in a row, independent, come to about 1e-2 on these small models: 5e-2 catches any
 * mistake. int8 in the UNet has come to 5.7e-2: 1e-1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/checkpoint.h"
#include "engine/io/safetensors.h"
#include "engine/model/clip.h"
#include "engine/model/unet.h"
#include "engine/model/vae.h"
#include "tests/unit/nchw.h"

#define DIR "tests/golden/tiny/"

struct fixture {
    struct device *dev;
    struct checkpoint *cp;
    struct clip_config clip;
    struct unet_config unet;
    struct vae_config vae;
    const char *arithmetic;
    double limit;
};

static const struct raw_tensor *want(const struct safetensors *st, const char *name)
{
    const struct raw_tensor *t = safetensors_find(st, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t;
}

static double error_of(const float *got, const struct raw_tensor *t)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < t->bytes / 4; i++) {
        float w;
        memcpy(&w, (const char *)t->data + 4 * i, sizeof w);
        diff += (got[i] - w) * (double)(got[i] - w);
        norm += w * (double)w;
    }
    return sqrt(diff / norm);
}

static void check(const struct fixture *f, const char *name, const float *got,
                  const struct raw_tensor *t)
{
    double e = error_of(got, t);
    printf("%-7s %s %-32s %.2e\n", device_level(f->dev), f->arithmetic, name, e);
    assert_true(e <= f->limit);
}

/* A golden [b, c, h, w] as the engine has it. */
static void load(float *out, const struct raw_tensor *t)
{
    float *src = malloc(t->bytes);
    assert_non_null(src);
    memcpy(src, t->data, t->bytes);
    nchw_to_last(out, src, (int)t->shape[0], (int)t->shape[1], t->shape[2] * t->shape[3]);
    free(src);
}

/* The engine's [b, h, w, c] against a golden [b, c, h, w]. */
static void check_nchw(const struct fixture *f, const char *name, const float *got,
                       const struct raw_tensor *t)
{
    float *turned = malloc(t->bytes);
    assert_non_null(turned);
    nchw_from_last(turned, got, (int)t->shape[0], (int)t->shape[1], t->shape[2] * t->shape[3]);
    check(f, name, turned, t);
    free(turned);
}

/* Sizes the arena by a dry run, then runs for real. */
#define RUN(f, ...)                                                                                \
    do {                                                                                           \
        struct err err_;                                                                           \
        struct arena arena_;                                                                       \
        struct ops o = {(f)->dev, &arena_};                                                        \
        arena_plan(&arena_);                                                                       \
        __VA_ARGS__;                                                                               \
        size_t peak_ = arena_.peak;                                                                \
        assert_true(arena_init(&arena_, peak_, &err_));                                            \
        __VA_ARGS__;                                                                               \
        assert_int_equal(arena_.peak, peak_);                                                      \
        arena_free(&arena_);                                                                       \
    } while (0)

static float *floats(size_t n)
{
    float *p = calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

static void text(const struct fixture *f)
{
    struct err err;
    struct clip *c = clip_load(f->dev, f->cp, &f->clip, NULL, &err);
    struct safetensors *st = safetensors_open(DIR "text.safetensors", &err);
    assert_true(c && st);
    static const char *const names[] = {"empty", "prompt", "unicode", "full"};
    float *out = floats(77 * 64);
    for (int i = 0; i < 4; i++) {
        int ids[77];
        char name[64];
        snprintf(name, sizeof name, "%s.ids", names[i]);
        const float *src = want(st, name)->data;
        for (int j = 0; j < 77; j++) {
            float v;
            memcpy(&v, src + j, sizeof v);
            ids[j] = (int)v;
        }
        for (int skip = 1; skip <= 2; skip++) {
            snprintf(name, sizeof name, "%s.skip%d", names[i], skip);
            RUN(f, clip_encode(&o, c, ids, 77, NULL, skip, out, NULL));
            check(f, name, out, want(st, name));
        }
    }
    free(out);
    safetensors_close(st);
    clip_free(c);
}

static void unet_case(const struct fixture *f, const struct unet *u, const struct safetensors *st,
                      const char *size, const char *time, const char *context)
{
    char name[64];
    const struct raw_tensor *x, *t, *c, *eps;
    snprintf(name, sizeof name, "%s.latent", size);
    x = want(st, name);
    snprintf(name, sizeof name, "%s.timestep", time);
    t = want(st, name);
    c = want(st, context);
    snprintf(name, sizeof name, "%s.%s.%s.eps", size, time, context);
    eps = want(st, name);
    int h = (int)x->shape[2], w = (int)x->shape[3], tokens = (int)c->shape[1];
    float *in = floats(x->bytes / 4), *out = floats(x->bytes / 4), *ctx = floats(c->bytes / 4);
    float times[2];
    load(in, x);
    memcpy(ctx, c->data, c->bytes);
    memcpy(times, t->data, sizeof times);
    struct unet_prompt *prompt = NULL;
    if (times[0] == times[1]) {
        /* What the deep levels said of this very input gives the very same result, of both pictures
         * and of the first alone. */
        struct unet_prompt *first = NULL;
        struct tensor deep;
        struct unet_shortcuts keep = {.deep = &deep}, reuse = {.deep = &deep, .reuse = true};
        float *again = floats(x->bytes / 4), *alone = floats(x->bytes / 8);
        RUN(f, prompt = unet_prompt_new(&o, u, 2, tokens, ctx, NULL);
            first = unet_prompt_first(prompt, 1); deep = unet_deep(&o, u, 2, h, w);
            unet_forward(&o, u, prompt, in, h, w, times[0], &keep, NULL, out);
            unet_forward(&o, u, prompt, in, h, w, times[0], &reuse, NULL, again); deep.b = 1;
            unet_forward(&o, u, first, in, h, w, times[0], &reuse, NULL, alone);
            unet_prompt_free(first); unet_prompt_free(prompt));
        assert_memory_equal(out, again, x->bytes);
        assert_memory_equal(out, alone, x->bytes / 2);
        free(again);
        free(alone);
    } else { /* the engine runs one timestep a call */
        size_t n = x->bytes / 8;
        for (int i = 0; i < 2; i++)
            RUN(f, prompt = unet_prompt_new(&o, u, 1, tokens, ctx + (size_t)i * c->bytes / 8, NULL);
                unet_forward(&o, u, prompt, in + (size_t)i * n, h, w, times[i], NULL, NULL,
                             out + (size_t)i * n);
                unet_prompt_free(prompt));
    }
    check_nchw(f, name, out, eps);
    free(in);
    free(out);
    free(ctx);
}

static void merging_case(const struct fixture *f, const struct unet *u,
                         const struct safetensors *st, const struct safetensors *merging,
                         const char *size, double ratio)
{
    char name[64];
    snprintf(name, sizeof name, "%s.latent", size);
    const struct raw_tensor *x = want(st, name), *c = want(st, "c77");
    float *in = floats(x->bytes / 4), *out = floats(x->bytes / 4), *ctx = floats(c->bytes / 4);
    load(in, x);
    memcpy(ctx, c->data, c->bytes);
    struct unet_prompt *prompt = NULL;
    struct unet_shortcuts fewer = {.token_merging = ratio};
    RUN(f, prompt = unet_prompt_new(&o, u, 2, 77, ctx, NULL); unet_forward(
            &o, u, prompt, in, (int)x->shape[2], (int)x->shape[3], 500.5f, &fewer, NULL, out);
        unet_prompt_free(prompt));
    snprintf(name, sizeof name, "%s.%g.eps", size, ratio);
    check_nchw(f, name, out, want(merging, name));
    free(in);
    free(out);
    free(ctx);
}

static void unet(const struct fixture *f)
{
    struct err err;
    struct unet *u = unet_load(f->dev, f->cp, &f->unet, NULL, &err);
    struct safetensors *st = safetensors_open(DIR "unet.safetensors", &err);
    if (!u || !st)
        fail_msg("%s", err.msg);
    static const char *const times[] = {"t999", "t500.5", "t1", "t0", "tmix"};
    for (int i = 0; i < 5; i++) {
        unet_case(f, u, st, "8x8", times[i], "c77");
        unet_case(f, u, st, "8x8", times[i], "c154");
    }
    unet_case(f, u, st, "16x24", "t999", "c77");
    unet_case(f, u, st, "16x24", "t500.5", "c154");
    unet_case(f, u, st, "9x12", "t500.5", "c77");
    unet_case(f, u, st, "9x12", "t1", "c154");
    unet_case(f, u, st, "11x7", "tmix", "c77");

    struct safetensors *merging = safetensors_open(DIR "merging.safetensors", &err);
    if (!merging)
        fail_msg("%s", err.msg);
    for (int i = 0; i < 4; i++)
        merging_case(f, u, st, merging, i % 2 ? "9x12" : "8x8", i < 2 ? 0.5 : 0.75);
    safetensors_close(merging);
    safetensors_close(st);
    unet_free(u);
}

static void vae(const struct fixture *f)
{
    struct err err;
    struct vae *v = vae_load(f->dev, f->cp, &f->vae, NULL, &err);
    struct safetensors *st = safetensors_open(DIR "vae.safetensors", &err);
    if (!v || !st)
        fail_msg("%s", err.msg);
    static const char *const sizes[] = {"64x64", "96x64"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.image", sizes[i]);
        const struct raw_tensor *image = want(st, name);
        int h = (int)image->shape[2] / 8, w = (int)image->shape[3] / 8;
        size_t n = 4 * (size_t)h * (size_t)w;
        float *picture = floats(image->bytes / 4), *latent = floats(n);
        load(picture, image);
        RUN(f, vae_encode(&o, v, picture, h, w, latent));
        snprintf(name, sizeof name, "%s.scaled", sizes[i]);
        check_nchw(f, name, latent, want(st, name));
        snprintf(name, sizeof name, "%s.latent", sizes[i]);
        load(latent, want(st, name));
        RUN(f, vae_decode(&o, v, latent, h, w, picture));
        snprintf(name, sizeof name, "%s.decoded", sizes[i]);
        check_nchw(f, name, picture, want(st, name));
        free(picture);
        free(latent);
    }
    safetensors_close(st);
    vae_free(v);
}

/* Pictures that go on where they end. */
static void wrapped(const struct fixture *f)
{
    struct err err;
    struct unet *u = unet_load(f->dev, f->cp, &f->unet, NULL, &err);
    struct vae *v = vae_load(f->dev, f->cp, &f->vae, NULL, &err);
    struct safetensors *contexts = safetensors_open(DIR "unet.safetensors", &err);
    struct safetensors *st = safetensors_open(DIR "tiling.safetensors", &err);
    if (!u || !v || !st || !contexts)
        fail_msg("%s", err.msg);
    static const char *const sizes[] = {"8x8", "16x24"};
    const struct raw_tensor *c = want(contexts, "c77");
    float *ctx = floats(c->bytes / 4);
    memcpy(ctx, c->data, c->bytes);
    assert_false(device_wrap(f->dev, true));
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.latent", sizes[i]);
        const struct raw_tensor *x = want(st, name);
        float *in = floats(x->bytes / 4), *out = floats(x->bytes / 4);
        load(in, x);
        struct unet_prompt *prompt = NULL;
        int h = (int)x->shape[2], w = (int)x->shape[3];
        RUN(f, prompt = unet_prompt_new(&o, u, 2, 77, ctx, NULL);
            unet_forward(&o, u, prompt, in, h, w, 500.5f, NULL, NULL, out);
            unet_prompt_free(prompt));
        snprintf(name, sizeof name, "%s.eps", sizes[i]);
        check_nchw(f, name, out, want(st, name));
        free(in);
        free(out);
    }
    float *picture = floats((size_t)3 * 64 * 64), *latent = floats((size_t)4 * 8 * 8);
    load(picture, want(st, "image"));
    RUN(f, vae_encode(&o, v, picture, 8, 8, latent));
    check_nchw(f, "scaled", latent, want(st, "scaled"));
    load(latent, want(st, "z"));
    RUN(f, vae_decode(&o, v, latent, 8, 8, picture));
    check_nchw(f, "decoded", picture, want(st, "decoded"));
    assert_true(device_wrap(f->dev, false));
    free(picture);
    free(latent);
    free(ctx);
    safetensors_close(st);
    safetensors_close(contexts);
    vae_free(v);
    unet_free(u);
}

/* Runs `part` at every level this CPU has, in F32 and BF16, with two threads. */
static void at_every_level(void (*part)(const struct fixture *f))
{
    const char *cap = getenv("PICTOR_CPU");
    for (int i = 0; device_level_name(i); i++) {
        const char *level = device_level_name(i);
        for (int kind = 0; kind < 3; kind++) {
            static const char *const names[] = {"f32", "bf16", "int8"};
            static const double limits[] = {1e-4, 5e-2, 1e-1};
            struct err err;
            struct device_options options = {
                .threads = 2, .cpu = level, .bf16 = kind > 0, .int8 = kind == 2};
            struct fixture f = {device_new(&options, &err), .arithmetic = names[kind],
                                .limit = limits[kind]};
            if (!f.dev && kind == 2 && err.code == ERR_UNSUPPORTED)
                continue;
            if (!f.dev)
                fail_msg("%s", err.msg);
            bool here = strcmp(device_level(f.dev), level) == 0;
            f.cp = checkpoint_open(DIR "tiny-ldm.safetensors", &err);
            if (!f.cp || !clip_read(f.cp, CLIP_FIRST, &f.clip, &err) ||
                !unet_read(f.cp, &f.unet, &err) || !vae_read(f.cp, &f.vae, &err))
                fail_msg("%s", err.msg);
            f.clip.act = ACT_QUICK_GELU;
            f.unet.heads = 8;
            f.vae.scale = 0.18215f;
            if (here)
                part(&f);
            checkpoint_free(f.cp);
            device_free(f.dev);
        }
        if (cap && strcmp(cap, level) == 0)
            break;
    }
}

static void test_text(void **state)
{
    at_every_level(text);
}

static void test_unet(void **state)
{
    at_every_level(unet);
}

static void test_vae(void **state)
{
    at_every_level(vae);
}

static void test_wrapped(void **state)
{
    at_every_level(wrapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_unet),
        cmocka_unit_test(test_vae),
        cmocka_unit_test(test_wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
