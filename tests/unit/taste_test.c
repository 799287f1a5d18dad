/* What runners would rather have: claims of a queue whose jobs are of several models.
 * PICTOR_TEST_DATABASE: an empty database to do it on instead of a file; the tests are named by the
 * argument then (tests/cluster/test_units.py). */
#include "tests/unit/server_fixture.h"

#include "server/base/now.h"

static int setup(void **state)
{
    struct err err;
    fixture_setup(state);
    struct fixture *f = *state;
    if (!getenv("PICTOR_TEST_DATABASE"))
        return 0;
    fixture_close(f);
    assert_ok(f->store =
                  store_open(&(struct store_place){.data = f->data,
                                                   .database = getenv("PICTOR_TEST_DATABASE")},
                             STORE_ALONE, &err),
              err);
    assert_ok(f->events = events_new(&err), err);
    assert_ok(f->blobs = blobs_new(f->data, f->settings, &err), err);
    assert_ok(f->queue = queue_new(f->store, f->blobs, f->events, f->settings, &err), err);
    return 0;
}

static void submit(struct fixture *f, const char *key, const char *model, int priority,
                   char id[JOB_ID_SIZE])
{
    struct err err;
    struct job_params p;
    fixture_params(&p, model, "p", 1);
    assert_ok(queue_submit(f->queue, key, priority, false, &p, NULL, 0, id, &err), err);
    job_params_free(&p);
}

/* A job as old as that. */
static void submit_old(struct fixture *f, const char *key, const char *model, int64_t age_ms,
                       char id[JOB_ID_SIZE])
{
    struct err err;
    struct job job = {.created_ms = now_unix_ms() - age_ms};
    static int count;
    fixture_params(&job.params, model, "p", 1);
    snprintf(job.id, sizeof job.id, "%08x%024x", ++count, (unsigned)getpid());
    snprintf(job.key_id, sizeof job.key_id, "%s", key);
    assert_ok(store_job_insert(f->store, &job, &err), err);
    memcpy(id, job.id, JOB_ID_SIZE);
    job_params_free(&job.params);
}

static const char *const both[] = {"a", "b"}, *const only_a[] = {"a"}, *const only_b[] = {"b"};

/* "" when there is none. */
static void claim(struct fixture *f, struct queue_taste *t, char id[JOB_ID_SIZE])
{
    struct err err;
    struct job job;
    struct claim c;
    id[0] = '\0';
    if (queue_claim_taste(f->queue, "worker:k:w", both, 2, t, &job, &c, &err)) {
        memcpy(id, c.job_id, JOB_ID_SIZE);
        job_free(&job);
    } else {
        assert_int_equal(err.code, ERR_NONE);
    }
}

static struct queue_taste taste(const char *const *warm, const char *const *held)
{
    return (struct queue_taste){.lists = {{warm, warm ? 1 : 0}, {held, held ? 1 : 0}}};
}

#define CLAIMS(t, wanted)                                                                          \
    do {                                                                                           \
        char got_[JOB_ID_SIZE];                                                                    \
        claim(f, t, got_);                                                                         \
        assert_string_equal(got_, wanted);                                                         \
    } while (0)

static void what_is_warm_goes_first_then_what_is_held(void **state)
{
    struct fixture *f = *state;
    char a1[JOB_ID_SIZE], a2[JOB_ID_SIZE], b1[JOB_ID_SIZE], b2[JOB_ID_SIZE];
    submit(f, "k", "a", 0, a1);
    submit(f, "k", "b", 0, b1);
    submit(f, "k", "a", 0, a2);
    submit(f, "k", "b", 0, b2);
    struct queue_taste b = taste(only_b, NULL), held = taste(NULL, only_b),
                       warm = taste(only_a, only_b), none = taste(NULL, NULL);
    CLAIMS(&b, b1);
    assert_true(b.passing_ms > 0);
    CLAIMS(&warm, a1);
    assert_int_equal(warm.passing_ms, 0);
    CLAIMS(&held, b2);
    CLAIMS(&none, a2);
    CLAIMS(&none, "");
}

static void another_keys_job_goes_first_too_but_not_what_is_more_urgent(void **state)
{
    struct fixture *f = *state;
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE], urgent[JOB_ID_SIZE], higher[JOB_ID_SIZE];
    submit(f, "k", "a", 0, a);
    submit(f, "l", "b", 0, b);
    submit(f, "m", "a", 5, urgent);
    struct queue_taste t = taste(only_b, NULL);
    CLAIMS(&t, urgent);
    CLAIMS(&t, b);
    submit(f, "k", "b", -1, b); /* behind all others, of whatever model */
    submit(f, "m", "a", 9, higher);
    submit(f, "m", "b", 8, urgent); /* of one key the greater priority is first */
    CLAIMS(&t, higher);
    CLAIMS(&t, urgent);
    CLAIMS(&t, a);
    CLAIMS(&t, b);
}

static void nobody_starves(void **state)
{
    struct fixture *f = *state;
    char old[JOB_ID_SIZE], b[JOB_ID_SIZE], more[JOB_ID_SIZE];
    submit_old(f, "k", "a", QUEUE_PASS_MS + 1000, old);
    submit_old(f, "k", "b", QUEUE_PASS_MS, b);
    submit_old(f, "k", "b", QUEUE_PASS_MS, more);
    struct queue_taste t = taste(only_b, NULL);
    CLAIMS(&t, b); /* it has passed over nobody yet */
    t.passing_ms = now_ms() - QUEUE_PASS_MS - 1000;
    CLAIMS(&t, old);
    assert_int_equal(t.passing_ms, 0);
    CLAIMS(&t, more);
    /* However long it has done so: what has just come is no reason to load another model. */
    submit(f, "k", "a", 0, old);
    submit(f, "k", "b", 0, b);
    t.passing_ms = now_ms() - QUEUE_PASS_MS - 1000;
    CLAIMS(&t, b);
    CLAIMS(&t, old);
}

static bool leave_a(void *ctx, const char *model)
{
    ++*(int *)ctx;
    return strcmp(model, "a") == 0;
}

static void what_another_has_at_hand_is_left_for_a_moment(void **state)
{
    struct fixture *f = *state;
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE], old[JOB_ID_SIZE];
    int asked = 0;
    struct queue_taste t = taste(NULL, NULL);
    t.leave = leave_a;
    t.ctx = &asked;
    submit(f, "k", "a", 0, a);
    CLAIMS(&t, "");
    assert_true(t.left && asked == 1);
    struct queue_taste other = taste(only_a, NULL);
    CLAIMS(&other, a);
    submit(f, "k", "b", 0, b);
    CLAIMS(&t, b);
    assert_false(t.left);
    submit_old(f, "k", "a", QUEUE_LEAVE_MS + 1, old);
    asked = 0;
    CLAIMS(&t, old);
    assert_int_equal(asked, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_warm_goes_first_then_what_is_held),
        TEST(another_keys_job_goes_first_too_but_not_what_is_more_urgent),
        TEST(nobody_starves),
        TEST(what_another_has_at_hand_is_left_for_a_moment),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
