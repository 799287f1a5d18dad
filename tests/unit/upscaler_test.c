/* upscaler_test.c: latents at other sizes, against torch (tests/golden/upscaler_vectors.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "engine/pipeline/upscaler.h"
#include "server/job/upscalers.h"
#include "tests/golden/upscaler_vectors.h"

/* Sums of at most 81 products of values below 3, in float, in another order than torch's. */
#define CLOSE 2e-6

static void test_latents(void **state)
{
    struct arena arena, *a = &arena;
    struct err err;
    assert_true(arena_init(a, 1 << 20, &err));
    struct latent in = {UPSCALER_WIDTH, UPSCALER_HEIGHT, UPSCALER_CHANNELS, (float *)upscaler_in};
    for (size_t i = 0; i < sizeof upscaler_vectors / sizeof *upscaler_vectors; i++) {
        const struct upscaler *u = upscaler_find(upscaler_vectors[i].name);
        assert_true(u && u->latent);
        struct latent out =
            latent_new(a, upscaler_vectors[i].width, upscaler_vectors[i].height, in.channels);
        upscaler_latent(u, a, &in, &out);
        for (size_t k = 0; k < latent_size(&out); k++)
            if (!(fabs((double)out.at[k] - (double)upscaler_vectors[i].out[k]) < CLOSE))
                fail_msg("%s to %dx%d: [%zu] is %g, torch has %g", u->name, out.width, out.height,
                         k, (double)out.at[k], (double)upscaler_vectors[i].out[k]);
    }
    arena_free(a);
}

static void test_names(void **state)
{
    char names[200], little[10];
    assert_ptr_equal(upscaler_find("latent (NEAREST)"), upscaler_find("Latent (nearest)"));
    assert_null(upscaler_find("Latent (nearest"));
    assert_null(upscaler_find(""));
    assert_int_equal(upscaler_find("Lanczos")->image, IMAGE_LANCZOS);
    assert_int_equal(upscaler_find("Nearest")->image, IMAGE_NEAREST);
    assert_non_null(strstr(upscaler_names(names, sizeof names), "Latent (nearest-exact), Lanczos"));
    assert_int_equal(strlen(upscaler_names(little, sizeof little)), sizeof little - 1);
}

/* The server's list, which has an order of its own, is the engine's. */
static void test_jobs(void **state)
{
    char names[200];
    size_t length = 0;
    const char *name;
    for (int i = 0; (name = upscalers_known(i)); i++) {
        const struct upscaler *u = upscaler_find(name);
        assert_non_null(u);
        assert_string_equal(u->name, name);
        length += strlen(u->name) + (i ? strlen(", ") : 0);
    }
    assert_int_equal(strlen(upscaler_names(names, sizeof names)), length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_latents), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_jobs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
