/* sweep_test.c: what the queue removes and puts away by itself, and what it leaves. */
#include "tests/unit/server_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "server/queue/queue_marks.h"
#include "server/store/blobs.h"

/* An empty database before a full folder is the wrong one: nobody's pictures are moved for it. */
static void a_store_without_jobs_puts_no_file_away(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], path[BLOBS_PATH_SIZE];
    const struct timespec long_ago[2] = {{1, 0}, {1, 0}};
    assert_ok(blobs_image_path(path, f->data, "abababababababababababababababab", IMAGE_PNG, &err),
              err);
    assert_ok(blobs_write_here(path, "picture", 7, &err), err);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(futimens(fileno(file), long_ago), 0);
    fclose(file);
    fixture_close(f);
    fixture_open(f);
    usleep(300 * 1000);
    assert_int_equal(access(path, F_OK), 0);
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_close(f);
    fixture_open(f);
    for (int i = 0; i < 100 && access(path, F_OK) == 0; i++)
        usleep(20 * 1000);
    assert_int_equal(access(path, F_OK), -1);
}

static void old_jobs_go_when_told_to(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char old[JOB_ID_SIZE], waiting[JOB_ID_SIZE], favourite[JOB_ID_SIZE];
    const char *favourites[] = {favourite};
    const struct queue_marks marks = {.jobs = favourites, .job_count = 1, .favourite = 1};
    size_t at = 0;
    struct job job;
    fixture_submit(f, "", 0, "p", 1, favourite);
    fixture_submit(f, "", 0, "p", 1, old);
    fixture_submit(f, "", 0, "p", 1, waiting);
    assert_ok(queue_marks_step(f->queue, NULL, &marks, &at, &err), err);
    assert_ok(store_job_end(f->store, favourite, 0, JOB_CANCELLED, NULL, NULL, 1000, &err), err);
    assert_ok(store_job_end(f->store, old, 0, JOB_CANCELLED, NULL, NULL, 1000, &err), err);
    fixture_close(f);
    f->settings->keep_days = 1;
    fixture_open(f);
    for (int i = 0; i < 100 && queue_get(f->queue, old, NULL, &job, &err); i++) {
        job_free(&job);
        usleep(20 * 1000);
    }
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(fixture_state(f, waiting), JOB_QUEUED);
    assert_int_equal(fixture_state(f, favourite), JOB_CANCELLED);
}

static void a_damaged_row_keeps_no_other_job(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char damaged[JOB_ID_SIZE], old[JOB_ID_SIZE], path[100];
    struct job job;
    sqlite3 *db;
    fixture_submit(f, "damaged", 0, "p", 1, damaged);
    fixture_submit(f, "", 0, "p", 1, old);
    assert_ok(store_job_end(f->store, damaged, 0, JOB_CANCELLED, NULL, NULL, 1000, &err), err);
    assert_ok(store_job_end(f->store, old, 0, JOB_CANCELLED, NULL, NULL, 2000, &err), err);
    fixture_close(f);
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "UPDATE jobs SET key_id = hex(zeroblob(100)) "
                                  "WHERE key_id = 'damaged'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    f->settings->keep_days = 1;
    fixture_open(f);
    for (int i = 0; i < 100 && queue_get(f->queue, old, NULL, &job, &err); i++) {
        job_free(&job);
        usleep(20 * 1000);
    }
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_store_without_jobs_puts_no_file_away),
        TEST(old_jobs_go_when_told_to),
        TEST(a_damaged_row_keeps_no_other_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
