/* dtype_test.c: every value of every small format against its definition, by ldexp. */
#include "engine/compute/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* sign, exponent and fraction of IEEE shape; `inf` says whether the top exponent is inf and NaN. */
static double value(unsigned bits, int exponent_bits, int fraction_bits, bool inf)
{
    unsigned fraction = bits & ((1u << fraction_bits) - 1);
    unsigned exponent = bits >> fraction_bits & ((1u << exponent_bits) - 1);
    double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1 : 1;
    int bias = (1 << (exponent_bits - 1)) - 1;
    if (inf && exponent == (1u << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp((1u << fraction_bits) + fraction, (int)exponent - bias - fraction_bits);
}

static void assert_same(float got, double want, unsigned bits)
{
    if (isnan(want) ? !isnan(got) : (double)got != want || !signbit(got) != !signbit(want))
        fail_msg("0x%x: got %a, wanted %a", bits, (double)got, want);
}

static void sixteen_bits(void **state)
{
    static uint16_t all[65536];
    static float got[65536];
    for (unsigned i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    dtype_to_f32(DTYPE_F16, all, got, 65536);
    for (unsigned i = 0; i < 65536; i++)
        assert_same(got[i], value(i, 5, 10, true), i);
    dtype_to_f32(DTYPE_BF16, all, got, 65536);
    for (unsigned i = 0; i < 65536; i++)
        assert_same(got[i], value(i, 8, 7, true), i);
}

static void eight_bits(void **state)
{
    uint8_t all[256];
    float got[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    dtype_to_f32(DTYPE_F8_E5M2, all, got, 256);
    for (unsigned i = 0; i < 256; i++)
        assert_same(got[i], value(i, 5, 2, true), i);
    dtype_to_f32(DTYPE_F8_E4M3, all, got, 256);
    for (unsigned i = 0; i < 256; i++)
        assert_same(got[i], (i & 0x7f) == 0x7f ? NAN : value(i, 4, 3, false), i);
    assert_true(got[0x7e] == 448); /* the format's largest */
}

static void unaligned(void **state)
{
    unsigned char bytes[1 + 8];
    float f = 0;
    memcpy(bytes + 1, &(float){-1.5f}, 4);
    dtype_to_f32(DTYPE_F32, bytes + 1, &f, 1);
    assert_true(f == -1.5f);
    memcpy(bytes + 1, &(int64_t){-76}, 8);
    dtype_to_f32(DTYPE_I64, bytes + 1, &f, 1);
    assert_true(f == -76);
    memcpy(bytes + 1, &(uint16_t){0x3c00}, 2);
    dtype_to_f32(DTYPE_F16, bytes + 1, &f, 1);
    assert_true(f == 1);
}

static void names_and_sizes(void **state)
{
    assert_string_equal(dtype_name(DTYPE_BF16), "BF16");
    assert_int_equal(dtype_size(DTYPE_F8_E5M2), 1);
    assert_int_equal(dtype_size(DTYPE_I64), 8);
    assert_int_equal(dtype_size(DTYPE_OTHER), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_bits),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(unaligned),
        cmocka_unit_test(names_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
