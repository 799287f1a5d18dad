/* grid_test.c: grids, their words, and tiles that are joined to what they were cut from. */
#include "engine/io/image_grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT ((size_t)1 << 24)

static struct pictor_image pattern(int width, int height, int channels)
{
    struct pictor_image image;
    assert_true(image_new(&image, width, height, channels, NULL));
    size_t n = (size_t)width * (size_t)height * (size_t)channels;
    for (size_t i = 0; i < n; i++)
        image.pixels[i] = (uint8_t)((uint32_t)(i * 2654435761u) >> 20);
    return image;
}

/* What is cut and not changed is joined to what it was, whatever overlaps. */
static void test_tiles(void **state)
{
    static const int cases[][5] = {{64, 64, 64, 64, 16}, {100, 70, 40, 32, 8},
                                   {65, 64, 64, 64, 0},  {200, 33, 64, 32, 31},
                                   {30, 20, 64, 64, 16}, {129, 129, 8, 8, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *c = cases[i];
        struct pictor_image image = pattern(c[0], c[1], 3), joined;
        struct image_tiles tiles;
        struct err err;
        assert_true(image_tiles_plan(c[0], c[1], c[2], c[3], c[4], &tiles, &err));
        int count = tiles.columns * tiles.rows, x, y;
        struct pictor_image *cut = calloc((size_t)count, sizeof *cut);
        assert_non_null(cut);
        for (int k = 0; k < count; k++) {
            assert_true(image_tiles_cut(&tiles, k, &image, &cut[k], &err));
            image_tiles_at(&tiles, k, &x, &y);
            assert_true(x + c[2] <= (c[0] > c[2] ? c[0] : c[2]));
        }
        assert_true(image_tiles_join(&tiles, cut, &joined, &err));
        assert_int_equal(joined.width, c[0]);
        assert_memory_equal(joined.pixels, image.pixels, 3 * (size_t)c[0] * (size_t)c[1]);
        for (int k = 0; k < count; k++)
            pictor_image_free(&cut[k]);
        free(cut);
        pictor_image_free(&image);
        pictor_image_free(&joined);
    }
    struct image_tiles tiles;
    struct err err;
    assert_false(image_tiles_plan(64, 64, 32, 64, 32, &tiles, &err));
    assert_false(image_tiles_plan(64, 64, 32, 64, -1, &tiles, &err));
}

static void test_grid(void **state)
{
    struct pictor_image images[3] = {pattern(8, 8, 3), pattern(4, 8, 1), pattern(8, 6, 4)}, out;
    struct err err;
    assert_true(image_grid(images, 3, 2, 2, 3, LIMIT, &out, &err));
    assert_int_equal(out.width, 19);
    assert_int_equal(out.height, 19);
    assert_memory_equal(out.pixels, images[0].pixels, 3 * 8);
    assert_int_equal(out.pixels[3 * 8], 255);             /* the margin, */
    assert_int_equal(out.pixels[3 * (19 * 18 + 18)], 0); /* the cell without a picture, */
    assert_int_equal(out.pixels[3 * 11], 0);             /* and beside one that is narrow */
    pictor_image_free(&out);
    /* Too many pixels: smaller pictures. */
    struct pictor_image large = pattern(64, 32, 3);
    assert_true(image_grid(&large, 1, 3, 1, 0, 2000, &out, &err));
    assert_true(out.width * out.height <= 2000 && out.width == 3 * 2 * out.height);
    pictor_image_free(&out);
    pictor_image_free(&large);
    assert_false(image_grid(images, 3, 3, 1, 500, 100, &out, &err));
    assert_false(image_grid_fits(3, 1, 500, 100));
    assert_true(image_grid_fits(3, 1, 0, 2000));
    assert_false(image_grid_fits(100, 1, 500, (size_t)1 << 30)); /* longer than a side may be */
    assert_int_equal(err.code, ERR_TOO_LARGE);
    for (int i = 0; i < 3; i++)
        pictor_image_free(&images[i]);
}

static void test_words(void **state)
{
    static char *across[] = {"Steps: 2", "a long one that takes lines", ""};
    static char *down[] = {"x", "\xe7\x8c\xab\n\xff"};
    const struct image_labels all = {across, down, "title"}, none = {NULL, NULL, NULL};
    struct pictor_image grid = pattern(3 * 40, 2 * 40, 3), bare = pattern(3 * 40, 2 * 40, 3);
    struct err err;
    assert_true(image_grid_label(&grid, 3, 2, 0, &none, &err));
    assert_int_equal(grid.width, 120);
    assert_true(image_grid_label(&grid, 3, 2, 0, &all, &err));
    int left = grid.width - 120, top = grid.height - 80;
    assert_true(left > 0 && top > 0);
    for (int y = 0; y < 80; y++)
        assert_memory_equal(grid.pixels + 3 * ((top + y) * grid.width + left),
                            bare.pixels + 3 * y * 120, 3 * 120);
    pictor_image_free(&grid);
    pictor_image_free(&bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
