/* events_test.c: the hub: who hears what, and that nobody hears anything after unsubscribing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/queue/events.h"

#define JOB_A "0123456789abcdef0123456789abcdef"
#define JOB_B "fedcba9876543210fedcba9876543210"

struct ear {
    int states, progress, images;
    enum job_state last;
};

static void hear(void *ctx, const struct event *event)
{
    struct ear *ear = ctx;
    ear->states += event->kind == EVENT_STATE;
    ear->progress += event->kind == EVENT_PROGRESS;
    ear->images += event->kind == EVENT_IMAGE;
    ear->last = event->state;
}

static void say_state(struct events *hub, const char *job, enum job_state state)
{
    struct event event = {.kind = EVENT_STATE, .state = state};
    strcpy(event.job_id, job);
    events_publish(hub, &event);
}

static void say_progress(struct events *hub, const char *job, int step, const char *preview)
{
    struct event event = {.kind = EVENT_PROGRESS,
                          .state = JOB_RUNNING,
                          .progress = {.step = step, .steps = 20, .eta_seconds = 1},
                          .preview = (const uint8_t *)preview,
                          .preview_size = preview ? strlen(preview) : 0};
    strcpy(event.job_id, job);
    events_publish(hub, &event);
}

static int setup(void **state)
{
    struct err err;
    *state = events_new(&err);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    events_free(*state);
    return 0;
}

static void each_hears_its_own(void **state)
{
    struct events *hub = *state;
    struct err err;
    struct ear a = {0}, b = {0}, all = {0};
    struct subscription *sa = events_subscribe(hub, JOB_A, hear, &a, &err);
    struct subscription *sb = events_subscribe(hub, JOB_B, hear, &b, &err);
    struct subscription *s = events_subscribe(hub, NULL, hear, &all, &err);
    assert_non_null(sa);
    assert_non_null(sb);
    assert_non_null(s);
    say_state(hub, JOB_A, JOB_RUNNING);
    say_progress(hub, JOB_A, 1, NULL);
    say_state(hub, JOB_B, JOB_QUEUED);
    events_unsubscribe(sb);
    say_state(hub, JOB_B, JOB_CANCELLED);
    assert_int_equal(a.states, 1);
    assert_int_equal(a.progress, 1);
    assert_int_equal(b.states, 1);
    assert_int_equal(all.states, 3);
    assert_int_equal(all.last, JOB_CANCELLED);
    events_unsubscribe(sa);
    events_unsubscribe(s);
    events_unsubscribe(NULL);
    say_state(hub, JOB_A, JOB_DONE);
    assert_int_equal(all.states, 3);
    assert_null(events_subscribe(hub, JOB_A JOB_A, hear, &a, &err));
}

static void a_final_state_is_the_last_event(void **state)
{
    struct events *hub = *state;
    struct err err;
    struct ear a = {0};
    struct subscription *s = events_subscribe(hub, JOB_A, hear, &a, &err);
    say_state(hub, JOB_A, JOB_RUNNING);
    say_state(hub, JOB_A, JOB_CANCELLED);
    say_progress(hub, JOB_A, 5, NULL); /* a runner that has not heard of it yet */
    assert_int_equal(a.states, 2);
    assert_int_equal(a.progress, 0);
    assert_int_equal(a.last, JOB_CANCELLED);
    events_unsubscribe(s);
}

static void the_last_progress_is_kept_while_it_runs(void **state)
{
    struct events *hub = *state;
    struct job_progress p;
    uint8_t *preview;
    size_t size;
    assert_false(events_last(hub, JOB_A, &p, &preview, &size));
    assert_null(preview);
    say_state(hub, JOB_A, JOB_RUNNING);
    assert_true(events_last(hub, JOB_A, &p, &preview, &size));
    assert_true(p.step == 0 && p.eta_seconds < 0 && !preview);
    say_progress(hub, JOB_A, 3, "jpeg");
    say_progress(hub, JOB_A, 4, NULL); /* a step without preview keeps the last one */
    assert_true(events_last(hub, JOB_A, &p, &preview, &size));
    assert_int_equal(p.step, 4);
    assert_int_equal(size, 4);
    assert_memory_equal(preview, "jpeg", 4);
    free(preview);
    assert_true(events_last(hub, JOB_A, &p, NULL, NULL));
    assert_false(events_last(hub, JOB_B, &p, NULL, NULL));
    say_state(hub, JOB_A, JOB_QUEUED); /* its worker died */
    assert_false(events_last(hub, JOB_A, &p, &preview, &size));
    say_state(hub, JOB_A, JOB_RUNNING);
    assert_true(events_last(hub, JOB_A, &p, &preview, &size));
    assert_true(p.step == 0 && !preview);
    say_state(hub, JOB_B, JOB_RUNNING); /* both freed with the hub */
    say_progress(hub, JOB_B, 1, "x");
}

/* ---- threads ---- */

struct crowd {
    struct events *hub;
    atomic_bool stop;
};

static void *publish(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; !atomic_load(&c->stop); i++) {
        say_state(c->hub, JOB_A, JOB_RUNNING);
        say_progress(c->hub, JOB_A, i, "preview");
        say_state(c->hub, JOB_B, JOB_QUEUED);
    }
    return NULL;
}

static void touch(void *ctx, const struct event *event)
{
    ++*(int *)ctx; /* freed right after unsubscribing: a late call is a use after free */
}

static void *come_and_go(void *arg)
{
    struct crowd *c = arg;
    struct err err;
    for (int i = 0; i < 300; i++) {
        int *count = calloc(1, sizeof *count);
        struct subscription *s = events_subscribe(c->hub, i % 2 ? JOB_A : NULL, touch, count, &err);
        if (i % 10 == 0)
            usleep(100);
        events_unsubscribe(s);
        free(count);
    }
    return NULL;
}

static void nothing_comes_after_unsubscribing(void **state)
{
    struct crowd c = {.hub = *state};
    pthread_t publishers[2], subscribers[3];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&publishers[i], NULL, publish, &c), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&subscribers[i], NULL, come_and_go, &c), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(subscribers[i], NULL);
    atomic_store(&c.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(publishers[i], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_hears_its_own),
        TEST(a_final_state_is_the_last_event),
        TEST(the_last_progress_is_kept_while_it_runs),
        TEST(nothing_comes_after_unsubscribing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
