/* search_test.c: searches find what a look at every prompt would find, and hold up nobody. */
#include "tests/unit/server_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

/* Makes the database what the first version would have written. */
static void make_old(struct fixture *f)
{
    char path[100], old[100], sql[4000], *first = NULL;
    size_t size = 0;
    sqlite3 *db;
    sqlite3_stmt *columns;
    FILE *file = fopen("migrations/sqlite/0001_init.sql", "r");
    assert_non_null(file);
    assert_true(getdelim(&first, &size, '\0', file) > 0);
    fclose(file);
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    snprintf(old, sizeof old, "%s/old.db", f->data);
    assert_int_equal(sqlite3_open(old, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, first, NULL, NULL, NULL), SQLITE_OK);
    free(first);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT group_concat(name) FROM pragma_table_info('jobs')",
                                        -1, &columns, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(columns), SQLITE_ROW);
    const char *names = (const char *)sqlite3_column_text(columns, 0);
    snprintf(sql, sizeof sql,
             "ATTACH '%s' AS new; INSERT INTO main.jobs (%s) SELECT %s FROM new.jobs; DETACH new; "
             "PRAGMA application_id = %d; PRAGMA user_version = 1",
             path, names, names, 0x70696374);
    sqlite3_finalize(columns);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
    assert_int_equal(rename(old, path), 0);
}

static size_t search(struct fixture *f, const char *text, const char *key_id, int state)
{
    struct job_filter filter = {.text = text, .key_id = key_id, .state = state, .limit = 200};
    struct job *jobs;
    size_t count;
    int64_t next;
    struct err err;
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
    return count;
}

/* ---- what is found ---- */

static const char *const prompts[] = {
    "Cat number 3% \"quoted\" and 'single'",
    "a red circle, (glossy:1.2)",
    "A RED CIRCLE on Ölfarbe",
    "ölfarbe, 猫の絵 in the garden",
    "猫の",
    "ab",
    "",
    "AND OR NOT NEAR(red) * ^ col:umn - + {x}",
    "\xf0\x9f\x90\xb1\xf0\x9f\x90\xb1\xf0\x9f\x90\xb1 three cats",
    "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabd",
};

/* As SQLite's lower(): ASCII alone. */
static bool holds(const char *prompt, const char *text)
{
    size_t n = strlen(text);
    for (; strlen(prompt) >= n; prompt++) {
        size_t i = 0;
        while (i < n && (prompt[i] == text[i] ||
                         ((unsigned char)(prompt[i] | 32) == (unsigned char)(text[i] | 32) &&
                          (text[i] | 32) >= 'a' && (text[i] | 32) <= 'z')))
            i++;
        if (i == n)
            return true;
        if (!*prompt)
            break;
    }
    return false;
}

static void finds_what_is_there(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE], text[JOB_SEARCH_MAX + 1];
    size_t n = sizeof prompts / sizeof *prompts;
    for (size_t i = 0; i < n; i++)
        fixture_submit(f, i % 2 ? "odd" : "even", 0, prompts[i], 1, id);
    /* Every part of every prompt, cut between characters. */
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(prompts[i]);
        for (size_t from = 0; from < length; from++) {
            for (size_t to = from + 1; to <= length; to += to - from < 6 ? 1 : 7) {
                if ((prompts[i][from] & 0xc0) == 0x80 || (prompts[i][to] & 0xc0) == 0x80)
                    continue;
                snprintf(text, sizeof text, "%.*s", (int)(to - from), prompts[i] + from);
                size_t want = 0;
                for (size_t k = 0; k < n; k++)
                    want += holds(prompts[k], text);
                if (search(f, text, NULL, -1) != want)
                    fail_msg("\"%s\" is in %zu prompts", text, want);
            }
        }
    }
    assert_int_equal(search(f, "abcabd", NULL, -1), 1);
    assert_int_equal(search(f, "abdabc", NULL, -1), 0); /* all its trigrams but one are there */
    assert_int_equal(search(f, "red", NULL, -1), 3);
    assert_int_equal(search(f, "red", "odd", -1), 2);
    assert_int_equal(search(f, "red", "even", JOB_QUEUED), 1);
    assert_int_equal(search(f, "red", NULL, JOB_DONE), 0);
}

static void follows_what_happens_to_jobs(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char ids[3][JOB_ID_SIZE];
    for (int i = 0; i < 3; i++)
        fixture_submit(f, "", 0, "a green frog", 1, ids[i]);
    assert_ok(queue_cancel(f->queue, ids[0], NULL, &err), err);
    assert_int_equal(search(f, "frog", NULL, -1), 3);
    assert_int_equal(search(f, "frog", NULL, JOB_CANCELLED), 1);
    assert_int_equal(search(f, "frog", NULL, JOB_FAILED), 0);
    assert_int_equal(search(f, NULL, NULL, JOB_CANCELLED), 1);
    assert_int_equal(search(f, NULL, "", JOB_QUEUED), 2);
    assert_ok(queue_delete(f->queue, ids[0], NULL, false, &err), err);
    assert_int_equal(search(f, "frog", NULL, -1), 2);
    assert_int_equal(search(f, NULL, NULL, JOB_CANCELLED), 0);
    assert_ok(queue_restore(f->queue, ids[0], NULL, &err), err);
    assert_int_equal(search(f, "frog", NULL, -1), 3);
    assert_ok(queue_delete(f->queue, ids[0], NULL, true, &err), err);
    assert_int_equal(search(f, "frog", NULL, -1), 2);
}

static void pages_follow_each_other(void **state)
{
    struct fixture *f = *state;
    char ids[7][JOB_ID_SIZE];
    struct err err;
    for (int i = 0; i < 7; i++)
        fixture_submit(f, "", 0, i % 2 ? "blue" : "green", 1, ids[i]);
    struct job_filter filter = {.text = "green", .state = -1, .limit = 3};
    size_t seen = 0;
    int64_t next;
    do {
        struct job *jobs;
        size_t count;
        assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
        for (size_t i = 0; i < count; i++, seen++) {
            assert_string_equal(jobs[i].id, ids[6 - 2 * seen]);
            job_free(&jobs[i]);
        }
        free(jobs);
        filter.before_sequence = next;
    } while (next);
    assert_int_equal(seen, 4);
}

static void what_an_older_version_wrote_is_found(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE];
    fixture_submit(f, "", 0, "a green frog", 1, id);
    fixture_close(f);
    make_old(f);
    fixture_open(f);
    assert_int_equal(search(f, "frog", NULL, -1), 1);
}

/* ---- bounds ---- */

static void a_text_is_bounded(void **state)
{
    struct fixture *f = *state;
    char text[JOB_SEARCH_MAX + 2];
    struct job *jobs;
    size_t count;
    int64_t next;
    struct err err;
    memset(text, 'a', sizeof text);
    text[JOB_SEARCH_MAX + 1] = '\0';
    struct job_filter filter = {.text = text, .state = -1, .limit = 1};
    assert_false(queue_list(f->queue, &filter, &jobs, &count, &next, &err));
    assert_int_equal(err.code, ERR_INVALID);
    text[JOB_SEARCH_MAX] = '\0';
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    free(jobs);
    filter.text = "\xff\xff\xff";
    assert_false(queue_list(f->queue, &filter, &jobs, &count, &next, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

static void a_search_that_nobody_waits_for_ends(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE];
    struct job *jobs;
    size_t count;
    int64_t next;
    struct err err;
    atomic_bool gone = false;
    for (int i = 0; i < 60; i++)
        fixture_submit(f, "", 0, "no", 1, id);
    struct job_filter filter = {.text = "xy", .state = -1, .limit = 1, .gone = &gone};
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    free(jobs);
    gone = true;
    assert_false(queue_list(f->queue, &filter, &jobs, &count, &next, &err));
    assert_int_equal(err.code, ERR_BUSY);
    gone = false;
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    free(jobs);
}

/* ---- nobody waits for a reader ---- */

struct visit {
    struct fixture *f;
    sem_t inside, leave;
};

static bool stay(void *ctx, const struct key *key, const unsigned char *hash)
{
    struct visit *v = ctx;
    sem_post(&v->inside);
    sem_wait(&v->leave);
    return false;
}

static void *visit(void *ctx)
{
    struct visit *v = ctx;
    struct err err;
    assert_ok(store_key_each(v->f->store, NULL, stay, v, &err), err);
    return NULL;
}

static void a_reader_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    struct visit v = {.f = f};
    struct key key = {.id = "k", .name = "k"};
    unsigned char hash[STORE_HASH_SIZE] = {0};
    char id[JOB_ID_SIZE];
    struct err err;
    pthread_t thread;
    sem_init(&v.inside, 0, 0);
    sem_init(&v.leave, 0, 0);
    assert_ok(store_key_insert(f->store, &key, hash, &err), err);
    assert_int_equal(pthread_create(&thread, NULL, visit, &v), 0);
    sem_wait(&v.inside);
    /* It is in the middle of its rows; others write, read and search. */
    fixture_submit(f, "", 0, "a green frog", 1, id);
    assert_int_equal(fixture_state(f, id), JOB_QUEUED);
    assert_int_equal(search(f, "frog", NULL, -1), 1);
    sem_post(&v.leave);
    pthread_join(thread, NULL);
    sem_destroy(&v.inside);
    sem_destroy(&v.leave);
}

/* A transaction sees what it has written itself; others see it once it is committed. */
static void *look(void *ctx)
{
    struct fixture *f = ctx;
    char *value;
    struct err err;
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    return value;
}

static void a_transaction_is_seen_when_it_is_committed(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char *value;
    void *seen;
    pthread_t thread;
    assert_ok(store_begin(f->store, &err), err);
    assert_ok(store_option_set(f->store, "a", "1", &err), err);
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    assert_string_equal(value, "1");
    free(value);
    assert_int_equal(pthread_create(&thread, NULL, look, f), 0);
    pthread_join(thread, &seen);
    assert_null(seen);
    assert_ok(store_commit(f->store, &err), err);
    assert_int_equal(pthread_create(&thread, NULL, look, f), 0);
    pthread_join(thread, &seen);
    assert_string_equal(seen, "1");
    free(seen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finds_what_is_there),      TEST(follows_what_happens_to_jobs),
        TEST(pages_follow_each_other),  TEST(what_an_older_version_wrote_is_found),
        TEST(a_text_is_bounded),        TEST(a_search_that_nobody_waits_for_ends),
        TEST(a_reader_holds_up_nobody), TEST(a_transaction_is_seen_when_it_is_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
