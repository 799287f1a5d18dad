/* compose_test.c: what the built-in model paints in the place of what was asked for. */
#include "engine/family/compose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SIDE = 256 };

static const struct family_facts facts = {.multiple = 8,
                                          .info = {.native_width = SIDE, .native_height = SIDE}};

static struct pictor_params of(int width, int height)
{
    struct pictor_params p;
    pictor_params_init(&p, NULL);
    p.width = width;
    p.height = height;
    p.steps = 20;
    return p;
}

/* Whatever is far from a square is a square first, which becomes the middle of the canvas. */
static void wide_and_high(void **state)
{
    static const struct {
        int width, height, square, wide, high; /* square 0: as asked for */
    } cases[] = {
        {256, 256, 0, 0, 0},         {64, 64, 0, 0, 0},           {288, 256, 0, 0, 0},
        {320, 256, 256, 320, 256},   {384, 256, 256, 384, 256},   {256, 384, 256, 256, 384},
        {512, 256, 256, 512, 256},   {256, 512, 256, 256, 512},   {256, 128, 128, 256, 128},
        {192, 64, 64, 192, 64},      {1536, 1024, 256, 384, 256}, {1024, 1792, 256, 256, 448},
        {2048, 256, 184, 1448, 184}, {64, 8192, 64, 64, 5792},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_params asked = of(cases[i].width, cases[i].height);
        struct family_fitted f;
        assert_int_equal(compose_fit(&facts, SIDE, 0, &asked, &f), cases[i].square > 0);
        if (!cases[i].square)
            continue;
        assert_true(f.widen && f.network);
        assert_int_equal(f.params.width, cases[i].square);
        assert_int_equal(f.params.height, cases[i].square);
        assert_int_equal(f.params.hires_width, cases[i].wide);
        assert_int_equal(f.params.hires_height, cases[i].high);
        assert_int_equal(f.params.hires_steps, 12);
    }
}

static void large_ones_are_small_in_their_shape(void **state)
{
    struct pictor_params asked = of(1024, 1024);
    struct family_fitted f;
    assert_true(compose_fit(&facts, SIDE, 0, &asked, &f));
    assert_false(f.widen);
    assert_int_equal(f.params.width, SIDE);
    assert_int_equal(f.params.height, SIDE);
    assert_int_equal(f.params.hires_width, 0);
}

/* What says where things are, or goes on at the other edge, is about the whole canvas. */
static void what_is_no_square(void **state)
{
    static const struct pictor_image picture = {.width = 8, .height = 8, .channels = 3};
    static const struct pictor_control control = {0};
    static char other;
    for (int i = 0; i < 5; i++) {
        struct pictor_params asked = of(512, 256);
        struct family_fitted f;
        asked.init = i == 0 ? &picture : NULL;
        asked.tiling = i == 1;
        asked.controls = &control;
        asked.control_count = i == 2;
        asked.refiner = i == 4 ? (struct pictor_model *)&other : NULL; /* not looked into */
        assert_true(compose_fit(&facts, SIDE, i == 3 ? 0.3 : 0, &asked, &f));
        assert_false(f.widen);
        assert_int_equal(f.params.width, 360);
        assert_int_equal(f.params.height, 184);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_and_high),
        cmocka_unit_test(large_ones_are_small_in_their_shape),
        cmocka_unit_test(what_is_no_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
