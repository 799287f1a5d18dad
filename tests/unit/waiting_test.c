/* waiting_test.c: who waits for a job while the database cannot be read for a moment, over HTTP. */
#include "tests/unit/server_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "server/api/app.h"
#include "server/api/native/native_feed.h"
#include "server/http/http.h"
#include "server/job/registry.h"
#include "server/routes.h"
#include "server/store/keys.h"

/* ---- a database that fails on command ---- */

static atomic_bool broken;
static sqlite3_vfs *real, failing;
static sqlite3_io_methods methods;
static int (*real_lock)(sqlite3_file *file, int offset, int n, int flags);

/* Every read begins with a shared lock. The sweeper's are left alone: what it cannot read is a
 * trouble of the store, of which clients are told. */
static int lock(sqlite3_file *file, int offset, int n, int flags)
{
    char thread[16] = "";
    pthread_getname_np(pthread_self(), thread, sizeof thread);
    if (broken && strncmp(thread, "MHD", 3) == 0 && flags == (SQLITE_SHM_LOCK | SQLITE_SHM_SHARED))
        return SQLITE_IOERR_SHMLOCK;
    return real_lock(file, offset, n, flags);
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    int rc = real->xOpen(real, name, file, flags, out);
    if (rc == SQLITE_OK && flags & SQLITE_OPEN_MAIN_DB) {
        methods = *file->pMethods;
        real_lock = methods.xShmLock;
        methods.xShmLock = lock;
        file->pMethods = &methods;
    }
    return rc;
}

/* ---- a client ---- */

static int ask(const struct http *http, const char *method, const char *path, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    char text[500];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int n = snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     method, path, strlen(body), body);
    assert_int_equal(write(fd, text, (size_t)n), n);
    return fd;
}

/* Everything until the server ends it. */
static void expect(int fd, const char *words)
{
    char text[16384];
    size_t size = 0;
    for (ssize_t n; (n = read(fd, text + size, sizeof text - 1 - size)) > 0;)
        size += (size_t)n;
    text[size] = '\0';
    close(fd);
    if (strncmp(text, "HTTP/1.1 200", 12) != 0 || !strstr(text, words))
        fail_msg("\"%s\" is not in: %s", words, text);
}

/* ---- the test ---- */

static void on_event(void *ctx, const struct event *event)
{
    if (event->kind == EVENT_STATE && job_state_is_final(event->state))
        broken = true;
}

static void finish_one(struct fixture *f)
{
    struct err err;
    struct job job;
    struct claim claim;
    struct job_image image;
    fixture_claim(f, &job, &claim);
    job_free(&job);
    fixture_store_image(f, &claim, 0, "x", &image);
    assert_ok(queue_finish(f->queue, &claim, &err), err);
    usleep(200 * 1000);
    broken = false;
}

static void nobody_is_lost_when_a_look_fails(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct job *jobs;
    size_t count = 0;
    int64_t next;
    char path[80];
    assert_ok(settings_set(f->settings, "listen", "127.0.0.1:0", "", &err), err);
    struct app app = {
        .settings = f->settings, .store = f->store, .events = f->events, .queue = f->queue};
    assert_ok(app.feed = native_feed_new(f->queue, f->events, &err), err);
    assert_ok(app.keys = keys_new(f->store, &err), err);
    assert_ok(app.registry = registry_new(f->settings, NULL, &err), err);
    struct http *http = routes_serve(&app, &err);
    assert_ok(http, err);
    int fds[4];
    const char *generations = "/v1/images/generations";
    fds[0] = ask(http, "POST", generations, "{\"prompt\": \"x\", \"size\": \"64x64\"}");
    fds[1] = ask(http, "POST", generations,
                 "{\"prompt\": \"x\", \"size\": \"64x64\", \"stream\": true}");
    fds[2] = ask(http, "POST", "/sdapi/v1/txt2img", "{\"width\": 64, \"height\": 64}");
    struct job_filter all = {.state = -1, .limit = 10};
    for (int i = 0; i < 500 && count < 3; i++) {
        usleep(10 * 1000);
        assert_ok(queue_list(f->queue, &all, &jobs, &count, &next, &err), err);
        snprintf(path, sizeof path, "/api/jobs/%s/events", count ? jobs[0].id : "");
        for (size_t j = 0; j < count; j++)
            job_free(&jobs[j]);
        free(jobs);
    }
    assert_int_equal(count, 3);
    fds[3] = ask(http, "GET", path, "");
    usleep(200 * 1000);
    struct subscription *s = events_subscribe(f->events, NULL, on_event, NULL, &err);
    for (int i = 0; i < 3; i++)
        finish_one(f);
    expect(fds[0], "\"b64_json\":\"eA==\"");
    expect(fds[1], "event: image_generation.completed");
    expect(fds[2], "\"images\":[\"eA==\"]");
    expect(fds[3], "\"state\":\"done\"");
    events_unsubscribe(s);
    http_stop(http);
    registry_free(app.registry);
    keys_free(app.keys);
    native_feed_free(app.feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_lost_when_a_look_fails, fixture_setup,
                                        fixture_teardown),
    };
    real = sqlite3_vfs_find(NULL);
    failing = *real;
    failing.zName = "failing";
    failing.xOpen = open_file;
    sqlite3_vfs_register(&failing, true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
