/* painter_test.c: the painter against a worker that does what the prompt says: hangs, dies, lies.
 * The worker is this program again, started as the painter starts a real one. */
#include "server/paint/painter.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/job/registry.h"
#include "server/paint/dispatch.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/store/blobs.h"
#include "server/store/store.h"
#include "server/worker/codec.h"
#include "server/worker/wire.h"
#include "server/worker/worker.h"

/* ---- the worker ---- */

static const struct wire_limits limits = {1 << 20, 1 << 20};

static void say(cJSON *json, const void *binary, size_t size)
{
    struct err err;
    if (!wire_write(WORKER_FD, json, binary, size, -1, &err))
        _exit(0);
    cJSON_Delete(json);
}

static cJSON *message(const char *type, int64_t serial)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", type);
    cJSON_AddNumberToObject(json, "serial", (double)serial);
    return json;
}

static void progress(int64_t serial, int step)
{
    cJSON *json = message("progress", serial);
    cJSON_AddNumberToObject(json, "step", step);
    cJSON_AddNumberToObject(json, "steps", 4);
    cJSON_AddNumberToObject(json, "step_seconds", 0.001);
    say(json, NULL, 0);
}

static void image(int64_t serial, int width, int height, size_t bytes)
{
    static unsigned char pixels[64 * 64 * 3];
    cJSON *json = message("image", serial);
    cJSON_AddNumberToObject(json, "width", width);
    cJSON_AddNumberToObject(json, "height", height);
    say(json, pixels, bytes);
}

static void raw(const void *bytes, size_t size)
{
    ssize_t ignored = write(WORKER_FD, bytes, size);
    (void)ignored;
}

static void obey(const char *what, int64_t serial)
{
    static const uint32_t huge[2] = {UINT32_MAX, UINT32_MAX}, lie[2] = {2, 1 << 30},
                          text[2] = {5, 0}, half[2] = {100, 0};
    progress(serial, 0);
    if (strcmp(what, "hang") == 0) {
        pause();
    } else if (strcmp(what, "hang later") == 0) {
        progress(serial, 1);
        pause();
    } else if (strcmp(what, "half a message") == 0) {
        raw(half, 8);
        raw("{", 1);
        pause();
    } else if (strcmp(what, "die") == 0) {
        _exit(3);
    } else if (strcmp(what, "crash") == 0) {
        abort();
    } else if (strcmp(what, "huge message") == 0) {
        raw(huge, 8);
        pause();
    } else if (strcmp(what, "huge picture") == 0) {
        raw(lie, 8);
        raw("{}", 2);
        pause();
    } else if (strcmp(what, "not json") == 0) {
        raw(text, 8);
        raw("{{{{{", 5);
        pause();
    } else if (strcmp(what, "bad text") == 0) {
        static const uint32_t size[2] = {11, 0};
        raw(size, 8);
        raw("{\"type\":\"\xff\"}", 12);
        pause();
    } else if (strcmp(what, "other type") == 0) {
        say(message("paint", serial), NULL, 0);
        pause();
    } else if (strcmp(what, "future serial") == 0) {
        image(serial + 1, 64, 64, 64 * 64 * 3);
        pause();
    } else if (strcmp(what, "past serial") == 0) {
        image(serial - 1, 64, 64, 64 * 64 * 3);
        pause();
    } else if (strcmp(what, "few pixels") == 0) {
        image(serial, 64, 64, 64 * 64 * 3 - 1);
        pause();
    } else if (strcmp(what, "no size") == 0) {
        image(serial, 0, 0, 0);
        pause();
    } else if (strcmp(what, "large size") == 0) {
        image(serial, 65535, 65535, 10);
        pause();
    } else if (strcmp(what, "bad step") == 0) {
        progress(serial, 5);
        pause();
    } else if (strcmp(what, "fail") == 0) {
        cJSON *json = message("error", serial);
        cJSON_AddStringToObject(json, "code", "too_large");
        cJSON_AddStringToObject(json, "message", "this is too large");
        say(json, NULL, 0);
    } else if (strcmp(what, "flood") == 0) {
        for (;;)
            progress(serial, 2);
    } else {
        progress(serial, 4);
        image(serial, 64, 64, 64 * 64 * 3);
    }
}

static int worker(void)
{
    struct wire_reader reader;
    struct wire_message m;
    struct err err;
    wire_reader_init(&reader, WORKER_FD, limits);
    while (wire_read(&reader, &m, &err) == WIRE_MESSAGE) {
        if (strcmp(wire_type(&m), "start") == 0) {
            say(message("ready", 0), NULL, 0);
        } else if (strcmp(wire_type(&m), "generate") == 0) {
            cJSON *params = cJSON_GetObjectItem(m.json, "params");
            obey(cJSON_GetStringValue(cJSON_GetObjectItem(params, "prompt")),
                 wire_integer(&m, "serial", 1, INT64_C(1) << 53, 0));
        }
        wire_message_free(&m);
    }
    return 0;
}

/* ---- the server's parts ---- */

static char root[64];
static struct settings *settings;
static struct store *store;
static struct blobs *blobs;
static struct dispatch_parts parts;
static struct painter *painter;

/* Long enough for a good worker on a machine that is busy with other things. */
static const struct painter_patience patience = {.first_ms = 2000, .least_ms = 1500};

/* Nobody here forwards jobs to it: they wait. */
static struct settings_upstream_model remote = {"remote", "remote"};
static struct settings_upstream cloud = {.name = "cloud", .models = &remote, .model_count = 1};

static int setup(void **state)
{
    struct err err = {0};
    strcpy(root, "/tmp/painter_test.XXXXXX");
    assert_non_null(mkdtemp(root));
    settings = settings_new(&err);
    settings_set(settings, "data", root, "", &err);
    settings_set(settings, "max_attempts", "1", "", &err);
    settings_set(settings, "lease_seconds", "1", "", &err);
    settings->upstreams = &cloud;
    settings->upstream_count = 1;
    parts = (struct dispatch_parts){.settings = settings};
    store = store_open(&(struct store_place){.data = root}, STORE_ALONE, &err);
    parts.events = events_new(&err);
    blobs = blobs_new(root, settings, &err);
    parts.queue = queue_new(store, blobs, parts.events, settings, &err);
    parts.registry = registry_new(settings, NULL, &err);
    parts.codec = codec_new(true, 1 << 20, 1, &err);
    painter = painter_new(&parts, &patience, &err);
    if (!painter)
        fail_msg("%s", err.msg);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    painter_stop(painter, 0);
    painter_free(painter);
    codec_free(parts.codec);
    registry_free(parts.registry);
    queue_free(parts.queue);
    blobs_free(blobs);
    events_free(parts.events);
    store_close(store);
    settings->upstreams = NULL;
    settings->upstream_count = 0;
    settings_free(settings);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void submit_sized(const char *model, const char *prompt, int width, int height, int count,
                         char id[JOB_ID_SIZE])
{
    struct job_params p;
    struct err err = {0};
    job_params_init(&p);
    p.model = strdup(model);
    p.prompt = strdup(prompt);
    p.width = width;
    p.height = height;
    p.hires_width = p.hires_height = 64;
    p.steps = 4;
    p.count = count;
    p.sampler = strdup("Euler");
    p.scheduler = strdup("automatic");
    p.format = IMAGE_PNG;
    if (!queue_submit(parts.queue, "", 0, false, &p, NULL, 0, id, &err))
        fail_msg("%s", err.msg);
    job_params_free(&p);
}

static void submit_for(const char *model, const char *prompt, int count, char id[JOB_ID_SIZE])
{
    submit_sized(model, prompt, 64, 64, count, id);
}

static void submit(const char *prompt, int count, char id[JOB_ID_SIZE])
{
    submit_for(REGISTRY_BUILTIN, prompt, count, id);
}

static void wait_for(const char *id, bool final, struct job *job)
{
    struct err err = {0};
    for (int i = 0; i < 1000; i++) {
        if (!queue_get(parts.queue, id, NULL, job, &err))
            fail_msg("%s", err.msg);
        if (final ? job_state_is_final(job->state) : job->progress.step > 0)
            return;
        job_free(job);
        usleep(10 * 1000);
    }
    fail_msg("job %s takes too long", id);
}

static void expect_done(int count)
{
    char id[JOB_ID_SIZE];
    struct job job;
    submit("paint", count, id);
    wait_for(id, true, &job);
    assert_int_equal(job.state, JOB_DONE);
    assert_int_equal(job.attempts, 1);
    assert_int_equal(job.image_count, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(job.images[i].index, i);
    job_free(&job);
}

static void good_worker(void **state)
{
    struct dispatch_stats stats = {0};
    expect_done(1);
    expect_done(5);
    painter_stats(painter, &stats);
    assert_int_equal(stats.pictures, 6);
    assert_int_equal(stats.worker_starts, 1);
    assert_true(stats.worker_memory > 0);
    assert_true(painter_ready(painter, NULL));
    /* The job is done before its painter has let go of it. */
    for (int i = 0; painter_busy(painter) && i < 500; i++)
        usleep(10 * 1000);
    assert_false(painter_busy(painter));
}

/* Each of these costs the worker its life and the job its only attempt; the server goes on. */
static void bad_workers(void **state)
{
    static const struct {
        const char *prompt, *words;
    } cases[] = {
        {"hang", "silent for too long"},
        {"hang later", "silent for too long"},
        {"half a message", "silent for too long"},
        {"die", "ended with status 3"},
        {"crash", "signal 6"},
        {"huge message", "bytes of JSON"},
        {"huge picture", "of data"},
        {"not json", "worker"},
        {"bad text", "worker"},
        {"other type", "makes no sense"},
        {"future serial", "makes no sense"},
        {"past serial", "makes no sense"},
        {"few pixels", "makes no sense"},
        {"no size", "makes no sense"},
        {"large size", "makes no sense"},
        {"bad step", "makes no sense"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[JOB_ID_SIZE];
        struct job job;
        submit(cases[i].prompt, 2, id);
        wait_for(id, true, &job);
        assert_int_equal(job.state, JOB_FAILED);
        assert_int_equal(job.attempts, 1);
        assert_int_equal(job.image_count, 0);
        if (!strstr(job.error_message, cases[i].words))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].prompt, job.error_message,
                     cases[i].words);
        job_free(&job);
        expect_done(1);
    }
}

static void second_attempt(void **state)
{
    struct dispatch_stats stats = {0};
    char id[JOB_ID_SIZE];
    struct job job;
    settings->max_attempts = 2;
    submit("die", 1, id);
    wait_for(id, true, &job);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.attempts, 2);
    job_free(&job);
    expect_done(1);
    painter_stats(painter, &stats);
    assert_int_equal(stats.worker_starts, 3);
}

static void error_is_the_jobs_own(void **state)
{
    struct dispatch_stats stats = {0};
    char id[JOB_ID_SIZE];
    struct job job;
    submit("fail", 2, id);
    wait_for(id, true, &job);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.attempts, 1);
    assert_int_equal(job.error, ERR_TOO_LARGE);
    assert_string_equal(job.error_message, "this is too large");
    job_free(&job);
    expect_done(1);
    painter_stats(painter, &stats);
    assert_int_equal(stats.worker_starts, 1);
}

/* Its job is not given back, to be claimed again at once for ever. */
static void a_loras_folder_that_cannot_be_read_fails_the_job(void **state)
{
    struct err err;
    char id[JOB_ID_SIZE], path[100];
    struct job job;
    snprintf(path, sizeof path, "%s/no folder", root);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_true(settings_set(settings, "loras", path, "", &err));
    submit("<lora:x:1>", 1, id);
    wait_for(id, true, &job);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job.error, ERR_IO);
    job_free(&job);
    expect_done(1);
}

/* It never stops talking: the lease is kept all the same; and when it pays no attention to its job
 * being cancelled, it is replaced. */
static void flooding_worker(void **state)
{
    char id[JOB_ID_SIZE];
    struct job job;
    struct err err;
    submit("flood", 1, id);
    wait_for(id, false, &job);
    job_free(&job);
    sleep(2); /* twice the lease */
    assert_true(queue_get(parts.queue, id, NULL, &job, &err));
    assert_int_equal(job.state, JOB_RUNNING);
    assert_int_equal(job.attempts, 1);
    job_free(&job);
    assert_true(queue_cancel(parts.queue, id, NULL, &err));
    expect_done(1);
}

static void stop_gives_the_job_back(void **state)
{
    char id[JOB_ID_SIZE];
    struct job job;
    struct err err;
    submit("flood", 1, id);
    wait_for(id, false, &job);
    job_free(&job);
    painter_stop(painter, 100);
    assert_true(queue_get(parts.queue, id, NULL, &job, &err));
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.attempts, 0); /* it is not the job's fault */
    job_free(&job);
    assert_false(painter_ready(painter, &err));
    painter_free(painter);
    painter = painter_new(&parts, &patience, &err);
    assert_non_null(painter);
    assert_true(queue_cancel(parts.queue, id, NULL, &err) || err.code == ERR_INVALID);
}

/* Nothing accepts such a job, but a database may hold one. */
static void impossible_jobs_fail(void **state)
{
    static const int sizes[][3] = {{0, 64, 1}, {64, -1, 1}, {64, INT_MAX, 1}, {64, 64, INT_MAX}};
    char id[JOB_ID_SIZE];
    struct job job;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        submit_sized(REGISTRY_BUILTIN, "paint", sizes[i][0], sizes[i][1], sizes[i][2], id);
        wait_for(id, true, &job);
        assert_int_equal(job.state, JOB_FAILED);
        assert_non_null(strstr(job.error_message, "damaged"));
        job_free(&job);
    }
    expect_done(1);
}

static void jobs_of_a_model_that_is_gone_fail_however_many_wait(void **state)
{
    char gone[2][JOB_ID_SIZE], waits[JOB_ID_SIZE];
    struct job job;
    struct err err;
    painter_stop(painter, 100);
    painter_free(painter);
    submit_for("gone", "paint", 1, gone[0]);
    submit_for("gone", "paint", 1, gone[1]);
    for (int i = 0; i < 250; i++)
        submit_for("remote", "paint", 1, waits);
    painter = painter_new(&parts, &patience, &err);
    assert_non_null(painter);
    for (int i = 0; i < 2; i++) {
        wait_for(gone[i], true, &job);
        assert_int_equal(job.error, ERR_NOT_FOUND);
        job_free(&job);
    }
    expect_done(1);
    assert_true(queue_get(parts.queue, waits, NULL, &job, &err));
    assert_int_equal(job.state, JOB_QUEUED);
    job_free(&job);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "worker") == 0) /* --codec: a real one */
        return worker_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return worker();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_workers, setup, teardown),
        cmocka_unit_test_setup_teardown(second_attempt, setup, teardown),
        cmocka_unit_test_setup_teardown(error_is_the_jobs_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loras_folder_that_cannot_be_read_fails_the_job, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(flooding_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_gives_the_job_back, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_jobs_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_of_a_model_that_is_gone_fail_however_many_wait, setup,
                                        teardown),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
