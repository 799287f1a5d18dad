/* breaker_test.c: pauses after failures, and servers that are left alone. */
#include "server/paint/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/base/backoff.h"

static void pauses_double_up_to_the_most(void **state)
{
    static const int want[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    for (int i = 0; i < 10; i++)
        assert_int_equal(backoff_ms(i, 100, 10000), want[i]);
    assert_int_equal(backoff_ms(-1, 100, 10000), 0);
    assert_int_equal(backoff_ms(2000000000, 100, 10000), 10000);
    assert_int_equal(backoff_ms(2000000000, 1, 2147483647), 2147483647);
    assert_int_equal(backoff_ms(1, 500, 100), 100);
}

static void fail_often(struct breaker *b, int times, int64_t now)
{
    for (int i = 0; i < times; i++) {
        assert_true(breaker_allows(b, now));
        breaker_failure(b, now);
    }
}

static void opens_after_failures_in_a_row(void **state)
{
    struct breaker b = {0};
    fail_often(&b, BREAKER_FAILURES - 1, 0);
    breaker_success(&b);
    fail_often(&b, BREAKER_FAILURES, 1000);
    assert_false(breaker_allows(&b, 1000));
    assert_false(breaker_allows(&b, 1000 + BREAKER_PAUSE_MS - 1));
}

static void lets_one_probe_through(void **state)
{
    struct breaker b = {0};
    int64_t later = BREAKER_PAUSE_MS;
    fail_often(&b, BREAKER_FAILURES, 0);
    assert_true(breaker_allows(&b, later));
    assert_false(breaker_allows(&b, later));
    breaker_failure(&b, later);
    assert_false(breaker_allows(&b, later + BREAKER_PAUSE_MS - 1));
    later += BREAKER_PAUSE_MS;
    assert_true(breaker_allows(&b, later));
    breaker_unknown(&b); /* cancelled: the next one may try */
    assert_true(breaker_allows(&b, later));
    breaker_success(&b);
    fail_often(&b, BREAKER_FAILURES - 1, later);
    assert_true(breaker_allows(&b, later));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_double_up_to_the_most),
        cmocka_unit_test(opens_after_failures_in_a_row),
        cmocka_unit_test(lets_one_probe_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
