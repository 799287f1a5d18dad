/* hollow_test.c: what a model is seen to do on a device without weights: what is known of SD 1.5
 * and SDXL by other means is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/compute/hollow.h"
#include "engine/family/family.h"

struct seen {
    const struct arena *arena;
    int count[HOLLOW_ATTENTION + 1], cross;
    double multiplied; /* of products: multiplications */
    double weights;    /* of products */
};

static void see(void *ctx, const struct hollow_note *n)
{
    struct seen *s = ctx;
    if (n->arena != s->arena)
        return;
    s->count[n->kind]++;
    if (n->kind == HOLLOW_ATTENTION && n->keys->w != n->x->w)
        s->cross++;
    /* Doubling and convolving is 9 taps to everybody else. */
    int taps = n->kind == HOLLOW_CONV3X3 || n->kind == HOLLOW_UPSAMPLE ? 9 : 1;
    int gated = n->w && matrix_kind_of(n->w) == MATRIX_GATED ? 2 : 1;
    if (n->w) {
        double weights = (double)n->y->c * n->x->c * taps * gated;
        s->weights += weights;
        s->multiplied += weights * n->y->b * n->y->h * n->y->w;
    }
}

static void test_sd1(void **state)
{
    struct err err;
    struct arena arena;
    struct seen s = {.arena = &arena};
    struct device *dev = hollow_new(DTYPE_F32, see, &s, &err);
    struct family_model *m = family_sd1.sketch(dev, &err);
    assert_non_null(m);
    struct ops o = {dev, &arena};
    struct pictor_params params = {0};
    struct family_picture picture = {64, 64, &params};
    struct family_words words = {.tokens = 77};
    arena_plan(&arena);
    struct family_call *call = family_sd1.call_new(m, &o, &picture, &words, 1, &err);
    assert_non_null(call);
    assert_int_equal(s.count[HOLLOW_LINEAR], 16); /* keys and values of the prompt, at once */
    s = (struct seen){.arena = &arena};
    family_sd1.predict(m, &o, call, NULL, 0, false, NULL);
    /* 16 transformers; 22 resnets of two convolutions, one at each end, 3 halvings. */
    assert_int_equal(s.count[HOLLOW_ATTENTION], 32);
    assert_int_equal(s.cross, 16);
    assert_int_equal(s.count[HOLLOW_CONV3X3], 2 * 22 + 2 + 3);
    assert_int_equal(s.count[HOLLOW_UPSAMPLE], 3);
    assert_int_equal(s.count[HOLLOW_LAYER_NORM], 3 * 16);
    assert_int_equal(s.count[HOLLOW_GROUP_NORM], 2 * 22 + 16 + 1);
    /* What others count at 64x64, attention's own left out: 339 G, of which the prompt's keys and
     * values are the most that is not here. */
    assert_true(fabs(s.multiplied / 339e9 - 1) < 0.01);
    family_sd1.call_free(call);

    /* A decode that is planned in parts is noted once. */
    s = (struct seen){.arena = &arena};
    family_sd1.decode(m, &o, NULL, 8, 8, NULL);
    assert_int_equal(s.count[HOLLOW_CONV3X3], 2 * 14 + 2);
    assert_int_equal(s.count[HOLLOW_UPSAMPLE], 3);
    family_sd1.free(m);
    device_free(dev);
}

static void test_sdxl(void **state)
{
    struct err err;
    struct arena arena;
    struct seen s = {.arena = &arena};
    struct device *dev = hollow_new(DTYPE_F32, see, &s, &err);
    struct family_model *m = family_sdxl.sketch(dev, &err);
    assert_non_null(m);
    struct ops o = {dev, &arena};
    struct pictor_params params = {0};
    struct family_picture picture = {128, 128, &params};
    struct family_words words = {.tokens = 77};
    arena_plan(&arena);
    struct family_call *call = family_sdxl.call_new(m, &o, &picture, &words, 1, &err);
    assert_non_null(call);
    assert_int_equal(s.count[HOLLOW_LINEAR], 70 + 2); /* the prompt's, and its label's */
    family_sdxl.predict(m, &o, call, NULL, 0, false, NULL);
    /* 11 transformers of 70 layers in all; 17 resnets, one convolution at each end, 2 halvings. */
    assert_int_equal(s.count[HOLLOW_ATTENTION], 2 * 70);
    assert_int_equal(s.cross, 70);
    assert_int_equal(s.count[HOLLOW_CONV3X3], 2 * 17 + 2 + 2);
    assert_int_equal(s.count[HOLLOW_UPSAMPLE], 2);
    assert_int_equal(s.count[HOLLOW_LAYER_NORM], 3 * 70);
    assert_int_equal(s.count[HOLLOW_GROUP_NORM], 2 * 17 + 11 + 1);
    /* All of its published parameters but biases and norms, which are few. */
    assert_true(fabs(s.weights / 2567463684.0 - 1) < 2e-3);
    family_sdxl.call_free(call);
    family_sdxl.free(m);
    device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sd1), cmocka_unit_test(test_sdxl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
