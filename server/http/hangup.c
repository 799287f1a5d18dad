/* hangup.c: one thread, one epoll set.
 *
 * Watches are an array by descriptor, under one lock, which is held while fn runs; so forgetting
 * waits for a call that runs. A watch has a number, and an event that was already on its way when
 * its descriptor got another watch has the old number. */
#include "server/base/now.h"
#include "server/http/hangup.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct watch {
    void (*fn)(void *ctx); /* NULL: none */
    void *ctx;
    uint32_t number;
};

struct hangup {
    int epoll, stop; /* stop: an eventfd */
    pthread_t thread;
    void (*tick)(void *ctx);
    void *tick_ctx;
    pthread_mutex_t lock;
    struct watch *watches;
    size_t size;
    uint32_t next_number;
};

#define STOP_EVENT UINT64_MAX

static void run_watch(struct hangup *h, uint64_t event)
{
    size_t fd = (size_t)(event >> 32);
    pthread_mutex_lock(&h->lock);
    struct watch *w = fd < h->size ? &h->watches[fd] : NULL;
    if (w && w->fn && w->number == (uint32_t)event)
        w->fn(w->ctx);
    pthread_mutex_unlock(&h->lock);
}

static void *run(void *arg)
{
    struct hangup *h = arg;
    struct epoll_event events[64];
    int64_t next_tick = now_ms() + 1000;
    for (;;) {
        int64_t left = next_tick - now_ms();
        int n = epoll_wait(h->epoll, events, 64, left > 0 ? (int)left : 0);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == STOP_EVENT)
                return NULL;
            run_watch(h, events[i].data.u64);
        }
        if (now_ms() >= next_tick) {
            next_tick = now_ms() + 1000;
            if (h->tick)
                h->tick(h->tick_ctx);
        }
    }
}

struct hangup *hangup_new(void (*tick)(void *ctx), void *ctx, struct err *err)
{
    struct hangup *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, ERR_INTERNAL, "no memory to watch connections");
        return NULL;
    }
    h->tick = tick;
    h->tick_ctx = ctx;
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->stop = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = STOP_EVENT};
    pthread_mutex_init(&h->lock, NULL);
    if (h->epoll < 0 || h->stop < 0 || epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->stop, &event) != 0 ||
        pthread_create(&h->thread, NULL, run, h) != 0) {
        err_set(err, ERR_INTERNAL, "cannot watch connections: %s", strerror(errno));
        goto fail;
    }
    return h;

fail:
    pthread_mutex_destroy(&h->lock);
    if (h->stop >= 0)
        close(h->stop);
    if (h->epoll >= 0)
        close(h->epoll);
    free(h);
    return NULL;
}

void hangup_free(struct hangup *h)
{
    if (!h)
        return;
    eventfd_write(h->stop, 1);
    pthread_join(h->thread, NULL);
    pthread_mutex_destroy(&h->lock);
    close(h->stop);
    close(h->epoll);
    free(h->watches);
    free(h);
}

bool hangup_watch(struct hangup *h, int fd, void (*fn)(void *ctx), void *ctx, struct err *err)
{
    bool ok = false;
    pthread_mutex_lock(&h->lock);
    if ((size_t)fd >= h->size) {
        size_t size = (size_t)fd * 2 + 64;
        struct watch *watches = realloc(h->watches, size * sizeof *watches);
        if (!watches) {
            err_set(err, ERR_INTERNAL, "no memory to watch a connection");
            goto done;
        }
        memset(watches + h->size, 0, (size - h->size) * sizeof *watches);
        h->watches = watches;
        h->size = size;
    }
    struct watch *w = &h->watches[fd];
    *w = (struct watch){fn, ctx, h->next_number++};
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT,
                                .data.u64 = (uint64_t)fd << 32 | w->number};
    ok = epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    if (!ok) {
        err_set(err, ERR_INTERNAL, "cannot watch a connection: %s", strerror(errno));
        w->fn = NULL;
    }
done:
    pthread_mutex_unlock(&h->lock);
    return ok;
}

void hangup_forget(struct hangup *h, int fd)
{
    pthread_mutex_lock(&h->lock);
    if ((size_t)fd < h->size && h->watches[fd].fn) {
        h->watches[fd].fn = NULL;
        epoll_ctl(h->epoll, EPOLL_CTL_DEL, fd, NULL);
    }
    pthread_mutex_unlock(&h->lock);
}
