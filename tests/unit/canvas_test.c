/* canvas_test.c: painting over a picture, against Pillow (tests/golden/canvas_vectors.py) and
 * against what is promised of pixels outside the mask. */
#include "engine/pipeline/canvas.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/io/image.h"
#include "tests/golden/canvas_vectors.h"

static struct pictor_image gradients(int width, int height)
{
    struct pictor_image image;
    assert_true(image_new(&image, width, height, 3, NULL));
    uint8_t *p = image.pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            *p++ = (uint8_t)(x * 255 / width);
            *p++ = (uint8_t)(y * 255 / height);
            *p++ = (uint8_t)(x * 37 + y * 11);
        }
    return image;
}

static struct pictor_image rectangle(int width, int height, int x1, int y1, int x2, int y2)
{
    struct pictor_image mask;
    assert_true(image_new(&mask, width, height, 1, NULL));
    for (int y = y1; y < y2; y++)
        memset(mask.pixels + y * width + x1, 255, (size_t)(x2 - x1));
    return mask;
}

static struct pictor_image inverse(int width, int height)
{
    struct pictor_image image = gradients(width, height);
    for (int i = 0; i < width * height * 3; i++)
        image.pixels[i] = (uint8_t)(255 - image.pixels[i]);
    return image;
}

static struct pictor_params params_for(const struct pictor_image *init,
                                       const struct pictor_image *mask, int width, int height)
{
    return (struct pictor_params){.init = init,
                                  .mask = mask,
                                  .width = width,
                                  .height = height,
                                  .fill = PICTOR_FILL_ORIGINAL,
                                  .mask_blur_y = NAN};
}

static void assert_pixels(const char *what, size_t vector, const struct pictor_image *image,
                          const uint8_t *want, int allowed)
{
    size_t n = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    for (size_t i = 0; i < n; i++)
        if (abs(image->pixels[i] - want[i]) > allowed)
            fail_msg("%s of vector %zu: pixel %zu, channel %zu: %d wanted, got %d", what, vector,
                     i / 3, i % 3, want[i], image->pixels[i]);
}

static void test_vectors(void **state)
{
    for (size_t i = 0; i < sizeof canvas_vectors / sizeof *canvas_vectors; i++) {
        const struct canvas_vector *v = &canvas_vectors[i];
        struct pictor_image init = gradients(v->width, v->height), out, painted = inverse(24, 16);
        struct pictor_image mask =
            rectangle(v->width, v->height, v->box[0], v->box[1], v->box[2], v->box[3]);
        struct pictor_params p = params_for(&init, v->latent ? &mask : NULL, 24, 16);
        p.fit = (enum pictor_fit)v->fit;
        p.fill = (enum pictor_fill)v->fill;
        p.mask_blur = v->blur;
        p.mask_invert = v->invert;
        p.mask_only_area = v->area;
        p.mask_padding = v->padding;
        struct canvas canvas;
        struct err err;
        if (!canvas_prepare(&p, 8, &canvas, &err))
            fail_msg("vector %zu: %s", i, err.msg);
        assert_int_equal(canvas.image.width, 24);
        assert_int_equal(canvas.image.height, 16);
        assert_int_equal(canvas.image.channels, 3);
        /* Pillow fills with 8-bit blurs, coarse where little alpha is left; here they are floats.
         */
        assert_pixels("canvas", i, &canvas.image, v->work, p.fill == PICTOR_FILL_ORIGINAL ? 0 : 6);
        assert_true(canvas_finish(&canvas, &painted, &out, &err));
        if (v->latent) {
            assert_int_equal(canvas.x, v->region[0]);
            assert_int_equal(canvas.y, v->region[1]);
            assert_int_equal(canvas.width, v->region[2]);
            assert_int_equal(canvas.height, v->region[3]);
            for (int k = 0; k < 3 * 2; k++)
                if (canvas.mask[k] != v->latent[k])
                    fail_msg("vector %zu: mask [%d] is %g", i, k, (double)canvas.mask[k]);
            assert_int_equal(out.width, v->out_width);
            assert_int_equal(out.height, v->out_height);
            /* A blur that rounds the other way by one shifts the blend by one or two. */
            assert_pixels("result", i, &out, v->out, v->blur > 0 ? 2 : 0);
        } else {
            assert_null(canvas.mask);
            assert_pixels("result", i, &out, painted.pixels, 0);
        }
        canvas_free(&canvas);
        pictor_image_free(&init);
        pictor_image_free(&mask);
        pictor_image_free(&painted);
        pictor_image_free(&out);
    }
}

/* The half that is not in the mask comes back bit for bit, the other half as painted. */
static void test_half(void **state)
{
    struct pictor_image init = gradients(128, 64), painted = inverse(128, 64), out;
    struct pictor_image mask = rectangle(128, 64, 0, 0, 64, 64);
    for (int invert = 0; invert < 2; invert++)
        for (int fill = PICTOR_FILL_BLUR; fill <= PICTOR_FILL_NOTHING; fill++) {
            struct pictor_params p = params_for(&init, &mask, 128, 64);
            p.mask_invert = invert;
            p.fill = (enum pictor_fill)fill;
            struct canvas canvas;
            assert_true(canvas_prepare(&p, 8, &canvas, NULL));
            for (int i = 0; i < 16 * 8; i++)
                assert_true(canvas.mask[i] == ((i % 16 < 8) != invert));
            /* What is filled is filled under the mask only. */
            const uint8_t *kept = canvas.image.pixels + (invert ? 20 : 100) * 3;
            assert_memory_equal(kept, init.pixels + (invert ? 20 : 100) * 3, 3);
            assert_true(canvas_finish(&canvas, &painted, &out, NULL));
            for (int i = 0; i < 128 * 64; i++) {
                bool shown = (i % 128 < 64) != invert;
                assert_memory_equal(out.pixels + 3 * i, (shown ? &painted : &init)->pixels + 3 * i,
                                    3);
            }
            pictor_image_free(&out);
            canvas_free(&canvas);
        }
    pictor_image_free(&init);
    pictor_image_free(&painted);
    pictor_image_free(&mask);
}

/* 256 x 256 with a 64 x 64 mask, painted at 128 x 128: outside the region nothing moves, and with a
 * blur nothing moves outside of the blurred mask. */
static void test_only_area(void **state)
{
    struct pictor_image init = gradients(256, 256), painted = inverse(128, 128), out;
    struct pictor_image mask = rectangle(256, 256, 100, 40, 164, 104);
    for (int blur = 0; blur <= 4; blur += 4) {
        struct pictor_params p = params_for(&init, &mask, 128, 128);
        p.mask_only_area = true;
        p.mask_padding = 8;
        p.mask_blur = (float)blur;
        struct canvas canvas;
        assert_true(canvas_prepare(&p, 8, &canvas, NULL));
        assert_int_equal(canvas.x, 92 - (blur ? 10 : 0)); /* as far as the blur reaches */
        assert_int_equal(canvas.width, 80 + (blur ? 20 : 0));
        assert_true(canvas_finish(&canvas, &painted, &out, NULL));
        assert_int_equal(out.width, 256);
        for (int y = 0; y < 256; y++)
            for (int x = 0; x < 256; x++) {
                int margin = blur ? 10 : 0;
                bool outside =
                    x < 100 - margin || x >= 164 + margin || y < 40 - margin || y >= 104 + margin;
                size_t at = ((size_t)y * 256 + (size_t)x) * 3;
                if (outside)
                    assert_memory_equal(out.pixels + at, init.pixels + at, 3);
            }
        assert_memory_not_equal(out.pixels + (70 * 256 + 130) * 3,
                                init.pixels + (70 * 256 + 130) * 3, 3);
        pictor_image_free(&out);
        canvas_free(&canvas);
    }
    pictor_image_free(&init);
    pictor_image_free(&painted);
    pictor_image_free(&mask);
}

static void test_black_and_white_masks(void **state)
{
    struct pictor_image init = gradients(64, 64), painted = inverse(64, 64), out;
    struct pictor_image black = rectangle(64, 64, 0, 0, 0, 0);
    struct pictor_image white = rectangle(64, 64, 0, 0, 64, 64);
    struct pictor_params p = params_for(&init, &black, 64, 64);
    struct canvas canvas;
    p.mask_only_area = true;
    assert_true(canvas_prepare(&p, 8, &canvas, NULL)); /* nothing to paint: everything is painted */
    assert_null(canvas.mask);
    assert_true(canvas_finish(&canvas, &painted, &out, NULL));
    assert_memory_equal(out.pixels, painted.pixels, 64 * 64 * 3);
    pictor_image_free(&out);
    canvas_free(&canvas);

    for (int area = 0; area < 2; area++)
        for (int fill = 0; fill < 4; fill++) {
            p = params_for(&init, &white, 64, 64);
            p.mask_only_area = area;
            p.fill = (enum pictor_fill)fill;
            assert_true(canvas_prepare(&p, 8, &canvas, NULL));
            for (int i = 0; i < 64; i++)
                assert_true(canvas.mask[i] == 1);
            assert_true(canvas_finish(&canvas, &painted, &out, NULL));
            assert_memory_equal(out.pixels, painted.pixels, 64 * 64 * 3);
            pictor_image_free(&out);
            canvas_free(&canvas);
        }
    pictor_image_free(&init);
    pictor_image_free(&painted);
    pictor_image_free(&black);
    pictor_image_free(&white);
}

/* Transparency is what a mask with any of it means; an opaque one is read by its brightness. */
static void test_mask_kinds(void **state)
{
    struct pictor_image init = gradients(64, 64), mask;
    assert_true(image_new(&mask, 64, 64, 4, NULL));
    for (int opaque = 0; opaque < 2; opaque++) {
        for (int i = 0; i < 64 * 64; i++) {
            bool left = i % 64 < 32;
            memset(mask.pixels + 4 * i, left ? 255 : 0, 3);
            mask.pixels[4 * i + 3] = opaque ? 255 : left ? 128 : 129;
        }
        struct pictor_params p = params_for(&init, &mask, 64, 64);
        struct canvas canvas;
        assert_true(canvas_prepare(&p, 8, &canvas, NULL));
        for (int i = 0; i < 64; i++)
            assert_true(canvas.mask[i] == ((i % 8 < 4) == opaque));
        canvas_free(&canvas);
    }
    pictor_image_free(&mask);
    pictor_image_free(&init);
}

static void test_transparent_init(void **state)
{
    struct pictor_image init;
    assert_true(image_new(&init, 8, 8, 4, NULL));
    struct pictor_params p = params_for(&init, NULL, 16, 16);
    struct canvas canvas;
    assert_true(canvas_prepare(&p, 8, &canvas, NULL));
    for (int i = 0; i < 16 * 16 * 3; i++)
        assert_int_equal(canvas.image.pixels[i], 255);
    canvas_free(&canvas);
    pictor_image_free(&init);
}

/* Sizes that leave nothing to divide by, masks of other sizes, the widest blur. */
static void test_awkward(void **state)
{
    static const int sides[][2] = {{1, 1}, {1, 200}, {200, 1}, {3, 7}, {100, 99}};
    static const int masks[][2] = {{1, 1}, {5, 90}, {64, 64}};
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 3; k++)
            for (int mode = 0; mode < 12; mode++) {
                struct pictor_image init = gradients(sides[i][0], sides[i][1]), out;
                struct pictor_image mask =
                    rectangle(masks[k][0], masks[k][1], 0, 0, 1, (masks[k][1] + 1) / 2);
                struct pictor_image painted = inverse(64, 72);
                struct pictor_params p = params_for(&init, &mask, 64, 72);
                p.fit = (enum pictor_fit)(mode % 3);
                p.mask_only_area = mode / 3 % 2;
                p.fill = mode / 6 ? PICTOR_FILL_BLUR : PICTOR_FILL_ORIGINAL;
                p.mask_blur = 64;
                p.mask_padding = 1000;
                struct canvas canvas;
                struct err err;
                if (!canvas_prepare(&p, 8, &canvas, &err))
                    fail_msg("%s", err.msg);
                assert_true(canvas_finish(&canvas, &painted, &out, &err));
                bool keeps_size = p.mask_only_area && canvas.mask;
                assert_int_equal(out.width, keeps_size ? init.width : 64);
                assert_int_equal(out.height, keeps_size ? init.height : 72);
                pictor_image_free(&out);
                canvas_free(&canvas);
                pictor_image_free(&init);
                pictor_image_free(&mask);
                pictor_image_free(&painted);
            }
}

static void test_refused(void **state)
{
    struct pictor_image init = gradients(8, 8), empty = {0}, mask = rectangle(8, 8, 0, 0, 4, 4);
    struct pictor_image long_one = gradients(20000, 1);
    struct canvas canvas;
    struct err err;
    struct pictor_params p = params_for(&empty, NULL, 64, 64);
    assert_false(canvas_prepare(&p, 8, &canvas, &err));
    p = params_for(&init, &empty, 64, 64);
    assert_false(canvas_prepare(&p, 8, &canvas, &err));
    static const float blurs[] = {-1, 65, NAN};
    for (int i = 0; i < 3; i++) {
        p = params_for(&init, &mask, 64, 64);
        p.mask_blur = blurs[i];
        assert_false(canvas_prepare(&p, 8, &canvas, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    p = params_for(&init, &mask, 64, 64);
    p.mask_padding = -1;
    assert_false(canvas_prepare(&p, 8, &canvas, &err));
    p = params_for(&long_one, NULL, 64, 64); /* covering 64 rows would take 1,280,000 columns */
    p.fit = PICTOR_FIT_CROP;
    assert_false(canvas_prepare(&p, 8, &canvas, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_null(canvas.image.pixels);
    pictor_image_free(&init);
    pictor_image_free(&mask);
    pictor_image_free(&long_one);
}

/* What leads a picture lies on it as the picture lies on the canvas. */
static void test_beside(void **state)
{
    enum { SIDE = 96 };
    struct pictor_image init, mask, fitted;
    struct canvas canvas;
    struct err err;
    struct pictor_params p;
    pictor_params_init(&p, NULL);
    assert_true(image_new(&init, SIDE, SIDE, 3, &err) && image_new(&mask, SIDE, SIDE, 1, &err));
    for (int i = 0; i < SIDE * SIDE; i++) {
        init.pixels[3 * i] = (uint8_t)(2 * (i % SIDE));
        init.pixels[3 * i + 1] = (uint8_t)(2 * (i / SIDE));
        int x = i % SIDE, y = i / SIDE;
        mask.pixels[i] = x >= 60 && x < 76 && y >= 20 && y < 36 ? 255 : 0;
    }
    p.init = &init;
    p.mask = &mask;
    p.width = p.height = 64;
    p.mask_blur = 0;
    p.mask_padding = 8;
    for (int part = 0; part < 2; part++) {
        p.mask_only_area = part;
        assert_true(canvas_prepare(&p, 8, &canvas, &err));
        assert_int_equal(canvas.part, part);
        assert_true(canvas_fit_beside(&canvas, &init, PICTOR_FIT_CROP, 64, 64, &fitted, &err));
        assert_memory_equal(fitted.pixels, canvas.image.pixels, 64 * 64 * 3);
        pictor_image_free(&fitted);
        canvas_free(&canvas);
    }
    pictor_image_free(&init);
    pictor_image_free(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),    cmocka_unit_test(test_half),
        cmocka_unit_test(test_only_area),  cmocka_unit_test(test_black_and_white_masks),
        cmocka_unit_test(test_mask_kinds), cmocka_unit_test(test_transparent_init),
        cmocka_unit_test(test_awkward),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
