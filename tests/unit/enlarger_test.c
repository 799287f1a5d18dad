/* enlarger_test.c: pictures enlarged by a network: by themselves, at the end of the built-in
 * model's large ones, between the two passes of others, and in little memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pictor.h"
#include "tests/unit/painted.h"

#define TINY "tests/golden/tiny/tiny-ldm.safetensors"

static struct pictor_engine *engine_of(int threads, size_t memory_limit)
{
    struct err err;
    struct pictor_engine_options options = {
        .threads = threads, .precision = PICTOR_PRECISION_F32, .memory_limit = memory_limit};
    struct pictor_engine *e = pictor_engine_new(&options, &err);
    assert_non_null(e);
    return e;
}

static struct pictor_model *model_of(struct pictor_engine *e, const char *path)
{
    struct err err;
    struct pictor_model *m = pictor_model_open(e, path, &err);
    if (!m)
        fail_msg("%s", err.msg);
    return m;
}

static struct pictor_upscaler *upscaler_of(struct pictor_engine *e)
{
    struct err err;
    const struct pictor_files none = {.count = 0};
    struct pictor_upscaler *u = pictor_upscaler_open_files(e, &none, &err);
    if (!u)
        fail_msg("%s", err.msg);
    return u;
}

static struct pictor_image upscale(struct pictor_upscaler *u, const struct pictor_image *in,
                                   int width, int height)
{
    struct err err;
    struct pictor_image image;
    if (!pictor_upscale(u, in, width, height, NULL, NULL, &image, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.channels, 3);
    return image;
}

static bool same(const struct pictor_image *a, const struct pictor_image *b)
{
    return a->width == b->width && a->height == b->height &&
           memcmp(a->pixels, b->pixels, (size_t)a->width * (size_t)a->height * 3) == 0;
}

static struct pictor_params params_of(struct pictor_model *m)
{
    struct pictor_params p;
    pictor_params_init(&p, m);
    p.prompt = "a red circle on a blue background";
    p.steps = 2;
    p.seed = 5;
    return p;
}

/* What the built-in model paints beyond its native size is its native picture, enlarged. */
static void test_builtin_model(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e, "builtin");
    struct pictor_upscaler *u = upscaler_of(e);
    struct pictor_params p = params_of(m);
    struct pictor_image native = paint(m, &p);
    assert_int_equal(native.width, 256);
    for (int side = 512; side <= 1024; side += 256) {
        p.width = p.height = side;
        struct pictor_image large = paint(m, &p), enlarged = upscale(u, &native, side, side);
        assert_true(same(&large, &enlarged));
        pictor_image_free(&large);
        pictor_image_free(&enlarged);
    }
    p.width = 640; /* another shape is another picture */
    p.height = 384;
    struct pictor_image wide = paint(m, &p);
    assert_int_equal(wide.width, 640);
    assert_int_equal(wide.height, 384);
    pictor_image_free(&wide);
    pictor_image_free(&native);
    pictor_upscaler_free(u);
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* Outside of a mask the input's pixels stay, whatever enlarges what is inside. */
static void test_mask(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e, "builtin");
    struct pictor_params p = params_of(m);
    enum { SIDE = 512 };
    struct pictor_image init = {SIDE, SIDE, 3, malloc(SIDE * SIDE * 3)};
    struct pictor_image mask = {SIDE, SIDE, 1, calloc(SIDE, SIDE)};
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        init.pixels[i] = (uint8_t)(i * 7 % 251);
    for (int i = 0; i < SIDE * SIDE; i++)
        mask.pixels[i] = i % SIDE > SIDE / 2 ? 255 : 0;
    p.init = &init;
    p.mask = &mask;
    p.mask_blur = 0;
    p.width = p.height = SIDE;
    struct pictor_image image = paint(m, &p);
    for (int y = 0; y < SIDE; y += 37)
        assert_memory_equal(image.pixels + y * SIDE * 3, init.pixels + y * SIDE * 3, SIDE / 2 * 3);
    pictor_image_free(&image);
    pictor_image_free(&init);
    pictor_image_free(&mask);
    pictor_model_free(m);
    pictor_engine_free(e);
}

/* Between the passes of a model that paints at any size. */
static void test_second_pass(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_model *m = model_of(e, TINY);
    struct pictor_upscaler *u = upscaler_of(e);
    struct pictor_params p = params_of(m);
    p.width = p.height = 64;
    p.hires_width = p.hires_height = 128;
    p.hires_strength = 0.2;
    p.hires_upscaler = "Lanczos";
    struct pictor_image lanczos = paint(m, &p);
    p.hires_upscaler = "REALESR-animevideov3"; /* names are taken in any case */
    struct pictor_image network = paint(m, &p);
    p.hires_upscaler = "some file";
    p.hires_network = u;
    struct pictor_image file = paint(m, &p);
    assert_false(same(&lanczos, &network));
    assert_true(same(&network, &file));
    p.hires_network = NULL;
    struct err err;
    struct pictor_image none;
    assert_false(pictor_generate(m, &p, &none, &err));
    assert_non_null(strstr(err.msg, "some file"));
    pictor_image_free(&lanczos);
    pictor_image_free(&network);
    pictor_image_free(&file);
    pictor_upscaler_free(u);
    pictor_model_free(m);
    pictor_engine_free(e);
}

static struct pictor_image picture(int width, int height)
{
    struct err err;
    struct pictor_image p;
    assert_true(image_new(&p, width, height, 3, &err));
    for (int i = 0; i < width * height * 3; i++)
        p.pixels[i] = (uint8_t)((i / 3 % width * 3 + i / 3 / width * 5) % 256);
    return p;
}

static bool count_calls(void *ctx, double share)
{
    int *calls = ctx;
    assert_true(share >= 0 && share <= 1);
    return --*calls > 0;
}

static void test_alone(void **state)
{
    struct pictor_engine *e = engine_of(2, 0);
    struct pictor_upscaler *u = upscaler_of(e);
    assert_int_equal(pictor_upscaler_info(u)->scale, 4);
    struct pictor_image in = picture(40, 30), out;
    out = upscale(u, &in, 200, 150); /* twice by the network */
    pictor_image_free(&out);
    out = upscale(u, &in, 37, 31); /* hardly at all */
    pictor_image_free(&out);
    out = upscale(u, &in, 20, 10); /* not by the network */
    struct pictor_image small;
    struct err err;
    assert_true(image_resize(&in, 20, 10, IMAGE_LANCZOS, &small, &err));
    assert_true(same(&out, &small));
    pictor_image_free(&out);
    pictor_image_free(&small);

    int calls = 5;
    assert_false(pictor_upscale(u, &in, 160, 120, count_calls, &calls, &out, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_null(out.pixels);
    assert_false(pictor_upscale(u, &in, 160, 0, NULL, NULL, &out, &err));
    assert_int_equal(err.code, ERR_INVALID);
    pictor_image_free(&in);
    pictor_upscaler_free(u);
    pictor_engine_free(e);
}

/* In little memory tiles are small, and the picture is the same; in less there is none. */
static void test_memory(void **state)
{
    struct err err;
    struct pictor_image in = picture(300, 200), want = {0};
    static const size_t limits[] = {0, 100, 4};
    for (int i = 0; i < 3; i++) {
        struct pictor_engine *e = engine_of(2, limits[i] << 20);
        struct pictor_upscaler *u = upscaler_of(e);
        struct pictor_image out;
        bool ok = pictor_upscale(u, &in, 1200, 800, NULL, NULL, &out, &err);
        if (i == 0)
            want = out;
        else if (i == 1)
            assert_true(ok && same(&out, &want));
        else
            assert_true(!ok && err.code == ERR_TOO_LARGE && strstr(err.msg, "MiB"));
        if (i == 1)
            pictor_image_free(&out);
        pictor_upscaler_free(u);
        pictor_engine_free(e);
    }
    pictor_image_free(&in);
    pictor_image_free(&want);
}

static bool interrupt(void *ctx, const struct pictor_progress *progress)
{
    if (progress->step == 1)
        pictor_engine_interrupt(ctx);
    return true;
}

/* What was composed is enlarged in one go, from a fourth of the size that is planned for. */
static void test_interrupted(void **state)
{
    struct pictor_engine *e = engine_of(1, 0);
    struct pictor_model *m = model_of(e, "builtin");
    struct pictor_params p = params_of(m);
    p.width = p.height = 768;
    p.steps = 4;
    p.on_progress = interrupt;
    p.ctx = e;
    struct pictor_image image = paint(m, &p);
    assert_int_equal(image.width, 768);
    pictor_image_free(&image);

    p.width = 512; /* a square that becomes the middle of a canvas, which is then not painted */
    p.height = 256;
    image = paint(m, &p);
    assert_int_equal(image.width, 512);
    assert_int_equal(image.height, 256);
    pictor_image_free(&image);
    pictor_model_free(m);
    pictor_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_builtin_model),
        cmocka_unit_test(test_mask),        cmocka_unit_test(test_second_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
