/* pulse_test.c: when a worker is late, lost and stuck. */
#include "server/paint/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void silence(void **state)
{
    struct pulse p = {0};
    assert_int_equal(pulse_look(&p, INT64_MAX - 1), PULSE_WAIT);
    pulse_start(&p, 0);
    int64_t now = 0;
    assert_int_equal(pulse_look(&p, PULSE_MS - 1), PULSE_WAIT);
    for (int i = 1; i <= PULSE_LOST; i++) {
        now = pulse_due(&p);
        assert_int_equal(pulse_look(&p, now), i == PULSE_LATE ? PULSE_ASK_LATE : PULSE_ASK);
        assert_int_equal(pulse_look(&p, now), PULSE_WAIT);
    }
    assert_int_equal(pulse_look(&p, now + PULSE_MS), PULSE_IS_LOST);
}

static void a_machine_that_slept(void **state)
{
    struct pulse p;
    pulse_start(&p, 0);
    assert_int_equal(pulse_look(&p, 1000 * PULSE_MS), PULSE_ASK); /* one question, not a thousand */
    assert_false(pulse_answer(&p, 1, true));
}

static void back_in_time(void **state)
{
    struct pulse p;
    pulse_start(&p, 0);
    for (int i = 0; i < PULSE_LATE; i++)
        pulse_look(&p, pulse_due(&p));
    assert_true(pulse_answer(&p, 1, true));
    assert_int_equal(pulse_look(&p, pulse_due(&p)), PULSE_ASK);
    assert_false(pulse_answer(&p, 1, true));
}

static void stuck(void **state)
{
    struct pulse p;
    pulse_start(&p, 0);
    for (int i = 0; i < 3 * PULSE_STUCK; i++) { /* idle, or at work */
        assert_int_equal(pulse_look(&p, pulse_due(&p)), PULSE_ASK);
        pulse_answer(&p, i < PULSE_STUCK ? 7 : i / 100, i >= PULSE_STUCK);
    }
    for (int i = 0; i <= PULSE_STUCK; i++) {
        assert_int_equal(pulse_look(&p, pulse_due(&p)), PULSE_ASK);
        pulse_answer(&p, 9, true);
    }
    assert_int_equal(pulse_look(&p, pulse_due(&p)), PULSE_IS_STUCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence),
        cmocka_unit_test(a_machine_that_slept),
        cmocka_unit_test(back_in_time),
        cmocka_unit_test(stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
