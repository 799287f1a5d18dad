/* feed_test.c: event texts are written once for all readers, and a slow reader costs nobody. */
#include "tests/unit/server_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "server/api/native/native_feed.h"

struct rig {
    struct fixture *f;
    struct native_feed *feed;
};

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct err err;
    fixture_setup((void **)&r->f);
    assert_ok(r->feed = native_feed_new(r->f->queue, r->f->events, &err), err);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    native_feed_free(r->feed);
    int rc = fixture_teardown((void **)&r->f);
    free(r);
    return rc;
}

static void count(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static struct native_reader *join(struct rig *r, const char *key_id, const char *job_id,
                                  atomic_int *wakes)
{
    struct err err;
    struct native_reader *reader =
        native_feed_join(r->feed, key_id, job_id, NULL, count, wakes, &err);
    assert_ok(reader, err);
    return reader;
}

/* The next text, waited for. */
static const struct native_text *take(struct native_reader *reader)
{
    const struct native_text *text;
    for (int i = 0; i < 1000; i++) {
        enum native_next next = native_feed_next(reader, &text);
        if (next == NATIVE_TEXT)
            return text;
        assert_int_equal(next, NATIVE_NOTHING);
        usleep(5000);
    }
    fail_msg("nothing came");
    return NULL;
}

/* The id of a text. */
static void id_of(const struct native_text *text, char id[64])
{
    const char *from = strstr(text->data, "\nid: ");
    assert_non_null(from);
    size_t size = strcspn(from + 5, "\n");
    assert_in_range(size, 1, 63);
    memcpy(id, from + 5, size);
    id[size] = '\0';
}

static struct native_reader *join_behind(struct rig *r, const char *last_id, atomic_int *wakes)
{
    struct err err;
    struct native_reader *reader =
        native_feed_join(r->feed, NULL, NULL, last_id, count, wakes, &err);
    assert_ok(reader, err);
    return reader;
}

static void expect(struct native_reader *reader, const char *event, const char *words)
{
    const struct native_text *text = take(reader);
    assert_memory_equal(text->data, "event: ", 7);
    assert_memory_equal(text->data + 7, event, strlen(event));
    if (!strstr(text->data, words))
        fail_msg("\"%s\" is not in %s", words, text->data);
    assert_memory_equal(text->data + text->size - 2, "\n\n", 2);
    native_feed_done(text);
}

static void expect_nothing(struct native_reader *reader)
{
    const struct native_text *text;
    usleep(100 * 1000); /* some rounds */
    assert_int_equal(native_feed_next(reader, &text), NATIVE_NOTHING);
}

static void progress(struct rig *r, const char *id, int step, bool preview)
{
    struct event event = {.kind = EVENT_PROGRESS,
                          .state = JOB_RUNNING,
                          .progress = {.step = step, .steps = 9, .eta_seconds = -1},
                          .preview = preview ? (const uint8_t *)"abc" : NULL,
                          .preview_size = preview ? 3 : 0};
    memcpy(event.job_id, id, sizeof event.job_id);
    events_publish(r->f->events, &event);
}

static void one_text_serves_all_readers(void **state)
{
    struct rig *r = *state;
    atomic_int wakes = 0;
    char id[JOB_ID_SIZE];
    struct native_reader *a = join(r, NULL, NULL, &wakes), *b = join(r, "k", NULL, &wakes),
                         *c = join(r, "other", NULL, &wakes);
    fixture_submit(r->f, "k", 0, "p", 1, id);
    const struct native_text *first = take(a), *second = take(b);
    assert_ptr_equal(first, second);
    assert_non_null(strstr(first->data, id));
    native_feed_done(first);
    native_feed_done(second);
    for (int i = 0; i < 1000 && wakes < 2; i++) /* a text is there before its readers are woken */
        usleep(5000);
    expect_nothing(c); /* another key's */
    assert_int_equal(wakes, 2);
    native_feed_leave(a);
    native_feed_leave(b);
    native_feed_leave(c);
}

static void a_job_is_followed_to_its_end(void **state)
{
    struct rig *r = *state;
    struct err err;
    atomic_int wakes = 0;
    char id[JOB_ID_SIZE], other[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    struct job_image image;
    struct native_reader *all = join(r, NULL, NULL, &wakes);
    fixture_submit(r->f, "", 0, "p", 1, id);
    expect(all, "job", id); /* what was before a reader joined is not told */
    native_feed_leave(all);
    struct native_reader *one = join(r, NULL, id, &wakes);
    fixture_submit(r->f, "", 0, "p", 1, other);
    fixture_claim(r->f, &job, &claim);
    job_free(&job);
    expect(one, "job", "\"state\":\"running\"");
    progress(r, id, 3, true);
    expect(one, "progress",
           "\"step\":3,\"steps\":9,\"eta_seconds\":null,\"ahead\":0,"
           "\"preview\":\"data:image/jpeg;base64,YWJj\"");
    fixture_store_image(r->f, &claim, 0, "x", &image);
    expect(one, "image", image.id);
    assert_ok(queue_finish(r->f->queue, &claim, &err), err);
    const struct native_text *text = take(one);
    assert_true(text->last);
    native_feed_done(text);
    assert_ok(queue_delete(r->f->queue, id, NULL, true, &err), err);
    const struct native_text *none;
    enum native_next next = NATIVE_NOTHING;
    for (int i = 0; i < 1000 && next == NATIVE_NOTHING; i++) {
        next = native_feed_next(one, &none);
        usleep(5000);
    }
    assert_int_equal(next, NATIVE_LOST); /* there is no more to come */
    native_feed_leave(one);
}

static void progress_that_is_out_of_date_is_skipped(void **state)
{
    struct rig *r = *state;
    atomic_int wakes = 0;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    struct native_reader *quick = join(r, NULL, NULL, &wakes), *slow = join(r, NULL, NULL, &wakes);
    fixture_submit(r->f, "", 0, "p", 1, id);
    /* A text says what is so when it is written: of a job that is claimed before its first text
     * is written, two texts would say that it runs. */
    expect(quick, "job", id);
    fixture_claim(r->f, &job, &claim);
    job_free(&job);
    expect(quick, "job", "\"state\":\"running\"");
    for (int step = 1; step <= 5; step++) {
        char words[20];
        snprintf(words, sizeof words, "\"step\":%d,", step);
        progress(r, id, step, step == 2 || step == 3);
        expect(quick, "progress", words);
    }
    const struct native_text *text = take(slow);
    while (strncmp(text->data, "event: job", 10) == 0) {
        native_feed_done(text);
        text = take(slow);
    }
    assert_non_null(strstr(text->data, "\"step\":3,")); /* the last preview */
    native_feed_done(text);
    expect(slow, "progress", "\"step\":5,");
    expect_nothing(slow);
    native_feed_leave(quick);
    native_feed_leave(slow);
}

static void a_reader_that_is_overtaken_begins_again(void **state)
{
    struct rig *r = *state;
    struct err err;
    atomic_int wakes = 0;
    char id[JOB_ID_SIZE];
    char before[64] = "";
    const struct native_text *text;
    struct native_reader *slow = join(r, NULL, NULL, &wakes), *quick = join(r, NULL, NULL, &wakes);
    char *prompt = malloc(1 << 20);
    memset(prompt, 'p', (1 << 20) - 1);
    prompt[(1 << 20) - 1] = '\0';
    for (int i = 0; i < 20; i++) { /* more bytes than are kept */
        fixture_submit(r->f, "", 0, prompt, 1, id);
        text = take(quick);
        if (!*before)
            id_of(text, before);
        native_feed_done(text);
        assert_ok(queue_cancel(r->f->queue, id, NULL, &err), err);
        expect(quick, "job", "\"state\":\"cancelled\"");
    }
    free(prompt);
    assert_int_equal(native_feed_next(slow, &text), NATIVE_LOST);
    native_feed_leave(slow);
    slow = join_behind(r, before, &wakes); /* too long ago */
    assert_false(native_feed_resumed(slow));
    native_feed_leave(slow);
    native_feed_leave(quick);
}

static void a_reader_goes_on_behind_what_it_has_read(void **state)
{
    struct rig *r = *state;
    struct err err;
    atomic_int wakes = 0;
    char first[JOB_ID_SIZE], second[JOB_ID_SIZE], last[64], changed[64];
    struct native_reader *all = join_behind(r, NULL, &wakes);
    assert_false(native_feed_resumed(all));
    fixture_submit(r->f, "", 0, "p", 1, first);
    const struct native_text *text = take(all);
    id_of(text, last);
    assert_false(native_feed_ended(last));
    native_feed_done(text);
    fixture_submit(r->f, "", 0, "p", 1, second);
    expect(all, "job", second);
    assert_ok(queue_cancel(r->f->queue, first, NULL, &err), err);
    expect(all, "job", "\"state\":\"cancelled\"");
    struct native_reader *again = join_behind(r, last, &wakes);
    assert_true(native_feed_resumed(again));
    expect(again, "job", second);
    text = take(again);
    assert_non_null(strstr(text->data, "\"state\":\"cancelled\""));
    id_of(text, last);
    assert_true(native_feed_ended(last));
    native_feed_done(text);
    expect_nothing(again);
    native_feed_leave(again);
    again = join_behind(r, last, &wakes); /* nothing has happened since */
    assert_true(native_feed_resumed(again));
    expect_nothing(again);
    native_feed_leave(again);
    snprintf(changed, sizeof changed, "%c%s", last[0] == '0' ? '1' : '0', last + 1);
    again = join_behind(r, changed, &wakes); /* another run's */
    assert_false(native_feed_resumed(again));
    expect_nothing(again);
    native_feed_leave(again);
    native_feed_leave(all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_text_serves_all_readers),
        TEST(a_job_is_followed_to_its_end),
        TEST(progress_that_is_out_of_date_is_skipped),
        TEST(a_reader_that_is_overtaken_begins_again),
        TEST(a_reader_goes_on_behind_what_it_has_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
