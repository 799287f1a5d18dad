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
#include "engine/model/layers.h"
#include "engine/model/unet.h"

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
    struct family_picture picture = {.width = 64, .height = 64, .params = &params};
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
    struct family_picture picture = {.width = 128, .height = 128, .params = &params};
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

/* Sizes that a file may name and no device has scratch for. */
static void test_too_wide(void **state)
{
    static const struct unet_config usual = {.in_channels = 4,
                                             .out_channels = 4,
                                             .model_channels = 64,
                                             .time_dim = 32,
                                             .levels = 1,
                                             .channels = {64},
                                             .res_blocks = 1,
                                             .depth = {1},
                                             .mid_depth = 1,
                                             .context_dim = 64,
                                             .label_dim = 64,
                                             .head_channels = 64};
    struct unet_config wide[] = {usual, usual, usual, usual, usual};
    struct err err;
    struct device *dev = hollow_new(DTYPE_F32, see, &(struct seen){.arena = NULL}, &err);
    struct unet *u = unet_load(dev, NULL, &usual, NULL, &err);
    assert_non_null(u);
    unet_free(u);
    wide[0].label_dim = 1 << 17;
    wide[1].label_dim = LAYERS_MAX_WIDTH + 64;
    wide[2].time_dim = LAYERS_MAX_WIDTH + 32;
    wide[3].model_channels = wide[3].channels[0] = LAYERS_MAX_WIDTH + 64;
    wide[4].context_dim = LAYERS_MAX_K + 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        err = (struct err){0};
        if (unet_load(dev, NULL, &wide[i], NULL, &err) || err.code != ERR_UNSUPPORTED)
            fail_msg("case %zu: got %s \"%s\"", i, err_name(err.code), err.msg);
    }
    /* Whatever the network. */
    struct loader l = {.dev = dev, .err = &err};
    matrix_free(layers_linear(&l, "mlp.", "fc2", 64, LAYERS_MAX_K, true));
    assert_false(l.failed);
    assert_null(layers_linear(&l, "mlp.", "fc2", 64, LAYERS_MAX_K + 1, true));
    assert_true(l.failed && err.code == ERR_UNSUPPORTED);
    assert_string_equal(err.msg,
                        "mlp.fc2.weight: wanted 1..32768 channels to take in, found 32769");
    device_free(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sd1), cmocka_unit_test(test_sdxl),
                                       cmocka_unit_test(test_too_wide)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
