/* http_work.c: what takes longer than a handler may: threads do it, a piece at a time and in turns,
 * while the connection is suspended. What waits for other servers has threads of its own: a slow
 * one holds up nobody who searches.
 *
 * A request leaves its work at its end, whatever became of it; work that is just being done is then
 * freed by the thread. The lock is taken before a request's. */
#include "server/http/http_private.h"

#include <limits.h>
#include <stdlib.h>

#define THREADS_MAX 4
#define WAITING_MAX 4 /* each may hold pictures; more are told to come again */

struct http_work_item {
    http_work_fn *work;
    http_reply_fn *reply;
    void *ctx;
    void (*free_fn)(void *ctx);
    struct http_work *owner;
    struct http_request *req; /* NULL: it has left */
    bool busy, done;
    atomic_bool gone; /* `req` has left, for the work that is just being done */
    struct http_work_item *next;
};

struct http_work {
    pthread_t threads[THREADS_MAX];
    int thread_count;
    pthread_mutex_t lock; /* what follows, and req, busy and done of every item */
    pthread_cond_t more;
    struct http_work_item *first; /* in turn; without those at work */
    int count;                    /* with them */
    bool stop;
};

static void item_free(struct http_work_item *item)
{
    item->free_fn(item->ctx);
    free(item);
}

static void append(struct http_work *w, struct http_work_item *item)
{
    struct http_work_item **end = &w->first;
    while (*end)
        end = &(*end)->next;
    item->next = NULL;
    *end = item;
}

static void *run(void *arg)
{
    struct http_work *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct http_work_item *item = w->first;
        if (!item) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        w->first = item->next;
        item->busy = true;
        pthread_mutex_unlock(&w->lock);
        bool more = item->work(item->ctx, &item->gone);
        pthread_mutex_lock(&w->lock);
        item->busy = false;
        if (item->req && more) {
            append(w, item);
            continue;
        }
        w->count--;
        item->done = true;
        if (item->req) {
            http_wait_wake(item->req);
            continue;
        }
        pthread_mutex_unlock(&w->lock); /* what is freed may have something to say to the queue */
        item_free(item);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void stop(struct http_work *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

struct http_work *http_work_new(int threads, struct err *err)
{
    struct http_work *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(err, ERR_INTERNAL, "no memory for the server");
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    for (; w->thread_count < threads; w->thread_count++) {
        if (pthread_create(&w->threads[w->thread_count], NULL, run, w) != 0) {
            err_set(err, ERR_INTERNAL, "no thread for the server");
            stop(w);
            return NULL;
        }
    }
    return w;
}

void http_work_free(struct http_work *w)
{
    if (w)
        stop(w);
}

static bool look(struct http_request *req, void *ctx)
{
    struct http_work_item *item = ctx;
    struct http_work *w = item->owner;
    pthread_mutex_lock(&w->lock);
    bool done = item->done;
    pthread_mutex_unlock(&w->lock);
    if (done)
        item->reply(req, item->ctx);
    return done;
}

/* At the end of the request, whatever became of it. */
static void leave(void *ctx)
{
    struct http_work_item *item = ctx;
    struct http_work *w = item->owner;
    pthread_mutex_lock(&w->lock);
    bool ours = !item->busy;
    item->req = NULL;
    atomic_store(&item->gone, true);
    for (struct http_work_item **at = &w->first; *at; at = &(*at)->next) {
        if (*at == item) {
            *at = item->next;
            w->count--;
            break;
        }
    }
    pthread_mutex_unlock(&w->lock);
    if (ours)
        item_free(item);
}

static const struct http_waiter waiter = {.look = look, .free = leave};

static void begin(struct http_work *w, struct http_request *req, http_work_fn *work,
                  http_reply_fn *reply, void *ctx, void (*free_fn)(void *ctx), int most)
{
    struct err err = {.code = ERR_NONE};
    struct http_work_item *item = malloc(sizeof *item);
    if (!item) {
        err_set(&err, ERR_INTERNAL, "no memory for a request");
        goto fail;
    }
    *item = (struct http_work_item){work, reply, ctx, free_fn, .owner = w, .req = req};
    pthread_mutex_lock(&w->lock);
    if (w->count > most) {
        err_set(&err, ERR_BUSY, "%d such requests are being worked on already", w->count);
    } else {
        w->count++;
        append(w, item);
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    if (err.code == ERR_NONE) {
        http_wait(req, &waiter, item);
        return;
    }

fail:
    free(item);
    free_fn(ctx);
    http_reply_error(req, &err, NULL);
}

/* What may wait for a bucket shall not hold up those who search, nor heartbeats. */
static struct http_work *near_work(const struct http_request *req)
{
    return http_apart_is_wanted(req) ? req->http->stored : req->http->work;
}

void http_work(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
               void (*free_fn)(void *ctx))
{
    begin(near_work(req), req, work, reply, ctx, free_fn, WAITING_MAX);
}

void http_work_on(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                  void (*free_fn)(void *ctx))
{
    begin(near_work(req), req, work, reply, ctx, free_fn, INT_MAX);
}

void http_work_stored(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                      void (*free_fn)(void *ctx))
{
    struct http *http = req->http;
    begin(http->stored ? http->stored : http->work, req, work, reply, ctx, free_fn, INT_MAX);
}

void http_work_far(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                   void (*free_fn)(void *ctx))
{
    begin(req->http->far, req, work, reply, ctx, free_fn, WAITING_MAX);
}

void http_work_far_on(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                      void (*free_fn)(void *ctx))
{
    begin(req->http->far_on, req, work, reply, ctx, free_fn, INT_MAX);
}
