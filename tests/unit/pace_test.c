/* pace_test.c: the time left of a picture falls, and is right where steps take what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/pipeline/pace.h"

/* 150 steps, and 53 of four times the pixels that the first pass does not know of. */
static void larger_steps_are_foreseen(void **state)
{
    struct pace p = {.first = 150, .total = 203, .cost = 4};
    double now = 100, whole = 150 + 53 * 4;
    assert_true(pace_left(&p, 0, now) < 0);
    for (int done = 1; done <= 203; done++) {
        now += done <= 150 ? 1 : 4;
        double wanted = whole - (now - 100), left = pace_left(&p, done, now);
        assert_true(left < wanted + 1e-6 && left > wanted - 1e-6);
    }
}

static void a_slow_step_does_not_turn_it_back(void **state)
{
    struct pace p = {.first = 20, .total = 20};
    double before = 1e9, now = 0;
    pace_left(&p, 0, now);
    for (int done = 1; done <= 20; done++) {
        now += done % 5 == 0 ? 30 : 1;
        double left = pace_left(&p, done, now);
        assert_true(left >= 0 && left <= before);
        before = left;
    }
    assert_true(before < 1e-9);
    assert_true(pace_left(&p, 0, now) < 0); /* the next picture */
    assert_true(pace_left(&p, 1, now + 7) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(larger_steps_are_foreseen),
        cmocka_unit_test(a_slow_step_does_not_turn_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
