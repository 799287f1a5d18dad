/* store_test.c: the store by itself: one owner, schema, options, and files that were damaged. */
#include "tests/unit/server_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs SQL on the closed store, as a hand or another program might. */
static void tamper(struct fixture *f, const char *sql)
{
    char path[100], *message = NULL;
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, sql, NULL, NULL, &message);
    if (message)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

static int mode_of(struct fixture *f, const char *name)
{
    char path[100];
    struct stat info;
    snprintf(path, sizeof path, "%s%s%s", f->data, *name ? "/" : "", name);
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void files_are_private(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE];
    fixture_submit(f, "", 0, "p", 1, id);
    assert_int_equal(mode_of(f, ""), 0700);
    assert_int_equal(mode_of(f, "pictor.db"), 0600);
    assert_int_equal(mode_of(f, "pictor.db-wal"), 0600);
    assert_int_equal(mode_of(f, "images"), 0700);
    assert_int_equal(mode_of(f, "inputs"), 0700);
}

static void one_server_a_folder(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store *other = store_open(&(struct store_place){.data = f->data}, STORE_ALONE, &err);
    assert_null(other);
    assert_int_equal(err.code, ERR_BUSY);
    assert_ok(other = store_open(&(struct store_place){.data = f->data}, STORE_SHARED, &err), err);
    assert_ok(store_option_set(other, "from", "outside", &err), err);
    store_close(other);
    char *value;
    assert_ok(store_option_get(f->store, "from", &value, &err), err);
    assert_string_equal(value, "outside");
    free(value);
}

/* A killed server's children hold its lock for a moment longer than it lives. */
static void the_next_server_waits_for_the_lock(void **state)
{
    struct fixture *f = *state;
    char path[100];
    struct err err;
    fixture_close(f);
    snprintf(path, sizeof path, "%s/lock", f->data);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    pid_t child = fork();
    if (child == 0) {
        usleep(300000);
        _exit(0);
    }
    close(fd);
    assert_ok(f->store = store_open(&(struct store_place){.data = f->data}, STORE_ALONE, &err),
              err);
    waitpid(child, NULL, 0);
}

static void options_are_kept(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char *value;
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    assert_null(value);
    assert_ok(store_option_set(f->store, "a", "1", &err), err);
    assert_ok(store_option_set(f->store, "a", "it's \"2\"", &err), err);
    fixture_close(f);
    fixture_open(f);
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    assert_string_equal(value, "it's \"2\"");
    free(value);
}

static void a_rolled_back_change_did_not_happen(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char *value;
    assert_ok(store_begin(f->store, &err), err);
    assert_ok(store_option_set(f->store, "a", "1", &err), err);
    store_rollback(f->store);
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    assert_null(value);
    assert_ok(store_begin(f->store, &err), err);
    assert_ok(store_option_set(f->store, "a", "1", &err), err);
    assert_ok(store_commit(f->store, &err), err);
    assert_ok(store_option_get(f->store, "a", &value, &err), err);
    assert_non_null(value);
    free(value);
}

static void expect_refusal(struct fixture *f, enum err_code code, const char *words)
{
    struct err err;
    struct store *st = store_open(&(struct store_place){.data = f->data}, STORE_ALONE, &err);
    assert_null(st);
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void a_newer_schema_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    tamper(f, "PRAGMA user_version = 99");
    expect_refusal(f, ERR_UNSUPPORTED, "has schema 99");
    tamper(f, "PRAGMA user_version = 14");
    fixture_open(f);
}

static void another_programs_file_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    tamper(f, "PRAGMA application_id = 1");
    expect_refusal(f, ERR_INVALID, "another program");
    tamper(f, "PRAGMA application_id = 0");
    expect_refusal(f, ERR_INVALID, "another program");
}

static void a_missing_table_is_an_error(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    tamper(f, "DROP TABLE images");
    expect_refusal(f, ERR_IO, "no such table");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[100];
    fixture_close(f);
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 9000; i++)
        putc('x', file);
    fclose(file);
    expect_refusal(f, ERR_IO, "is damaged");
}

static void a_damaged_record_hides_no_other(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct store_record *rows;
    size_t count;
    for (int i = 1; i <= 4; i++) {
        struct store_record r = {.kind = "file", .created_ms = i, .body = "{}"};
        snprintf(r.id, sizeof r.id, "%032d", i);
        assert_ok(store_record_put(f->store, &r, &err), err);
    }
    fixture_close(f);
    tamper(f, "UPDATE records SET id = '../../etc/' || created_ms WHERE created_ms IN (2, 3)");
    fixture_open(f);
    for (int oldest_first = 0; oldest_first < 2; oldest_first++) {
        struct store_record_filter filter = {
            .kind = "file", .oldest_first = oldest_first, .limit = 2};
        assert_ok(store_record_list(f->store, &filter, &rows, &count, &err), err);
        assert_int_equal(count, 2);
        assert_int_equal(rows[0].created_ms + rows[1].created_ms, 5);
        free(rows[0].body);
        free(rows[1].body);
        free(rows);
    }
}

static void damaged_rows_are_not_believed(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job, *jobs;
    struct claim claim;
    struct job_image image;
    char broken[JOB_ID_SIZE], good[JOB_ID_SIZE], painted[JOB_ID_SIZE], sql[400];
    fixture_submit(f, "", 0, "p", 2, painted);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "x", &image);
    assert_ok(queue_fail(f->queue, &claim, &(struct err){.code = ERR_IO, .msg = "x"}, &err), err);
    fixture_submit(f, "", 0, "p", 1, broken);
    fixture_submit(f, "", 0, "p", 1, good);
    fixture_close(f);
    snprintf(sql, sizeof sql,
             "UPDATE jobs SET params = '{\"width\": \"wide\"}' WHERE id = '%s'; "
             "UPDATE images SET id = '../../../../etc/passwd'",
             broken);
    tamper(f, sql);
    fixture_open(f);
    assert_false(queue_get(f->queue, broken, NULL, &job, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    struct job_image found;
    size_t count;
    int64_t next;
    assert_false(queue_image(f->queue, "../../../../etc/passwd", NULL, &found, &err));
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_false(queue_get(f->queue, painted, NULL, &job, &err));
    struct job_filter queued = {.state = JOB_QUEUED, .limit = 10};
    assert_ok(queue_list(f->queue, &queued, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 1);
    assert_string_equal(jobs[0].id, good);
    job_free(&jobs[0]);
    free(jobs);
    queued.state = -1; /* nor is a job whose pictures cannot be read */
    assert_ok(queue_list(f->queue, &queued, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 1);
    job_free(&jobs[0]);
    free(jobs);
    /* The broken one is in nobody's way: it fails, and the next is claimed. */
    log_set_level(LOG_ERROR + 1);
    fixture_claim(f, &job, &claim);
    assert_string_equal(job.id, good);
    job_free(&job);
    struct store_lease lease;
    assert_ok(store_job_lease(f->store, broken, &lease, &err), err);
    assert_int_equal(lease.state, JOB_FAILED);
    assert_ok(queue_delete(f->queue, broken, NULL, false, &err), err);
}

static void damaged_rows_are_in_nobodys_way(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job;
    struct claim claim;
    struct store_lease lease;
    char running[JOB_ID_SIZE], nameless[3][JOB_ID_SIZE], good[JOB_ID_SIZE], sql[600];
    fixture_submit(f, "", 0, "p", 1, running);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    for (int i = 0; i < 3; i++)
        fixture_submit(f, "", 0, "p", 1, nameless[i]);
    fixture_submit(f, "", 0, "p", 1, good);
    fixture_close(f);
    snprintf(
        sql, sizeof sql,
        "UPDATE jobs SET key_id = '0123456789012345678901234567890123456789' WHERE id = '%s'; "
        "UPDATE jobs SET id = '../x' WHERE id = '%s'; UPDATE jobs SET id = '' WHERE id = '%s'; "
        "UPDATE jobs SET id = id || char(0) WHERE id = '%s'",
        running, nameless[0], nameless[1], nameless[2]);
    tamper(f, sql);
    log_set_level(LOG_ERROR + 1);
    fixture_open(f);
    fixture_claim(f, &job, &claim);
    assert_string_equal(job.id, good);
    job_free(&job);
    assert_false(store_job_lease(f->store, running, &lease, &err));
    assert_int_equal(lease.state, JOB_FAILED);
}

/* ---- random damage: anything but a crash ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) /* xorshift64, Marsaglia 2003 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void ignore_damage(void *ctx, const char *message)
{
}
static void ignore_index(void *ctx)
{
}

static void ignore_image(void *ctx, const char *job_id, const struct job_image *image)
{
}
static void ignore_input(void *ctx, const char *job_id, const char *name, size_t bytes)
{
}
static void ignore_file(void *ctx, const char *id, size_t bytes)
{
}

static void ignore_short(void *ctx, const char *job_id, int images, int count)
{
}

static bool any_key(void *ctx, const struct key *key, const unsigned char *hash)
{
    return true;
}

/* Calls everything; whether it works does not matter. */
static void use(struct fixture *f, char ids[][JOB_ID_SIZE], int count)
{
    struct err err;
    struct store *st = store_open(&(struct store_place){.data = f->data}, STORE_ALONE, &err);
    struct events *events = events_new(&err);
    struct blobs *blobs = blobs_new(f->data, NULL, &err);
    struct queue *q = st ? queue_new(st, blobs, events, f->settings, &err) : NULL;
    struct job job, *jobs;
    struct claim claim;
    size_t n;
    int64_t next;
    if (q) {
        struct job_filter filter = {.state = -1, .limit = 200};
        if (queue_list(q, &filter, &jobs, &n, &next, &err)) {
            for (size_t i = 0; i < n; i++)
                job_free(&jobs[i]);
            free(jobs);
        }
        for (int i = 0; i < count; i++) {
            if (queue_get(q, ids[i], NULL, &job, &err))
                job_free(&job);
            if (i % 3 == 0)
                queue_cancel(q, ids[i], NULL, &err);
            if (i % 3 == 1)
                queue_delete(q, ids[i], NULL, i % 2 == 0, &err);
        }
        for (int i = 0; i < 4; i++) {
            if (queue_claim(q, "t", NULL, 0, &job, &claim, &err)) {
                job_free(&job);
                queue_release(q, &claim, "x", &err);
            }
        }
        const struct store_check check = {NULL,         ignore_damage, ignore_index, ignore_image,
                                          ignore_input, ignore_file,   ignore_short};
        store_check(st, &check, &err);
        store_key_each(st, NULL, any_key, NULL, &err);
        struct job_params p;
        char id[JOB_ID_SIZE];
        fixture_params(&p, "m", "p", 1);
        queue_submit(q, "", 0, false, &p, NULL, 0, id, &err);
        job_params_free(&p);
    }
    queue_free(q);
    blobs_free(blobs);
    events_free(events);
    store_close(st);
}

static void read_whole(const char *path, char **bytes, size_t *size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    *bytes = malloc(*size);
    assert_int_equal(fread(*bytes, 1, *size, file), *size);
    fclose(file);
}

static void write_whole(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void any_damage_is_an_error_and_no_crash(void **state)
{
    struct fixture *f = *state;
    char ids[12][JOB_ID_SIZE], path[100], wal[100], *good, *bad;
    size_t size;
    for (int i = 0; i < 12; i++)
        fixture_submit(f, i % 2 ? "k" : "", i % 3, "a prompt of some length", 1, ids[i]);
    for (int i = 0; i < 3; i++) {
        struct job job;
        struct claim claim;
        struct job_image image;
        fixture_claim(f, &job, &claim);
        job_free(&job);
        fixture_store_image(f, &claim, 0, "x", &image);
    }
    fixture_close(f); /* the last connection folds the WAL into the file */
    log_set_level(LOG_ERROR + 1);
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    snprintf(wal, sizeof wal, "%s/pictor.db-wal", f->data);
    read_whole(path, &good, &size);
    bad = malloc(size);
    for (int round = 0; round < 60; round++) {
        size_t length = size;
        memcpy(bad, good, size);
        if (round % 4 == 0)
            length = next_random() % size;
        for (int i = 0; i < 1 + round % 20; i++)
            bad[next_random() % size] = (char)next_random();
        unlink(wal);
        write_whole(path, bad, length);
        use(f, ids, 12);
    }
    free(good);
    free(bad);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_private),
        TEST(one_server_a_folder),
        TEST(the_next_server_waits_for_the_lock),
        TEST(options_are_kept),
        TEST(a_rolled_back_change_did_not_happen),
        TEST(a_newer_schema_is_refused),
        TEST(another_programs_file_is_refused),
        TEST(a_missing_table_is_an_error),
        TEST(a_file_that_is_no_database_is_refused),
        TEST(a_damaged_record_hides_no_other),
        TEST(damaged_rows_are_not_believed),
        TEST(damaged_rows_are_in_nobodys_way),
        TEST(any_damage_is_an_error_and_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
