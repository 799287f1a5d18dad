/* rate_test.c: so many at once, then one at a time, each key by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/http/rate.h"

static void so_many_at_once_and_then_one_each_share(void **state)
{
    struct err err;
    struct rate *r = rate_new(3, &err);
    int64_t now = 1000000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(r, "a", now), 0);
    assert_int_equal(rate_take(r, "a", now), 20000);
    int left;
    int64_t full;
    rate_left(r, "a", now, &left, &full);
    assert_int_equal(left, 0);
    assert_int_equal(full, 60000);
    rate_left(r, "a", now + 30000, &left, &full);
    assert_int_equal(left, 1);
    assert_int_equal(full, 30000);
    rate_left(r, "nobody", now, &left, &full);
    assert_int_equal(left, 3);
    assert_int_equal(full, 0);
    assert_int_equal(rate_take(r, "a", now + 1), 19999); /* being refused costs nothing */
    assert_int_equal(rate_take(r, "b", now), 0);
    assert_int_equal(rate_take(r, "a", now + 20000), 0);
    assert_int_equal(rate_take(r, "a", now + 20000), 20000);
    now += 600000; /* no more than a minute's worth is saved up */
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(r, "a", now), 0);
    assert_true(rate_take(r, "a", now) > 0);
    rate_free(r);
}

static void looking_counts_nothing(void **state)
{
    struct err err;
    struct rate *r = rate_new(2, &err);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rate_wait(r, "a", 1000), 0);
    assert_int_equal(rate_take(r, "a", 1000), 0);
    assert_int_equal(rate_take(r, "a", 1000), 0);
    assert_int_equal(rate_wait(r, "a", 1000), 30000);
    assert_int_equal(rate_take(r, "a", 1000), 30000);
    assert_int_equal(rate_wait(r, "b", 1000), 0);
    rate_free(r);
}

/* As many names as strangers like: those beyond the first thousands share, nobody grows a list. */
static void very_many_names_share(void **state)
{
    char name[32];
    struct err err;
    struct rate *r = rate_new(1, &err);
    int taken = 0;
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "address %d", i);
        taken += rate_take(r, name, 1000) == 0;
    }
    assert_in_range(taken, 4000, 4200);
    assert_true(rate_wait(r, "another one", 1000) > 0);
    /* A minute later all of them are forgotten. */
    assert_int_equal(rate_take(r, "another one", 70000), 0);
    assert_int_equal(rate_wait(r, "address 9999", 70000), 0);
    rate_free(r);
}

/* What the others have used up concerns nobody for whom there is room. */
static void a_new_name_is_none_of_the_others(void **state)
{
    char name[32];
    struct err err;
    struct rate *r = rate_new(60, &err);
    for (int i = 0; i < 4096; i++) {
        snprintf(name, sizeof name, "address %d", i);
        assert_int_equal(rate_take(r, name, 1000), 0);
    }
    while (rate_take(r, "late", 1999) == 0)
        ;
    assert_true(rate_wait(r, "later", 1999) > 0); /* both are others */
    assert_int_equal(rate_wait(r, "later", 2000), 0); /* there is room again */
    rate_free(r);
}

static void never_more_than_the_limit_and_a_burst(void **state)
{
    static const int limits[] = {1, 7, 60, 59999, 60000};
    struct err err;
    for (int i = 0; i < 5; i++) {
        struct rate *r = rate_new(limits[i], &err);
        long taken = 0;
        for (int64_t now = 0; now < 180000; now++)
            while (rate_take(r, "a", now) == 0 && taken < 1000000)
                taken++;
        assert_in_range(taken, 3L * limits[i], 4L * limits[i] + 4);
        rate_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_at_once_and_then_one_each_share),
        cmocka_unit_test(looking_counts_nothing),
        cmocka_unit_test(very_many_names_share),
        cmocka_unit_test(a_new_name_is_none_of_the_others),
        cmocka_unit_test(never_more_than_the_limit_and_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
