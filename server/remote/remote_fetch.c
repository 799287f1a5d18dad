#include "server/remote/remote_fetch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/backoff.h"
#include "server/paint/fetch.h"

#define AGAIN_LEAST_MS 200
#define AGAIN_MOST_MS 10000

struct remote_fetch {
    const struct remote_order *order;
    const struct remote_link *link;
    const struct remote_files *files;
    void (*wake)(void *ctx);
    void *ctx;
    pthread_t thread;
    atomic_bool stop, done;
    struct remote_fetched result;
};

/* Whether it makes sense to ask again: the server or the way to it has a bad moment. */
static bool passes(enum err_code code)
{
    return code == ERR_UPSTREAM || code == ERR_BUSY;
}

/* No more is kept in memory than was told of. */
static bool watch_inputs(void *ctx, uint64_t done, uint64_t total)
{
    const struct remote_fetch *f = ctx;
    (void)total;
    return done <= f->order->inputs;
}

static bool fetch_inputs(struct remote_fetch *f, struct err *err)
{
    char url[REMOTE_URL_SIZE];
    size_t size = 0;
    char *body = NULL;
    remote_link_url(f->link, url, "jobs/%s/inputs?token=%lld&worker=%s&index=%d", f->order->job,
                    (long long)f->order->token, f->link->name, f->order->index);
    FILE *out = open_memstream(&body, &size);
    struct fetch_file file = {.url = url,
                              .key = f->link->key,
                              .out = out,
                              .etag = "",
                              .stay = true,
                              .progress = watch_inputs,
                              .ctx = f,
                              .stop = &f->stop};
    bool done = out ? fetch_file(&file, err)
                    : err_set(err, ERR_UNAVAILABLE, "no memory for inputs");
    if (out && fclose(out) != 0 && done)
        done = err_set(err, ERR_UNAVAILABLE, "no memory for inputs");
    if ((done && size != f->order->inputs) || size > f->order->inputs)
        done = err_set(err, ERR_INVALID, "wanted %zu bytes of inputs, got %zu", f->order->inputs,
                       size);
    if (!done) {
        free(body);
        return false;
    }
    f->result.inputs = body;
    return true;
}

static bool fetch_one(struct remote_fetch *f, size_t i, struct err *err)
{
    char url[REMOTE_URL_SIZE];
    if (i == f->order->file_count)
        return f->order->inputs == 0 || fetch_inputs(f, err);
    const struct remote_file *file = &f->order->files[i];
    remote_link_url(f->link, url, "files/%s?job=%s&token=%lld&worker=%s&index=%d", file->sha256,
                    f->order->job, (long long)f->order->token, f->link->name, f->order->index);
    f->result.fds[i] = remote_files_get(f->files, file, url, f->link->key, &f->stop, err);
    return f->result.fds[i] >= 0;
}

static void *run(void *arg)
{
    struct remote_fetch *f = arg;
    struct err *err = &f->result.err;
    int failures = 0;
    size_t i = 0;
    while (i <= f->order->file_count) {
        if (fetch_one(f, i, err)) {
            failures = 0;
            i++;
            continue;
        }
        if (!passes(err->code) || atomic_load(&f->stop))
            break;
        log_err(LOG_WARN, "worker_fetch_failed", err, "job=%s", f->order->job);
        int64_t pause = backoff_ms(++failures, AGAIN_LEAST_MS, AGAIN_MOST_MS);
        for (; pause > 0 && !atomic_load(&f->stop); pause -= 100)
            nanosleep(&(struct timespec){.tv_nsec = 100 * 1000000L}, NULL);
    }
    if (i > f->order->file_count)
        *err = (struct err){0};
    atomic_store(&f->done, true);
    f->wake(f->ctx);
    return NULL;
}

struct remote_fetch *remote_fetch_begin(const struct remote_order *order,
                                        const struct remote_link *link,
                                        const struct remote_files *files, void (*wake)(void *ctx),
                                        void *ctx, struct err *err)
{
    struct remote_fetch *f = calloc(1, sizeof *f);
    if (f) {
        *f = (struct remote_fetch){
            .order = order, .link = link, .files = files, .wake = wake, .ctx = ctx};
        for (size_t i = 0; i < WIRE_FDS_MAX; i++)
            f->result.fds[i] = -1;
        if (pthread_create(&f->thread, NULL, run, f) == 0)
            return f;
    }
    free(f);
    err_set(err, ERR_UNAVAILABLE, "no thread to fetch files");
    return NULL;
}

bool remote_fetch_done(struct remote_fetch *f)
{
    return atomic_load(&f->done);
}

const struct remote_fetched *remote_fetch_result(const struct remote_fetch *f)
{
    return &f->result;
}

void remote_fetch_end(struct remote_fetch *f)
{
    if (!f)
        return;
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    for (size_t i = 0; i < WIRE_FDS_MAX; i++)
        if (f->result.fds[i] >= 0)
            close(f->result.fds[i]);
    free(f->result.inputs);
    free(f);
}
