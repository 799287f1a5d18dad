/* steady_test.c: nothing is removed by a clock that has just jumped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/queue/steady.h"

#define MINUTE INT64_C(60000)
#define YEAR (365 * STEADY_DAY_MS)

static void a_steady_clock_is_believed(void **state)
{
    struct steady s = {0};
    bool jumped;
    for (int64_t at = 0; at < 3 * STEADY_DAY_MS; at += 10 * MINUTE) {
        /* It drifts, and is corrected in small steps. */
        assert_true(steady_believes(&s, YEAR + at + at / 1000, 5000 + at, &jumped));
        assert_false(jumped);
    }
    /* The machine slept for a month: both clocks went on. */
    assert_true(steady_believes(&s, YEAR + 33 * STEADY_DAY_MS, 33 * STEADY_DAY_MS, &jumped));
    assert_false(jumped);
}

static void one_that_jumped_is_believed_after_a_day(void **state)
{
    static const int64_t jumps[] = {50 * YEAR, -YEAR, STEADY_DAY_MS, 2 * STEADY_JUMP_MS};
    for (int i = 0; i < 4; i++) {
        struct steady s = {0};
        bool jumped;
        assert_true(steady_believes(&s, YEAR, 0, NULL));
        assert_false(steady_believes(&s, YEAR + jumps[i] + MINUTE, MINUTE, &jumped));
        assert_true(jumped);
        assert_false(steady_believes(&s, YEAR + jumps[i] + STEADY_DAY_MS, STEADY_DAY_MS, &jumped));
        assert_false(jumped);
        int64_t later = STEADY_DAY_MS + 2 * MINUTE;
        assert_true(steady_believes(&s, YEAR + jumps[i] + later, later, &jumped));
    }
}

static void there_and_back_removes_nothing_for_a_day(void **state)
{
    struct steady s = {0};
    assert_true(steady_believes(&s, YEAR, 0, NULL));
    assert_false(steady_believes(&s, 90 * YEAR, 10 * MINUTE, NULL));
    assert_false(steady_believes(&s, YEAR + 20 * MINUTE, 20 * MINUTE, NULL));
    int64_t later = STEADY_DAY_MS + 20 * MINUTE;
    assert_true(steady_believes(&s, YEAR + later, later, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_clock_is_believed),
        cmocka_unit_test(one_that_jumped_is_believed_after_a_day),
        cmocka_unit_test(there_and_back_removes_nothing_for_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
