/* detect_test.c: what ControlNets are shown of a picture, against OpenCV (detect_vectors.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/io/image_detect.h"
#include "tests/golden/detect_vectors.h"

static struct pictor_image picture(void)
{
    struct pictor_image image;
    struct err err;
    assert_true(image_new(&image, DETECT_W, DETECT_H, 3, &err));
    uint8_t *p = image.pixels;
    for (int y = 0; y < DETECT_H; y++)
        for (int x = 0; x < DETECT_W; x++) {
            int r = (x - 20) * (x - 20) + (y - 18) * (y - 18);
            bool ring = r >= 40 && r <= 120, bar = (x >= 34 && x < 38) || (x + 2 * y) % 31 < 2;
            for (int c = 0; c < 3; c++) {
                int v = 200 - 150 * ring - (90 + 20 * c) * bar + (x * 31 + y * 17 + c * 7) % 23;
                *p++ = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    return image;
}

static struct pictor_image found(const char *module, double a, double b, int side)
{
    struct pictor_image image = picture(), out;
    struct err err;
    if (!image_detect(module, &image, a, b, side, &out, &err))
        fail_msg("%s", err.msg);
    pictor_image_free(&image);
    return out;
}

/* `most`: pixels that may differ. */
static void check(const char *module, double a, double b, const char *const *rows, int most)
{
    struct pictor_image out = found(module, a, b, 0);
    int wrong = 0;
    assert_int_equal(out.width, DETECT_W);
    for (int i = 0; i < DETECT_W * DETECT_H; i++) {
        const uint8_t *p = out.pixels + 3 * i;
        assert_true((p[0] == 0 || p[0] == 255) && p[1] == p[0] && p[2] == p[0]);
        wrong += (p[0] == 255) != (rows[i / DETECT_W][i % DETECT_W] == '#');
    }
    if (wrong > most)
        fail_msg("%s: %d pixels are not OpenCV's", module, wrong);
    pictor_image_free(&out);
}

static void test_opencv(void **state)
{
    check("canny", 100, 200, canny_100_200, 0);
    check("canny", NAN, NAN, canny_100_200, 0);
    check("Canny", 500, 300, canny_300_500, 0);
    check("scribble_xdog", 32, NAN, scribble_32, 0);
    check("scribble", NAN, NAN, scribble_32, 0);
    check("scribble", 120, NAN, scribble_120, 0);
}

/* Those that depend on it see the picture at the size that is asked for. */
static void test_size(void **state)
{
    static const struct {
        const char *module;
        double a;
        int width, height;
    } cases[] = {{"canny", NAN, 112, 80}, {"scribble", NAN, 112, 80}, {"blur", NAN, 112, 80},
                 {"none", NAN, 56, 40},   {"invert", NAN, 56, 40},    {"inpaint", NAN, 56, 40},
                 {"tile", NAN, 56, 40},   {"tile", 2.5, 22, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_image out = found(cases[i].module, cases[i].a, NAN, 80);
        assert_int_equal(out.width, cases[i].width);
        assert_int_equal(out.height, cases[i].height);
        pictor_image_free(&out);
    }
    struct pictor_image out = found("canny", NAN, NAN, 20);
    assert_int_equal(out.width, 28);
    pictor_image_free(&out);
}

/* Eight pixels are no way to ask for two gigabytes. */
static void test_thin(void **state)
{
    static uint8_t pixels[3 * 8];
    const struct pictor_image thin = {1, 8, 3, pixels}, wide = {8, 1, 3, pixels};
    struct pictor_image out;
    struct err err;
    assert_true(image_detect("canny", &wide, NAN, NAN, 512, &out, &err));
    assert_int_equal(out.width, 4096);
    pictor_image_free(&out);
    assert_false(image_detect("canny", &thin, NAN, NAN, 4096, &out, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "4096x32768"));
    assert_null(out.pixels);
}

static void test_names(void **state)
{
    assert_string_equal(image_detect_known("INVERT"), "invert (from white bg & black line)");
    assert_string_equal(image_detect_known(""), "none");
    assert_null(image_detect_known("openpose"));
    assert_true(image_detect_inpaints("inpaint") && image_detect_inpaints("inpaint_only"));
    assert_false(image_detect_inpaints("canny") || image_detect_inpaints("openpose"));
    for (int i = 0; image_detect_name(i); i++)
        assert_string_equal(image_detect_known(image_detect_name(i)), image_detect_name(i));
    struct pictor_image image = picture(), out;
    struct err err;
    assert_false(image_detect("openpose", &image, NAN, NAN, 0, &out, &err));
    assert_non_null(strstr(err.msg, "'openpose': wanted none, canny"));
    assert_false(image_detect("tile_resample", &image, 9, NAN, 0, &out, &err));
    assert_non_null(strstr(err.msg, "1..8, got 9"));
    pictor_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opencv),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
