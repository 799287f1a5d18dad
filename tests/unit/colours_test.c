/* colours_test.c: colours taken over from another picture, against OpenCV, scikit-image and
 * blendmodes (tests/golden/colour_vectors.py). */
#include "engine/pipeline/colours.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/io/image.h"
#include "tests/golden/colour_vectors.h"

enum { W = 60, H = 40 };

static struct pictor_image gradient(int seed, int low, int high)
{
    struct pictor_image image;
    assert_true(image_new(&image, W, H, 3, NULL));
    uint8_t *p = image.pixels;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int k = 0; k < 3; k++)
                *p++ = (uint8_t)(low + (x * (k + 1) * 7 + y * (3 - k) * 5 + seed * 31 + x * y * k) %
                                           (high - low + 1));
    return image;
}

/* How far two pictures are apart: the mean, and the share of values by more than 6, in
 * thousandths. */
static void assert_alike(size_t vector, const uint8_t *image, const uint8_t *want)
{
    long sum = 0, far = 0, n = W * H * 3;
    for (long k = 0; k < n; k++) {
        int off = abs(image[k] - want[k]);
        sum += off;
        far += off > 6;
    }
    if (sum > n || far * 1000 > 20 * n)
        fail_msg("vector %zu: off by %ld thousandths of a value, %ld thousandths by more than 6",
                 vector, sum * 1000 / n, far * 1000 / n);
}

/* OpenCV converts in fixed point, so L*a*b* may be off by one, of which a saturated blue makes a
 * few values, and more where a histogram has a gap. */
static void test_vectors(void **state)
{
    for (size_t i = 0; i < sizeof colour_vectors / sizeof *colour_vectors; i++) {
        struct pictor_image like = gradient(colour_vectors[i].like_seed, colour_vectors[i].like_low,
                                            colour_vectors[i].like_high);
        struct pictor_image image =
            gradient(colour_vectors[i].seed, colour_vectors[i].low, colour_vectors[i].high);
        colours_match(&like, &image);
        assert_alike(i, image.pixels, colour_vectors[i].want);
        pictor_image_free(&like);
        pictor_image_free(&image);
    }
}

/* A picture keeps its own colours, but for rounding; pictures of one colour are no trouble. */
static void test_itself(void **state)
{
    struct pictor_image like = gradient(3, 20, 230), image = gradient(3, 20, 230);
    colours_match(&like, &image);
    assert_alike(0, image.pixels, like.pixels);
    memset(image.pixels, 128, W * H * 3);
    colours_match(&like, &image);
    memset(like.pixels, 0, W * H * 3);
    colours_match(&like, &image);
    pictor_image_free(&like);
    pictor_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
