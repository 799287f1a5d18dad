/* fsck_test.c: every kind of disagreement between rows and files is found, and repaired only when
 * told to. */
#include "tests/unit/server_fixture.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "server/cli/cli.h"
#include "server/store/blobs.h"
#include "server/store/fsck.h"

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Runs it; `text` gets what it printed. */
static struct fsck_result check(struct fixture *f, bool repair, int ignore_seconds, char *text,
                                size_t size)
{
    struct err err;
    struct fsck_result result;
    struct fsck_options options = {repair, ignore_seconds, false};
    memset(text, 0, size);
    FILE *out = fmemopen(text, size - 1, "w");
    assert_ok(fsck_run(f->store, f->blobs, &options, out, &result, &err), err);
    fclose(out);
    return result;
}

/* A done job with one picture and an input. */
static void paint(struct fixture *f, char id[JOB_ID_SIZE], struct job_image *image)
{
    struct err err;
    struct job job;
    struct claim claim;
    struct job_params p;
    struct job_input init = {"init", "pixels", 6};
    fixture_params(&p, "m", "p", 1);
    p.has_init = true;
    assert_ok(queue_submit(f->queue, "", 0, false, &p, &init, 1, id, &err), err);
    job_params_free(&p);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "picture", image);
    assert_ok(queue_finish(f->queue, &claim, &err), err);
}

static void a_healthy_store_is_clean(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE], text[2000];
    struct job_image image;
    paint(f, id, &image);
    struct fsck_result r = check(f, false, 0, text, sizeof text);
    assert_int_equal(r.images, 1);
    assert_int_equal(r.inputs, 1);
    assert_int_equal(r.findings, 0);
    assert_string_equal(text, "");
}

static void files_without_rows(void **state)
{
    struct fixture *f = *state;
    char id[JOB_ID_SIZE], text[2000], orphan[200], unfinished[200], lost[200];
    struct job_image image;
    paint(f, id, &image);
    snprintf(orphan, sizeof orphan, "%s/inputs/notes.txt", f->data);
    snprintf(unfinished, sizeof unfinished, "%s/images/%.2s/x.png.tmp", f->data, image.id);
    snprintf(lost, sizeof lost, "%s/lost/notes.txt", f->data);
    write_file(orphan, "mine");
    write_file(unfinished, "half");
    assert_int_equal(check(f, false, 60, text, sizeof text).findings, 0); /* too young */
    struct fsck_result r = check(f, false, 0, text, sizeof text);
    assert_int_equal(r.findings, 2);
    assert_int_equal(r.repaired, 0);
    assert_non_null(strstr(text, "orphan     "));
    assert_non_null(strstr(text, "temporary  "));
    assert_int_equal(access(orphan, F_OK) | access(unfinished, F_OK), 0);
    r = check(f, true, 0, text, sizeof text);
    assert_int_equal(r.repaired, 2);
    assert_int_equal(access(orphan, F_OK), -1);
    assert_int_equal(access(unfinished, F_OK), -1);
    assert_int_equal(access(lost, F_OK), 0); /* nobody's picture is thrown away */
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
    write_file(orphan, "another of that name");
    assert_int_equal(check(f, true, 0, text, sizeof text).repaired, 1);
    snprintf(lost, sizeof lost, "%s/lost/notes.txt.1", f->data);
    assert_int_equal(access(lost, F_OK), 0);
}

/* What clients keep, and thumbnails, which have no rows. */
static void files_of_clients_and_thumbnails(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], text[2000], kept[BLOBS_PATH_SIZE], stray[BLOBS_PATH_SIZE];
    char thumb[BLOBS_PATH_SIZE], left[BLOBS_PATH_SIZE];
    struct job_image image;
    struct store_record r = {.kind = "file", .created_ms = 1, .bytes = 4, .body = "{}"};
    paint(f, id, &image);
    snprintf(r.id, sizeof r.id, "%032d", 1);
    assert_ok(store_record_put(f->store, &r, &err), err);
    assert_ok(blobs_file_path(kept, f->data, r.id, &err), err);
    assert_ok(blobs_write_here(kept, "mine", 4, &err), err);
    assert_ok(blobs_thumb_path(thumb, f->data, image.id, &err), err);
    assert_ok(blobs_write_here(thumb, "small", 5, &err), err);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
    assert_ok(blobs_file_path(stray, f->data, "ffffffffffffffffffffffffffffffff", &err), err);
    assert_ok(blobs_write_here(stray, "whose", 5, &err), err);
    assert_ok(blobs_thumb_path(left, f->data, "ffffffffffffffffffffffffffffffff", &err), err);
    assert_ok(blobs_write_here(left, "small", 5, &err), err);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 2);
    assert_non_null(strstr(text, "orphan     "));
    assert_non_null(strstr(text, "thumb      "));
    assert_int_equal(check(f, true, 0, text, sizeof text).repaired, 2);
    assert_int_equal(access(stray, F_OK) & access(left, F_OK), -1);
    assert_int_equal(access(kept, F_OK) | access(thumb, F_OK), 0);
    assert_int_equal(unlink(kept), 0);
    assert_int_equal(check(f, true, 0, text, sizeof text).repaired, 1);
    assert_non_null(strstr(text, "missing    "));
    assert_false(store_record_get(f->store, "file", r.id, NULL, &r, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
}

static void rows_without_files(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job;
    char id[JOB_ID_SIZE], text[2000], path[BLOBS_PATH_SIZE];
    struct job_image image;
    paint(f, id, &image);
    assert_ok(blobs_image_path(path, f->data, image.id, IMAGE_PNG, &err), err);
    assert_int_equal(unlink(path), 0);
    assert_ok(blobs_input_path(path, f->data, id, "init", &err), err);
    assert_int_equal(unlink(path), 0);
    struct fsck_result r = check(f, false, 0, text, sizeof text);
    assert_int_equal(r.findings, 2);
    assert_non_null(strstr(text, image.id));
    assert_int_equal(fixture_state(f, id), JOB_DONE);
    r = check(f, true, 0, text, sizeof text);
    assert_int_equal(r.findings, 3); /* without its picture the job is not done */
    assert_int_equal(r.repaired, 3);
    assert_non_null(strstr(text, "done with 0 of 1"));
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.image_count, 0);
    job_free(&job);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
}

static void a_folder_of_others_is_not_believed(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct fsck_result r;
    struct fsck_options options = {.repair = true};
    char id[JOB_ID_SIZE], text[20000], from[200], to[200];
    struct job_image image;
    for (int i = 0; i < 20; i++)
        paint(f, id, &image);
    snprintf(from, sizeof from, "%s/images", f->data);
    snprintf(to, sizeof to, "%s/elsewhere", f->data);
    assert_int_equal(rename(from, to), 0);
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_false(fsck_run(f->store, f->blobs, &options, out, &r, &err));
    assert_int_equal(r.repaired, 0);
    assert_int_equal(fixture_state(f, id), JOB_DONE);
    assert_int_equal(rename(to, from), 0);
    assert_ok(fsck_run(f->store, f->blobs, &options, out, &r, &err), err);
    assert_int_equal(r.findings, 0);
    assert_int_equal(rename(from, to), 0);
    options.all_lost = true;
    assert_ok(fsck_run(f->store, f->blobs, &options, out, &r, &err), err);
    fclose(out);
    assert_int_equal(r.repaired, r.findings);
    assert_int_equal(fixture_state(f, id), JOB_FAILED);
}

static void a_file_of_another_size(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], text[2000], path[BLOBS_PATH_SIZE];
    struct job_image image;
    paint(f, id, &image);
    assert_ok(blobs_image_path(path, f->data, image.id, IMAGE_PNG, &err), err);
    write_file(path, "short");
    assert_int_equal(queue_image_open(f->queue, &image, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    struct fsck_result r = check(f, false, 0, text, sizeof text);
    assert_int_equal(r.findings, 1);
    assert_non_null(strstr(text, "has 5 bytes, its row says 7"));
    check(f, true, 0, text, sizeof text);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
}

static void what_is_not_a_file_is_only_reported(void **state)
{
    struct fixture *f = *state;
    char text[2000], path[200];
    snprintf(path, sizeof path, "%s/images/link.png", f->data);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    struct fsck_result r = check(f, true, 0, text, sizeof text);
    assert_int_equal(r.findings, 1);
    assert_int_equal(r.repaired, 0);
    assert_non_null(strstr(text, "strange"));
}

static void execute(struct fixture *f, const char *sql)
{
    char path[200];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/pictor.db", f->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void an_index_that_does_not_fit_is_made_anew(void **state)
{
    struct fixture *f = *state;
    char text[2000], id[JOB_ID_SIZE];
    fixture_submit(f, "", 0, "a green frog", 1, id);
    execute(f, "UPDATE jobs SET prompt = 'a red frog'");
    struct fsck_result r = check(f, false, 0, text, sizeof text);
    assert_int_equal(r.findings, 1);
    assert_non_null(strstr(text, "index"));
    assert_int_equal(check(f, true, 0, text, sizeof text).repaired, 1);
    assert_int_equal(check(f, false, 0, text, sizeof text).findings, 0);
}

static void a_damaged_key_is_reported(void **state)
{
    struct fixture *f = *state;
    char text[2000];
    execute(f, "INSERT INTO keys (id, name, scopes, prefix, hash, created_ms) "
               "VALUES ('k', 'k', 1, 0, x'00', 0)");
    assert_int_equal(check(f, true, 0, text, sizeof text).findings, 1);
    assert_non_null(strstr(text, "key \"k\" is damaged"));
}

/* ---- the command ---- */

static int run(struct fixture *f, const char *flag)
{
    char *argv[] = {"fsck", "--data", f->data, (char *)flag, NULL};
    fflush(stdout);
    int keep_out = dup(1), keep_err = dup(2), null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    int status = fsck_main(flag ? 4 : 3, argv);
    fflush(stdout);
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    close(keep_out);
    close(keep_err);
    close(null);
    return status;
}

static void exit_status(void **state)
{
    struct fixture *f = *state;
    char orphan[200];
    assert_int_equal(run(f, NULL), 0);       /* beside a server */
    assert_int_equal(run(f, "--repair"), 1); /* but not with repair */
    fixture_close(f);
    assert_int_equal(run(f, "--repair"), 0);
    snprintf(orphan, sizeof orphan, "%s/inputs/x", f->data);
    write_file(orphan, "x");
    assert_int_equal(run(f, NULL), 1);
    assert_int_equal(run(f, "--repair"), 1);
    assert_int_equal(run(f, NULL), 0);
    assert_int_equal(run(f, "--frob"), 1);
    assert_int_equal(run(f, "word"), 2);
    assert_int_equal(run(f, "--help"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_healthy_store_is_clean),
        TEST(files_without_rows),
        TEST(files_of_clients_and_thumbnails),
        TEST(rows_without_files),
        TEST(a_folder_of_others_is_not_believed),
        TEST(a_file_of_another_size),
        TEST(what_is_not_a_file_is_only_reported),
        TEST(an_index_that_does_not_fit_is_made_anew),
        TEST(a_damaged_key_is_reported),
        TEST(exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
