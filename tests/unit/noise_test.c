/* noise_test.c: noise against numbers computed with torch and numpy. */
#include "engine/sample/noise.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/sample/brownian.h"

#define N (4 * 64 * 64)

/* The originals are float32 with their own sin and log: the last two bits may differ. */
static void assert_close(const float *got, const double *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-6 * fmax(1, fabs(want[i]))))
            fail_msg("[%zu]: %.8f wanted, got %.8f", i, want[i], got[i]);
}

static void test_nv_small(void **state)
{
    static const double first[] = {-0.92466241, -0.42534396, -2.64384580, 0.14518388,
                                   -0.12086651, -0.57972568, -0.62285131, -0.32838714,
                                   -1.07454205, -0.36314410, -1.67105043, 2.26550508};
    static const double second[] = {0.18082589, -0.55226272, 0.92381340, -0.73497033};
    struct noise noise;
    float x[12];
    noise_init(&noise, PICTOR_RNG_NV, 0);
    noise_draw(&noise, x, 12);
    assert_close(x, first, 12);
    noise_draw(&noise, x, 12);
    assert_close(x, second, 4);
}

static void test_nv_seeds(void **state)
{
    static const struct {
        uint64_t seed;
        double first[4], last, second[2]; /* NAN: not known */
    } cases[] = {
        {1,
         {-0.29627782, 2.67644811, -0.14084640, -0.84409505},
         0.73435926,
         {-0.63398367, -0.64313126}},
        {42,
         {0.19401887, 2.16137385, -0.17205095, 0.84906000},
         0.08298858,
         {0.13913749, -0.10821616}},
        {1234,
         {-1.61649036, 0.56845522, -0.51022458, -0.91133940},
         -1.68973804,
         {0.63308281, 1.63582194}},
        {4294967294, {0.44065914, 0.15776151, -1.57080364, 0.35316673}, NAN, {NAN, NAN}},
        {12345678901234, {0.23861006, -0.18103155, 0.22504944, -0.02360080}, NAN, {NAN, NAN}},
    };
    float *x = malloc(N * sizeof *x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct noise noise;
        noise_init(&noise, PICTOR_RNG_NV, cases[i].seed);
        noise_draw(&noise, x, N);
        assert_close(x, cases[i].first, 4);
        if (isnan(cases[i].last))
            continue;
        assert_close(x + N - 1, &cases[i].last, 1);
        noise_draw(&noise, x, N);
        assert_close(x, cases[i].second, 2);
    }
    free(x);
}

static void test_cpu_seeds(void **state)
{
    static const double seed42[] = {1.92691529, 1.48728406,  0.90071720,  -2.10552120,
                                    0.67841846, -1.23454487, -0.04306748, -1.60466695};
    static const double seed0[] = {-1.12583983, -1.15236020, -0.25057858, -0.43387884};
    static const double seed0_last = -1.07820797;
    static const double seed1234[] = {-0.11171857, -0.49659011, 0.16307370, -0.88168776};
    float *x = malloc(N * sizeof *x);
    struct noise noise;
    noise_init(&noise, PICTOR_RNG_CPU, 42);
    noise_draw(&noise, x, 64);
    assert_close(x, seed42, 8);
    noise_init(&noise, PICTOR_RNG_CPU, 0);
    noise_draw(&noise, x, N);
    assert_close(x, seed0, 4);
    assert_close(x + N - 1, &seed0_last, 1);
    noise_init(&noise, PICTOR_RNG_CPU, 1234 + (UINT64_C(7) << 32)); /* only 32 bits count */
    noise_draw(&noise, x, N);
    assert_close(x, seed1234, 4);
    free(x);
}

/* torch.manual_seed(7); randn(5), randn(4), randn(20), randn(3), randn(2): few numbers come in
 * pairs whose second half waits, a ragged end is drawn again, and the twister runs on. */
static void test_cpu_sizes(void **state)
{
    static const double five[] = {-0.14679509, 0.78614128, 0.94682163, -1.11434400, 1.69079018};
    static const double four[] = {-0.89482790, -0.35562503, 1.23238575, 0.13817266};
    static const double twenty[] = {
        0.19844505, 0.78207266,  1.03910768,  -0.72451073, -0.13543689, 0.74711823,  0.61181575,
        1.86778355, 2.51160288,  -1.25478518, 0.81645650,  -1.06539893, -1.63702130, 0.15771191,
        0.39574093, -1.36773968, -0.10073432, 0.23701459,  0.63268209,  -0.09167717};
    static const double three[] = {-1.68219852, 1.61481476, 1.93019819};
    static const double two[] = {-0.42250147, -0.08318638};
    struct noise noise;
    float x[20];
    noise_init(&noise, PICTOR_RNG_CPU, 7);
    noise_draw(&noise, x, 5);
    assert_close(x, five, 5);
    noise_draw(&noise, x, 4);
    assert_close(x, four, 4);
    noise_draw(&noise, x, 20);
    assert_close(x, twenty, 20);
    noise_draw(&noise, x, 3);
    assert_close(x, three, 3);
    noise_draw(&noise, x, 2);
    assert_close(x, two, 2);
}

static void test_slerp(void **state)
{
    static const double want[] = {-0.20163676, 1.49331605, 0.39207816, -0.68248278};
    float *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b), *out = malloc(N * sizeof *out);
    struct noise noise;
    noise_init(&noise, PICTOR_RNG_NV, 1);
    noise_draw(&noise, a, N);
    noise_init(&noise, PICTOR_RNG_NV, 2);
    noise_draw(&noise, b, N);
    noise_slerp(out, a, b, 0.5, 4, 64, 64);
    assert_close(out, want, 4);

    noise_slerp(out, a, b, 0, 4, 64, 64);
    for (size_t i = 0; i < N; i++)
        assert_float_equal(out[i], a[i], 1e-5);
    noise_slerp(out, a, b, 1, 4, 64, 64);
    for (size_t i = 0; i < N; i++)
        assert_float_equal(out[i], b[i], 1e-5);
    /* Of nearly equal noise the mix has its weights swapped. */
    for (size_t i = 0; i < N; i++)
        b[i] = 1.001f * a[i];
    noise_slerp(b, a, b, 0.25, 4, 64, 64);
    for (size_t i = 0; i < N; i++)
        assert_float_equal(b[i], a[i] * (0.25f + 0.75f * 1.001f), 1e-5);
    free(a);
    free(b);
    free(out);
}

static void test_slerp_degenerate(void **state)
{
    /* One column parallel, one opposed, one of zeros: finite, and not swapped overall. */
    const float a[] = {1, 1, 0, 1, 1, 0}, b[] = {2, -1, 3, 2, -1, 1};
    float out[6];
    noise_slerp(out, a, b, 0.5, 1, 2, 3);
    for (int i = 0; i < 6; i++)
        assert_true(isfinite(out[i]));
    assert_float_equal(out[0], 1.5, 1e-6);
}

static void test_channels_last(void **state)
{
    const float in[] = {1, 2, 3, 4, 5, 6};
    float out[6];
    noise_channels_last(out, in, 2, 3);
    const float want[] = {1, 4, 2, 5, 3, 6};
    assert_memory_equal(out, want, sizeof want);
}

/* torchsde's BrownianTree with the WebUI's Philox, seed 1234, shape (4, 8, 8): elements 0..3. */
static void test_brownian(void **state)
{
    static const double sigmas[] = {14.614642, 3.088987, 0.652896, 0.137998, 0.029168};
    static const double want[][4] = {{0.070555, -1.755705, 0.538080, -0.451670},
                                     {-0.043943, 1.144196, -0.571707, -3.067582},
                                     {0.259174, 0.092537, 0.324180, -0.263989},
                                     {-1.929324, -1.132169, -0.081935, 0.320859}};
    const struct brownian b = {PICTOR_RNG_NV, 1234, 0.029167533, 14.614642};
    enum { COUNT = 4 * 8 * 8 };
    float out[COUNT], scratch[2 * COUNT], whole[COUNT], sum[COUNT] = {0};
    for (int i = 0; i < 4; i++) {
        brownian_noise(&b, sigmas[i], sigmas[i + 1], out, scratch, COUNT);
        for (int k = 0; k < 4; k++)
            assert_float_equal(out[k], want[i][k], 3e-6); /* printed to 1e-6 */
        for (int k = 0; k < COUNT; k++)
            sum[k] += out[k] * (float)sqrt(sigmas[i] - sigmas[i + 1]);
    }
    /* It is one path: the steps add up to the whole way. */
    brownian_noise(&b, sigmas[0], sigmas[4], whole, scratch, COUNT);
    for (int k = 0; k < COUNT; k++)
        assert_float_equal(sum[k], whole[k] * (float)sqrt(sigmas[0] - sigmas[4]), 1e-4);
}

/* Its variance is that of the time passed, on any scale and beyond the ends. */
static void test_brownian_variance(void **state)
{
    static const double ends[][2] = {{14, 13}, {1, 0.5}, {0.51, 0.5}, {20, 10}, {0.1, 0.01}};
    const struct brownian b = {PICTOR_RNG_CPU, 7, 0.03, 14.6};
    float *out = malloc(N * sizeof *out), *scratch = malloc(2 * N * sizeof *scratch);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        double from = fmin(ends[i][0], b.high), to = fmax(ends[i][1], b.low);
        double share = (from - to) / (ends[i][0] - ends[i][1]), square = 0;
        brownian_noise(&b, ends[i][0], ends[i][1], out, scratch, N);
        for (size_t k = 0; k < N; k++)
            square += (double)out[k] * out[k] / N;
        assert_float_equal(square, share, 0.05); /* 4.5 standard deviations of N squares */
    }
    free(out);
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nv_small),
        cmocka_unit_test(test_nv_seeds),
        cmocka_unit_test(test_cpu_seeds),
        cmocka_unit_test(test_cpu_sizes),
        cmocka_unit_test(test_slerp),
        cmocka_unit_test(test_slerp_degenerate),
        cmocka_unit_test(test_channels_last),
        cmocka_unit_test(test_brownian),
        cmocka_unit_test(test_brownian_variance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
