/* orders_test.c: what the queue keeps of pictures that were ordered elsewhere. */
#include "tests/unit/server_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static void an_order_is_its_claims(void **state)
{
    struct fixture *f = *state;
    const struct job_order order = {.token = "0123456789abcdef0123456789abcdef", .count = 2};
    struct err err;
    struct job_order found;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim old, claim;
    struct err reason = {.code = ERR_UPSTREAM};
    fixture_submit(f, "", 0, "p", 2, id);
    fixture_claim(f, &job, &old);
    job_free(&job);
    assert_ok(queue_put_back(f->queue, &old, "stops", &err), err);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_order_note(f->queue, &claim, &order, &err), err);
    assert_false(queue_order_note(f->queue, &old, &order, &err));
    assert_false(queue_order_forget(f->queue, &old, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_ok(queue_order_find(f->queue, &claim, &found, &err), err);
    assert_string_equal(found.token, order.token);
    assert_int_equal(found.count, 2);
    assert_ok(queue_order_forget(f->queue, &claim, &err), err);
    assert_ok(queue_order_find(f->queue, &claim, &found, &err), err);
    assert_string_equal(found.token, "");
    assert_ok(queue_order_note(f->queue, &claim, &order, &err), err);
    assert_ok(queue_fail(f->queue, &claim, &reason, &err), err);
    assert_ok(queue_order_find(f->queue, &claim, &found, &err), err);
    assert_string_equal(found.token, ""); /* with the job's end */
}

/* As the database may have it after damage. */
static void a_damaged_order_is_an_unknown_one(void **state)
{
    struct fixture *f = *state;
    static const struct job_order damaged[] = {
        {"0123456789abcdef0123456789abcdef", 0, 0},
        {"0123456789abcdef0123456789abcdef", 0, -1},
        {"0123456789abcdef0123456789abcdef", -1, 1},
        {"0123456789abcdef0123456789abcdef", 2147483647, 1},
        {"no id", 0, 1},
    };
    struct err err;
    struct job_order found;
    char id[JOB_ID_SIZE];
    fixture_submit(f, "", 0, "p", 1, id);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        assert_ok(store_order_put(f->store, id, &damaged[i], &err), err);
        assert_ok(store_order_get(f->store, id, &found, &err), err);
        assert_string_equal(found.token, "damaged");
        assert_int_equal(found.count, 0); /* so all of it is never there */
    }
}

struct noting {
    struct fixture *f;
    struct claim claim;
    bool noted;
    struct err err;
};

static void *note(void *arg)
{
    struct noting *n = arg;
    const struct job_order order = {.token = "0123456789abcdef0123456789abcdef", .count = 1};
    n->noted = queue_order_note(n->f->queue, &n->claim, &order, &n->err);
    return NULL;
}

/* The job would be given back with the order before it, which was answered, as if it were out. */
static void noting_waits_for_the_end_of_a_trouble(void **state)
{
    struct fixture *f = *state;
    struct noting n = {.f = f};
    struct rlimit usual, nothing;
    struct err err;
    struct job job;
    struct job_order found;
    pthread_t thread;
    char id[JOB_ID_SIZE];
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_claim(f, &job, &n.claim);
    job_free(&job);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &usual);
    nothing = usual;
    nothing.rlim_cur = 1; /* no file can be written */
    setrlimit(RLIMIT_FSIZE, &nothing);
    pthread_create(&thread, NULL, note, &n);
    while (queue_well(f->queue, NULL))
        usleep(1000);
    setrlimit(RLIMIT_FSIZE, &usual);
    pthread_join(thread, NULL);
    assert_ok(n.noted, n.err);
    assert_ok(queue_order_find(f->queue, &n.claim, &found, &err), err);
    assert_int_equal(found.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_order_is_its_claims),
        TEST(a_damaged_order_is_an_unknown_one),
        TEST(noting_waits_for_the_end_of_a_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
