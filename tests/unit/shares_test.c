/* Keys share the seconds of the painters, on the store's own functions and a clock of the test's.
 * PICTOR_TEST_DATABASE: an empty database to do it on instead of a file; the tests are named by the
 * argument then (tests/cluster/test_units.py). */
#include "tests/unit/server_fixture.h"

#include "server/store/shares.h"

#define START INT64_C(1790000000000) /* Unix milliseconds; any */

struct shop {
    char data[64];
    struct store *store;
    int64_t now;
    int jobs;
};

static int setup(void **state)
{
    struct err err;
    struct shop *s = calloc(1, sizeof *s);
    log_set_level(LOG_ERROR);
    snprintf(s->data, sizeof s->data, P_tmpdir "/pictor-test-XXXXXX");
    assert_non_null(mkdtemp(s->data));
    s->now = START;
    assert_ok(s->store =
                  store_open(&(struct store_place){.data = s->data,
                                                   .database = getenv("PICTOR_TEST_DATABASE")},
                             STORE_ALONE, &err),
              err);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct shop *s = *state;
    char command[128];
    store_close(s->store);
    snprintf(command, sizeof command, "rm -rf '%s'", s->data);
    assert_int_equal(system(command), 0);
    free(s);
    return 0;
}

static void submit(struct shop *s, const char *key, int priority, int steps, char id[JOB_ID_SIZE])
{
    struct err err;
    struct job job = {.created_ms = s->now, .priority = priority};
    job_params_init(&job.params);
    job.params.model = strdup("m");
    job.params.prompt = strdup("p");
    job.params.count = 1;
    job.params.width = job.params.height = 512;
    job.params.steps = steps;
    snprintf(job.id, sizeof job.id, "%08x%08x%016llx", ++s->jobs, (unsigned)getpid(),
             (unsigned long long)(uintptr_t)s);
    snprintf(job.key_id, sizeof job.key_id, "%s", key);
    assert_ok(store_job_insert(s->store, &job, &err), err);
    if (id)
        memcpy(id, job.id, JOB_ID_SIZE);
    job_params_free(&job.params);
}

struct running {
    char id[JOB_ID_SIZE], key[JOB_ID_SIZE];
    int64_t token, until;
    int steps;
};

static bool claim(struct shop *s, struct running *r)
{
    struct err err;
    struct job job;
    assert_ok(store_begin(s->store, &err), err);
    assert_ok(store_job_next(s->store, NULL, 0, r->id, &err), err);
    if (!r->id[0]) {
        store_rollback(s->store);
        return false;
    }
    assert_ok(store_job_start(s->store, r->id, "t", s->now, 60000, &r->token, &err), err);
    assert_ok(store_job_get(s->store, r->id, NULL, &job, &err), err);
    assert_ok(store_commit(s->store, &err), err);
    strcpy(r->key, job.key_id);
    r->steps = job.params.steps;
    job_free(&job);
    return true;
}

static void end(struct shop *s, const struct running *r)
{
    struct err err;
    struct job_image image = {.width = 512, .height = 512, .infotext = ""}, replaced;
    snprintf(image.id, sizeof image.id, "%s", r->id);
    assert_ok(store_begin(s->store, &err), err);
    assert_ok(store_image_put(s->store, r->id, &image, &replaced, &err), err);
    assert_ok(store_job_end(s->store, r->id, r->token, JOB_DONE, NULL, NULL, s->now, &err), err);
    assert_ok(store_commit(s->store, &err), err);
}

/* Painters who need a second for a step paint until `until`; seconds[] is what "a" and "b" got. */
static void paint(struct shop *s, int painters, int64_t until, double seconds[2])
{
    struct running at[8] = {0};
    seconds[0] = seconds[1] = 0;
    assert_true(painters <= 8);
    while (s->now < until) {
        struct running *first = NULL;
        for (int i = 0; i < painters; i++) {
            if (!at[i].id[0] && claim(s, &at[i])) {
                at[i].until = s->now + at[i].steps * 1000;
                seconds[at[i].key[0] - 'a'] += at[i].steps;
            }
            if (at[i].id[0] && (!first || at[i].until < first->until))
                first = &at[i];
        }
        if (!first)
            return;
        s->now = first->until;
        end(s, first);
        *first = (struct running){0};
    }
    for (int i = 0; i < painters; i++)
        if (at[i].id[0]) {
            s->now = at[i].until > s->now ? at[i].until : s->now;
            end(s, &at[i]);
        }
}

static void submit_many(struct shop *s, const char *key, int count, int steps)
{
    struct err err;
    assert_ok(store_begin(s->store, &err), err);
    for (int i = 0; i < count; i++)
        submit(s, key, 0, steps, NULL);
    assert_ok(store_commit(s->store, &err), err);
}

static void test_seconds_are_shared_not_jobs(void **state)
{
    struct shop *s = *state;
    double got[2];
    submit_many(s, "a", 100, 60);
    submit_many(s, "b", 200, 6);
    paint(s, 1, s->now + 900000, got);
    assert_true(got[0] > 0.4 * 900 && got[0] < 0.6 * 900);
    assert_true(got[1] > 0.4 * 900 && got[1] < 0.6 * 900);
}

static void test_seconds_are_shared_among_many_painters(void **state)
{
    struct shop *s = *state;
    double got[2];
    submit_many(s, "a", 100, 60);
    submit_many(s, "b", 400, 6);
    paint(s, 4, s->now + 400000, got);
    double sum = got[0] + got[1];
    assert_true(got[0] > 0.4 * sum && got[0] < 0.6 * sum);
}

/* Who comes when somebody else has had everything for an hour is served first, for a while. */
static void test_recent_use_counts_and_is_forgotten(void **state)
{
    struct shop *s = *state;
    double got[2];
    submit_many(s, "a", 200, 90);
    paint(s, 1, s->now + 3600000, got);
    assert_true(got[1] == 0);
    submit_many(s, "b", 200, 20);
    paint(s, 1, s->now + 300000, got);
    assert_true(got[0] <= 90 && got[1] >= 210);
    paint(s, 1, s->now + 1800000, got); /* b has had less by now, and not for ever */
    assert_true(got[0] > 0.3 * 1800);
}

static void test_priorities_are_a_keys_own(void **state)
{
    struct shop *s = *state;
    char a[2][JOB_ID_SIZE], b[2][JOB_ID_SIZE], urgent[JOB_ID_SIZE], late[JOB_ID_SIZE];
    struct running r;
    submit(s, "a", -20, 1, a[1]);
    submit(s, "a", -10, 1, a[0]);
    submit(s, "b", -90, 1, b[1]);
    submit(s, "b", -50, 1, b[0]);
    submit(s, "c", 0, 1, late);
    submit(s, "c", 9, 1, urgent);
    const char *expected[] = {urgent, late, a[0], b[0], a[1], b[1]};
    for (int i = 0; i < 6; i++) {
        assert_true(claim(s, &r));
        assert_string_equal(r.id, expected[i]);
        s->now++;
    }
    assert_false(claim(s, &r));
}

/* What was not painted is not paid for. */
static void test_what_is_given_back_costs_nothing(void **state)
{
    struct shop *s = *state;
    struct running r;
    struct err err;
    char a[JOB_ID_SIZE], b[JOB_ID_SIZE], c[JOB_ID_SIZE];
    submit(s, "a", 0, 1, a);
    assert_true(claim(s, &r));
    assert_ok(store_job_requeue(s->store, a, r.token, false, &err), err);
    submit(s, "b", 0, 1, b);
    submit(s, "b", 0, 1, c);
    assert_true(claim(s, &r));
    s->now++;
    assert_true(claim(s, &r));
    struct running third;
    assert_true(claim(s, &third));
    assert_string_equal(third.id, c); /* a's and b's first are running: what costs nothing ties */
}

static void test_numbers(void **state)
{
    int64_t used = shares_used(0, 60000, START);
    assert_true(shares_left(used, START) > 59999 && shares_left(used, START) < 60001);
    double later = shares_left(used, START + SHARES_HALF_MS);
    assert_true(later > 29999 && later < 30001);
    int64_t back = shares_used(used, -60000, START);
    assert_true(shares_left(back, START) < 0.01);
    assert_true(shares_used(0, 1000, START) < shares_used(0, 1001, START));
    assert_true(shares_used(0, 1000, START) < shares_used(0, 1000, START + 1));
    assert_true(shares_left(INT64_MAX, 0) > 0 && shares_left(INT64_MIN, INT64_MAX) < 1);
    assert_true(shares_used(INT64_MAX, 1e18, INT64_MAX) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        TEST(test_priorities_are_a_keys_own),
        TEST(test_what_is_given_back_costs_nothing),
        TEST(test_seconds_are_shared_not_jobs),
        TEST(test_seconds_are_shared_among_many_painters),
        TEST(test_recent_use_counts_and_is_forgotten),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
