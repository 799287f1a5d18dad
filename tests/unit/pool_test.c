/* pool_test.c: every task runs exactly once, in every loop, with more threads than CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/pool.h"

struct loop {
    atomic_int *hits;
    int threads;
    atomic_int strange;
};

static void hit(void *ctx, size_t task, int thread)
{
    struct loop *l = ctx;
    atomic_fetch_add(&l->hits[task], 1);
    if (thread < 0 || thread >= l->threads)
        atomic_fetch_add(&l->strange, 1);
}

static void test_each_once(void **state)
{
    enum { MOST = 200 };
    for (int threads = 1; threads <= 5; threads += 2) {
        struct err err;
        struct pool *p = pool_new(threads, &err);
        atomic_int hits[MOST];
        assert_non_null(p);
        assert_int_equal(pool_threads(p), threads);
        for (int round = 0; round < 3000; round++) {
            struct loop l = {.hits = hits, .threads = threads};
            size_t n = (size_t)(round * 7 % MOST);
            for (int i = 0; i < MOST; i++)
                atomic_store(&hits[i], 0);
            pool_run(p, n, hit, &l);
            for (size_t i = 0; i < MOST; i++)
                if (atomic_load(&hits[i]) != (i < n))
                    fail_msg("round %d of %d threads: task %zu of %zu ran %d times", round, threads,
                             i, n, atomic_load(&hits[i]));
            assert_int_equal(atomic_load(&l.strange), 0);
        }
        pool_free(p);
    }
}

static void test_no_pool(void **state)
{
    atomic_int hits[3] = {0};
    struct loop l = {.hits = hits, .threads = 1};
    pool_run(NULL, 3, hit, &l);
    for (int i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&hits[i]), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_no_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
