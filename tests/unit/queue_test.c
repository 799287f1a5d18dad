/* queue_test.c: the queue's invariants, one by one, and under many threads. */
#include "tests/unit/server_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "server/store/blobs.h"

static void claim_and_expect(struct fixture *f, const char *id)
{
    struct job job;
    struct claim claim;
    usleep(2000); /* what two keys used is equal when they used it in one millisecond */
    fixture_claim(f, &job, &claim);
    assert_string_equal(job.id, id);
    assert_int_equal(job.state, JOB_RUNNING);
    job_free(&job);
}

static void accepted_job_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job;
    char id[JOB_ID_SIZE];
    struct job_params p;
    fixture_params(&p, "m", "a red circle", 2);
    p.has_init = true;
    struct job_input input = {"init", "pixels", 6};
    assert_ok(queue_submit(f->queue, "k1", 3, false, &p, &input, 1, id, &err), err);
    job_params_free(&p);
    assert_int_equal(strlen(id), 32);
    fixture_close(f);
    fixture_open(f);
    assert_ok(queue_get(f->queue, id, "k1", &job, &err), err);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.priority, 3);
    assert_int_equal(job.position, 0);
    assert_int_equal(job.params.count, 2);
    assert_string_equal(job.params.prompt, "a red circle");
    assert_string_equal(job.key_id, "k1");
    assert_true(job.created_ms > 0 && job.started_ms == 0 && job.finished_ms == 0);
    job_free(&job);
    void *data;
    size_t size;
    assert_ok(queue_input(f->queue, id, "init", &data, &size, &err), err);
    assert_int_equal(size, 6);
    assert_memory_equal(data, "pixels", 6);
    free(data);
    assert_false(queue_input(f->queue, id, "mask", &data, &size, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void inputs_must_be_those_the_request_names(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job_params p;
    struct job_input inputs[] = {{"init", "a", 1}, {"../x", "b", 1}};
    fixture_params(&p, "m", "p", 1);
    p.has_init = true;
    assert_false(queue_submit(f->queue, "", 0, false, &p, NULL, 0, id, &err));
    assert_false(queue_submit(f->queue, "", 0, false, &p, inputs, 2, id, &err));
    assert_string_equal(id, "");
    job_params_free(&p);
}

static void another_keys_job_does_not_exist(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job;
    char id[JOB_ID_SIZE];
    fixture_submit(f, "k1", 0, "p", 1, id);
    assert_false(queue_get(f->queue, id, "k2", &job, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(queue_cancel(f->queue, id, "k2", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(queue_delete(f->queue, id, "k2", true, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(fixture_state(f, id), JOB_QUEUED);
    assert_false(queue_get(f->queue, "no such id", NULL, &job, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void priority_then_keys_in_turn_then_age(void **state)
{
    struct fixture *f = *state;
    char a[3][JOB_ID_SIZE], b[2][JOB_ID_SIZE], high[JOB_ID_SIZE], c[JOB_ID_SIZE];
    for (int i = 0; i < 3; i++)
        fixture_submit(f, "a", 0, "p", 1, a[i]);
    for (int i = 0; i < 2; i++)
        fixture_submit(f, "b", 0, "p", 1, b[i]);
    fixture_submit(f, "b", 1, "p", 1, high);
    claim_and_expect(f, high);
    claim_and_expect(f, a[0]); /* b was served last */
    claim_and_expect(f, b[0]);
    fixture_submit(f, "c", 0, "p", 1, c); /* new, so nobody waited longer for a turn */
    claim_and_expect(f, c);
    claim_and_expect(f, a[1]);
    claim_and_expect(f, b[1]);
    claim_and_expect(f, a[2]);
}

static void positions_are_the_order_of_claims(void **state)
{
    struct fixture *f = *state;
    struct err err;
    static const char *const keys[] = {"a", "a", "a", "b", "c", "b"};
    static const int priorities[] = {0, 0, 0, 0, 1, 0};
    char ids[6][JOB_ID_SIZE];
    int positions[6];
    for (int i = 0; i < 6; i++)
        fixture_submit(f, keys[i], priorities[i], "p", 1, ids[i]);
    for (int i = 0; i < 6; i++) {
        struct job job;
        assert_ok(queue_get(f->queue, ids[i], NULL, &job, &err), err);
        positions[i] = job.position;
        job_free(&job);
    }
    for (int turn = 0; turn < 6; turn++) {
        struct job job;
        struct claim claim;
        fixture_claim(f, &job, &claim);
        for (int i = 0; i < 6; i++)
            if (strcmp(ids[i], job.id) == 0)
                assert_int_equal(positions[i], turn);
        assert_int_equal(job.position, -1);
        job_free(&job);
    }
}

static void claims_only_of_the_models_named(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job job;
    struct claim claim;
    char x[JOB_ID_SIZE], y[JOB_ID_SIZE];
    struct job_params p;
    fixture_params(&p, "model \"x\"", "p", 1);
    assert_ok(queue_submit(f->queue, "", 0, false, &p, NULL, 0, x, &err), err);
    job_params_free(&p);
    fixture_params(&p, "y", "p", 1);
    assert_ok(queue_submit(f->queue, "", 0, false, &p, NULL, 0, y, &err), err);
    job_params_free(&p);
    const char *none[] = {"z"}, *only_y[] = {"z", "y"}, *only_x[] = {"model \"x\""};
    assert_false(queue_claim(f->queue, "t", none, 1, &job, &claim, &err));
    assert_int_equal(err.code, ERR_NONE);
    assert_ok(queue_claim(f->queue, "t", only_y, 2, &job, &claim, &err), err);
    assert_string_equal(job.id, y);
    job_free(&job);
    assert_ok(queue_claim(f->queue, "t", only_x, 1, &job, &claim, &err), err);
    assert_string_equal(job.id, x);
    job_free(&job);
}

static void full_queues_refuse(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job_params p;
    f->settings->max_queue = 3;
    f->settings->max_queue_per_key = 1;
    fixture_params(&p, "m", "p", 1);
    assert_ok(queue_submit(f->queue, "a", 0, false, &p, NULL, 0, id, &err), err);
    assert_false(queue_submit(f->queue, "a", 0, false, &p, NULL, 0, id, &err));
    assert_int_equal(err.code, ERR_BUSY);
    assert_ok(queue_submit(f->queue, "", 0, false, &p, NULL, 0, id, &err), err);
    assert_ok(queue_submit(f->queue, "", 0, false, &p, NULL, 0, id, &err), err);
    assert_false(queue_submit(f->queue, "b", 0, false, &p, NULL, 0, id, &err));
    assert_int_equal(err.code, ERR_BUSY);
    int queued, running;
    assert_ok(queue_depth(f->queue, NULL, &queued, &running, &err), err);
    assert_int_equal(queued, 3);
    assert_int_equal(running, 0);
    assert_ok(queue_depth(f->queue, "a", &queued, &running, &err), err);
    assert_int_equal(queued, 1);
    job_params_free(&p);
}

static void a_job_is_done_only_with_all_its_pictures(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    struct job_image image, second;
    fixture_submit(f, "k", 0, "p", 2, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "first", &image);
    assert_false(queue_finish(f->queue, &claim, &err));
    assert_int_equal(fixture_state(f, id), JOB_RUNNING);
    fixture_store_image(f, &claim, 1, "second", &second);
    assert_ok(queue_finish(f->queue, &claim, &err), err);
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    assert_int_equal(job.state, JOB_DONE);
    assert_int_equal(job.image_count, 2);
    assert_string_equal(job.images[1].id, second.id);
    assert_int_equal(job.images[1].bytes, 6);
    assert_int_equal(job.images[1].seed, 7);
    assert_string_equal(job.images[1].infotext, "prompt");
    assert_true(job.finished_ms >= job.started_ms && job.started_ms >= job.created_ms);
    job_free(&job);
    assert_false(queue_finish(f->queue, &claim, &err)); /* final stays final */
    assert_false(queue_cancel(f->queue, id, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);

    struct job_image found;
    assert_ok(queue_image(f->queue, image.id, "k", &found, &err), err);
    assert_int_equal(found.bytes, 5);
    assert_file_begins(f, &found, "first", 5);
    free(found.infotext);
    assert_false(queue_image(f->queue, image.id, "another", &found, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(queue_image(f->queue, "../../pictor.db", NULL, &found, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void storing_an_index_again_replaces_it(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], path[BLOBS_PATH_SIZE];
    struct job job;
    struct claim claim;
    struct job_image first, again;
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "one", &first);
    fixture_store_image(f, &claim, 0, "other", &again);
    assert_string_not_equal(first.id, again.id);
    assert_true(blobs_image_path(path, f->data, first.id, IMAGE_PNG, &err));
    assert_int_equal(access(path, F_OK), -1);
    assert_true(blobs_image_path(path, f->data, again.id, IMAGE_PNG, &err));
    assert_int_equal(access(path, F_OK), 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    struct job_image bad = {.index = 1, .format = IMAGE_PNG};
    assert_false(queue_store_image(f->queue, &claim, &bad, "x", 1, &err));
    bad = (struct job_image){.index = 0, .format = IMAGE_NONE};
    assert_false(queue_store_image(f->queue, &claim, &bad, "x", 1, &err));
    assert_ok(queue_finish(f->queue, &claim, &err), err);
}

static void cancelling(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char waiting[JOB_ID_SIZE], running[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    bool interrupted;
    fixture_submit(f, "", 0, "p", 1, running);
    fixture_submit(f, "", 0, "p", 1, waiting);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_cancel(f->queue, waiting, NULL, &err), err);
    assert_int_equal(fixture_state(f, waiting), JOB_CANCELLED);
    assert_false(queue_claim(f->queue, "t", NULL, 0, &job, &claim, &err) &&
                 "a cancelled job was claimed");
    fixture_submit(f, "", 0, "p", 1, waiting);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_heartbeat(f->queue, &claim, &interrupted, &err), err);
    assert_ok(queue_cancel(f->queue, waiting, NULL, &err), err);
    assert_int_equal(fixture_state(f, waiting), JOB_CANCELLED);
    assert_false(queue_heartbeat(f->queue, &claim, &interrupted, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    struct job_image image = {.format = IMAGE_PNG, .width = 1, .height = 1};
    assert_false(queue_store_image(f->queue, &claim, &image, "x", 1, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_false(queue_finish(f->queue, &claim, &err));
    assert_false(queue_release(f->queue, &claim, "died", &err));
    assert_int_equal(fixture_state(f, waiting), JOB_CANCELLED);
}

static void interrupting(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], waiting[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    struct job_image image;
    bool interrupted;
    fixture_submit(f, "", 0, "p", 4, id);
    fixture_submit(f, "", 0, "p", 4, waiting);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_heartbeat(f->queue, &claim, &interrupted, &err), err);
    assert_false(interrupted);
    assert_ok(queue_interrupt(f->queue, id, NULL, &err), err);
    assert_ok(queue_interrupt(f->queue, waiting, NULL, &err), err);
    assert_int_equal(fixture_state(f, waiting), JOB_CANCELLED);
    assert_ok(queue_heartbeat(f->queue, &claim, &interrupted, &err), err);
    assert_true(interrupted);
    fixture_store_image(f, &claim, 0, "unfinished", &image);
    assert_ok(queue_finish(f->queue, &claim, &err), err); /* with one of four */
    assert_int_equal(fixture_state(f, id), JOB_DONE);
    fixture_submit(f, "", 0, "p", 4, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_interrupt(f->queue, id, NULL, &err), err);
    assert_ok(queue_finish(f->queue, &claim, &err), err); /* with none */
    assert_int_equal(fixture_state(f, id), JOB_CANCELLED);
}

static void released_jobs_are_tried_again_but_not_for_ever(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim, old;
    f->settings->max_attempts = 2;
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_claim(f, &job, &old);
    assert_int_equal(job.attempts, 1);
    job_free(&job);
    assert_ok(queue_release(f->queue, &old, "the worker died", &err), err);
    assert_int_equal(fixture_state(f, id), JOB_QUEUED);
    fixture_claim(f, &job, &claim);
    assert_int_equal(job.attempts, 2);
    job_free(&job);
    assert_true(claim.token > old.token);
    bool interrupted;
    struct job_image image = {.format = IMAGE_PNG, .width = 1, .height = 1};
    assert_false(queue_heartbeat(f->queue, &old, &interrupted, &err)); /* fenced off */
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(queue_store_image(f->queue, &old, &image, "x", 1, &err));
    assert_false(queue_finish(f->queue, &old, &err));
    assert_false(queue_fail(f->queue, &old, &err, &err));
    assert_false(queue_release(f->queue, &old, "again", &err));
    assert_int_equal(fixture_state(f, id), JOB_RUNNING);
    assert_ok(queue_release(f->queue, &claim, "the worker died", &err), err);
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    assert_int_equal(job.state, JOB_FAILED);
    assert_string_equal(job.error_message, "gave up after 2 attempts: the worker died");
    job_free(&job);
}

static void jobs_put_back_lose_no_attempt(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim, old = {0};
    f->settings->max_attempts = 1;
    fixture_submit(f, "", 0, "p", 1, id);
    for (int i = 0; i < 3; i++) {
        fixture_claim(f, &job, &claim);
        assert_int_equal(job.attempts, 1);
        job_free(&job);
        assert_true(claim.token > old.token);
        assert_ok(queue_put_back(f->queue, &claim, "the server stops", &err), err);
        assert_int_equal(fixture_state(f, id), JOB_QUEUED);
        assert_false(queue_put_back(f->queue, &claim, "twice", &err));
        old = claim;
    }
}

static void failing_keeps_the_reason(void **state)
{
    struct fixture *f = *state;
    struct err err, reason;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    err_set(&reason, ERR_UPSTREAM, "it said \"no\"");
    assert_ok(queue_fail(f->queue, &claim, &reason, &err), err);
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.error, ERR_UPSTREAM);
    assert_string_equal(job.error_message, "it said \"no\"");
    job_free(&job);
}

static void count_trouble(void *ctx, const struct event *event)
{
    int *count = ctx;
    *count += event->kind == EVENT_TROUBLE;
}

/* A runner that gives a job back for trouble would get it again at once if the queue did not know
 * of any. */
static void what_is_given_back_for_trouble_waits_until_it_is_over(void **state)
{
    struct fixture *f = *state;
    static const enum err_code passing[] = {ERR_UNAVAILABLE, ERR_NO_ROOM};
    struct err err, reason;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim;
    int count = 0;
    struct subscription *s = events_subscribe(f->events, NULL, count_trouble, &count, &err);
    fixture_submit(f, "", 0, "p", 1, id);
    for (int i = 0; i < 2; i++) {
        while (!queue_claim(f->queue, "t", NULL, 0, &job, &claim, &err))
            usleep(1000);
        assert_int_equal(job.attempts, 1);
        job_free(&job);
        err_set(&reason, passing[i], "a folder is gone");
        assert_ok(queue_fail(f->queue, &claim, &reason, &err), err);
        assert_int_equal(fixture_state(f, id), JOB_QUEUED);
        while (!queue_well(f->queue, NULL))
            usleep(1000);
        events_unsubscribe(s);
        assert_int_equal(count, 2); /* its beginning and its end */
        count = 0;
        s = events_subscribe(f->events, NULL, count_trouble, &count, &err);
    }
    events_unsubscribe(s);
}

static void a_silent_worker_loses_its_job(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE];
    struct job job;
    struct claim claim, next;
    bool interrupted;
    fixture_close(f);
    f->settings->lease_seconds = 1;
    fixture_open(f);
    fixture_submit(f, "", 0, "p", 1, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    usleep(600 * 1000);
    assert_ok(queue_heartbeat(f->queue, &claim, &interrupted, &err), err);
    usleep(700 * 1000);
    assert_int_equal(fixture_state(f, id), JOB_RUNNING); /* the heartbeat has prolonged it */
    bool claimed = false;
    for (int i = 0; i < 500 && !claimed; i++) {
        usleep(10 * 1000);
        claimed = queue_claim(f->queue, "t", NULL, 0, &job, &next, &err);
    }
    assert_true(claimed);
    assert_string_equal(job.id, id);
    assert_int_equal(job.attempts, 2);
    job_free(&job);
    assert_false(queue_heartbeat(f->queue, &claim, &interrupted, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void a_restart_gives_running_jobs_back(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], stopped[JOB_ID_SIZE];
    struct job job;
    struct claim claim, old;
    f->settings->max_attempts = 2;
    fixture_submit(f, "", 1, "p", 1, id);
    fixture_submit(f, "", 0, "p", 1, stopped);
    fixture_claim(f, &job, &old);
    job_free(&job);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_interrupt(f->queue, stopped, NULL, &err), err);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_state(f, id), JOB_QUEUED);
    assert_int_equal(fixture_state(f, stopped), JOB_CANCELLED);
    fixture_claim(f, &job, &claim);
    assert_string_equal(job.id, id);
    assert_int_equal(job.attempts, 1);
    job_free(&job);
    assert_false(queue_finish(f->queue, &old, &err));

    /* Nothing says that the job was to blame, however often it happens; a worker's death does. */
    for (int i = 0; i < 5; i++) {
        fixture_close(f);
        fixture_open(f);
        assert_int_equal(fixture_state(f, id), JOB_QUEUED);
        fixture_claim(f, &job, &claim);
        assert_int_equal(job.attempts, 1);
        job_free(&job);
    }
    assert_ok(queue_release(f->queue, &claim, "the worker died", &err), err);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_close(f);
    fixture_open(f);
    fixture_claim(f, &job, &claim);
    assert_int_equal(job.attempts, 2);
    job_free(&job);
    assert_ok(queue_release(f->queue, &claim, "the worker died", &err), err);
    assert_int_equal(fixture_state(f, id), JOB_FAILED);
}

static void deleting(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char id[JOB_ID_SIZE], picture[BLOBS_PATH_SIZE], input[BLOBS_PATH_SIZE];
    struct job job;
    struct claim claim;
    struct job_image image;
    struct job_params p;
    struct job_input init = {"init", "pixels", 6};
    fixture_params(&p, "m", "p", 1);
    p.has_init = true;
    assert_ok(queue_submit(f->queue, "", 0, false, &p, &init, 1, id, &err), err);
    job_params_free(&p);
    assert_false(queue_delete(f->queue, id, NULL, true, &err));
    assert_int_equal(err.code, ERR_INVALID);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "picture", &image);
    assert_false(queue_delete(f->queue, id, NULL, true, &err));
    assert_ok(queue_finish(f->queue, &claim, &err), err);
    assert_true(blobs_image_path(picture, f->data, image.id, IMAGE_PNG, &err));
    assert_true(blobs_input_path(input, f->data, id, "init", &err));
    assert_int_equal(access(picture, F_OK) | access(input, F_OK), 0);
    /* What is deleted is there no more, but for who takes it back. */
    struct job_image found;
    assert_ok(queue_delete(f->queue, id, NULL, false, &err), err);
    assert_false(queue_get(f->queue, id, NULL, &job, &err));
    assert_false(queue_image(f->queue, image.id, NULL, &found, &err));
    assert_false(queue_delete(f->queue, id, NULL, false, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(access(picture, F_OK) | access(input, F_OK), 0);
    assert_false(queue_restore(f->queue, id, "k2", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_ok(queue_restore(f->queue, id, NULL, &err), err);
    assert_false(queue_restore(f->queue, id, NULL, &err));
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    assert_int_equal(job.image_count, 1);
    job_free(&job);
    assert_ok(queue_delete_image(f->queue, id, image.id, NULL, false, &err), err);
    assert_ok(queue_delete(f->queue, id, NULL, false, &err), err);
    assert_false(queue_restore_image(f->queue, NULL, image.id, NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_ok(queue_restore(f->queue, id, NULL, &err), err);
    assert_ok(queue_restore_image(f->queue, NULL, image.id, NULL, &err), err);
    assert_ok(queue_delete(f->queue, id, NULL, false, &err), err);
    assert_ok(queue_delete(f->queue, id, NULL, true, &err), err);
    assert_false(queue_restore(f->queue, id, NULL, &err));
    assert_int_equal(access(picture, F_OK), -1);
    assert_int_equal(access(input, F_OK), -1);
    assert_false(queue_get(f->queue, id, NULL, &job, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(queue_image(f->queue, image.id, NULL, &found, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void listing(void **state)
{
    struct fixture *f = *state;
    struct err err;
    char ids[5][JOB_ID_SIZE];
    struct job *jobs;
    size_t count;
    int64_t next;
    for (int i = 0; i < 5; i++) {
        char prompt[32];
        snprintf(prompt, sizeof prompt, "Cat number %d%%", i);
        fixture_submit(f, i % 2 ? "odd" : "even", 0, prompt, 1, ids[i]);
    }
    struct job_filter filter = {.state = -1, .limit = 2};
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 2);
    assert_string_equal(jobs[0].id, ids[4]);
    assert_string_equal(jobs[1].id, ids[3]);
    assert_int_equal(jobs[0].position, 4);
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
    filter.before_sequence = next;
    filter.limit = 3;
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 3);
    assert_string_equal(jobs[2].id, ids[0]);
    assert_int_equal(next, 0);
    for (size_t i = 0; i < count; i++)
        job_free(&jobs[i]);
    free(jobs);
    filter = (struct job_filter){
        .state = JOB_QUEUED, .limit = 9, .key_id = "odd", .text = "cat NUMBER 3%"};
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 1);
    assert_string_equal(jobs[0].id, ids[3]);
    job_free(&jobs[0]);
    free(jobs);
    filter.state = JOB_DONE;
    assert_ok(queue_list(f->queue, &filter, &jobs, &count, &next, &err), err);
    assert_int_equal(count, 0);
    free(jobs);
}

/* ---- events and threads ---- */

struct heard {
    char text[200];
};

static void write_down(void *ctx, const struct event *event)
{
    struct heard *h = ctx;
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof h->text - n, "%s ",
             event->kind == EVENT_IMAGE     ? "image"
             : event->kind == EVENT_DELETED ? "deleted"
                                            : job_state_name(event->state));
}

static void changes_are_published(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct heard heard = {""};
    struct job job;
    struct claim claim;
    struct job_image image;
    char id[JOB_ID_SIZE];
    struct subscription *s = events_subscribe(f->events, NULL, write_down, &heard, &err);
    fixture_submit(f, "k", 0, "p", 2, id);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    assert_ok(queue_release(f->queue, &claim, "died", &err), err);
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "x", &image);
    assert_ok(queue_interrupt(f->queue, id, NULL, &err), err);
    assert_ok(queue_finish(f->queue, &claim, &err), err);
    assert_false(queue_finish(f->queue, &claim, &err));
    assert_ok(queue_delete(f->queue, id, NULL, true, &err), err);
    events_unsubscribe(s);
    assert_string_equal(heard.text, "queued running queued running image running done deleted ");
}

#define RUNNERS 4
#define SUBMITTERS 2
#define JOBS 15 /* of each submitter */

struct crowd {
    struct fixture *f;
    char ids[SUBMITTERS * JOBS][JOB_ID_SIZE];
    atomic_int submitted, done, runs;
};

static void *run_jobs(void *arg)
{
    struct crowd *c = arg;
    struct err err;
    while (atomic_load(&c->done) < SUBMITTERS * JOBS) {
        struct job job;
        struct claim claim;
        struct job_image image = {.width = 1, .height = 1, .format = IMAGE_WEBP, .infotext = ""};
        if (!queue_claim(c->f->queue, "t", NULL, 0, &job, &claim, &err)) {
            assert_int_equal(err.code, ERR_NONE);
            usleep(1000);
            continue;
        }
        int run = atomic_fetch_add(&c->runs, 1);
        if (run % 5 == 0) { /* this runner dies */
            assert_ok(queue_release(c->f->queue, &claim, "died", &err), err);
        } else {
            assert_ok(queue_store_image(c->f->queue, &claim, &image, job.id, 32, &err), err);
            assert_ok(queue_finish(c->f->queue, &claim, &err), err);
            atomic_fetch_add(&c->done, 1);
        }
        job_free(&job);
    }
    return NULL;
}

static void *submit_jobs(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < JOBS; i++) {
        int n = atomic_fetch_add(&c->submitted, 1);
        fixture_submit(c->f, n % 2 ? "a" : "b", 0, "p", 1, c->ids[n]);
    }
    return NULL;
}

static void count_event(void *ctx, const struct event *event)
{
    if (event->kind == EVENT_STATE && event->state == JOB_DONE)
        atomic_fetch_add((atomic_int *)ctx, 1);
}

static void many_threads_do_each_job_once(void **state)
{
    struct crowd c = {.f = *state};
    struct err err;
    atomic_int done_events = 0;
    pthread_t threads[RUNNERS + SUBMITTERS];
    c.f->settings->max_attempts = 100;
    struct subscription *s = events_subscribe(c.f->events, NULL, count_event, &done_events, &err);
    assert_non_null(s);
    for (int i = 0; i < RUNNERS + SUBMITTERS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < RUNNERS ? run_jobs : submit_jobs, &c), 0);
    for (int i = 0; i < RUNNERS + SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    events_unsubscribe(s);
    assert_int_equal(atomic_load(&c.done), SUBMITTERS * JOBS);
    assert_int_equal(atomic_load(&done_events), SUBMITTERS * JOBS);
    for (int i = 0; i < SUBMITTERS * JOBS; i++) {
        struct job job;
        assert_ok(queue_get(c.f->queue, c.ids[i], NULL, &job, &err), err);
        assert_int_equal(job.state, JOB_DONE);
        assert_int_equal(job.image_count, 1);
        assert_file_begins(c.f, &job.images[0], c.ids[i], 32); /* its own picture */
        job_free(&job);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(accepted_job_is_there_after_a_restart),
        TEST(inputs_must_be_those_the_request_names),
        TEST(another_keys_job_does_not_exist),
        TEST(priority_then_keys_in_turn_then_age),
        TEST(positions_are_the_order_of_claims),
        TEST(claims_only_of_the_models_named),
        TEST(full_queues_refuse),
        TEST(a_job_is_done_only_with_all_its_pictures),
        TEST(storing_an_index_again_replaces_it),
        TEST(cancelling),
        TEST(interrupting),
        TEST(released_jobs_are_tried_again_but_not_for_ever),
        TEST(jobs_put_back_lose_no_attempt),
        TEST(failing_keeps_the_reason),
        TEST(what_is_given_back_for_trouble_waits_until_it_is_over),
        TEST(a_silent_worker_loses_its_job),
        TEST(a_restart_gives_running_jobs_back),
        TEST(deleting),
        TEST(listing),
        TEST(changes_are_published),
        TEST(many_threads_do_each_job_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
