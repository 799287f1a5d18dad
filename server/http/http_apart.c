/* http_apart.c: what a server's thread must not do itself, because it may wait for a bucket: a
 * handler, a look of a waiter, the producer of a stream. libmicrohttpd's threads have hundreds of
 * other connections each, so threads of our own do it while the connection is suspended.
 *
 * While a request is apart its connection is not resumed, whoever wakes it, so that it does not end
 * under the thread that works for it; it all goes on where it was when the piece is done. Threads
 * are made when they are needed and stay. */
#include "server/http/http_private.h"

#include <stdlib.h>

#define THREADS_MAX 32 /* one waits for a bucket and holds next to nothing */

struct http_apart {
    pthread_t threads[THREADS_MAX];
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t more;
    int thread_count, idle;
    struct http_request *first, **last;
    int waiting, count; /* in the line; with those at work */
    bool stop;
};

struct http_apart *http_apart_new(struct err *err)
{
    struct http_apart *a = calloc(1, sizeof *a);
    if (!a) {
        err_set(err, ERR_INTERNAL, "no memory for the server");
        return NULL;
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->more, NULL);
    a->last = &a->first;
    return a;
}

void http_apart_free(struct http_apart *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->more);
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < a->thread_count; i++)
        pthread_join(a->threads[i], NULL);
    pthread_cond_destroy(&a->more);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static void done(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    req->apart = HTTP_APART_DONE;
    req->notified = true;
    if (req->suspended) {
        req->suspended = false;
        MHD_resume_connection(req->conn);
    }
    pthread_mutex_unlock(&req->lock);
}

static void *run(void *arg)
{
    struct http_apart *a = arg;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        struct http_request *req = a->first;
        if (!req && a->stop)
            break;
        if (!req) {
            a->idle++;
            pthread_cond_wait(&a->more, &a->lock);
            a->idle--;
            continue;
        }
        a->first = req->apart_next;
        if (!a->first)
            a->last = &a->first;
        a->waiting--;
        pthread_mutex_unlock(&a->lock);
        req->apart_piece(req);
        pthread_mutex_lock(&a->lock);
        a->count--;
        done(req); /* it may be gone now */
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

bool http_apart_is_wanted(const struct http_request *req)
{
    return req->http->apart && req->route && (req->route->paints || req->route->stores);
}

bool http_apart_is_busy(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    bool busy = req->apart == HTTP_APART_BUSY;
    pthread_mutex_unlock(&req->lock);
    return busy;
}

bool http_apart_room(struct http_request *req)
{
    struct http_apart *a = req->http->apart;
    pthread_mutex_lock(&a->lock);
    bool room = a->count < THREADS_MAX;
    pthread_mutex_unlock(&a->lock);
    struct http_problem problem = {
        503, ERR_BUSY, "too many requests wait for the place of the pictures", NULL};
    if (!room)
        http_reply_problem(req, &problem);
    return room;
}

/* Hands the request over. False: there is no thread for it at all. */
static bool hand_over(struct http_apart *a, struct http_request *req)
{
    pthread_mutex_lock(&a->lock);
    /* One that was woken for another request and is not up yet is idle still. */
    if (a->idle <= a->waiting && a->thread_count < THREADS_MAX &&
        pthread_create(&a->threads[a->thread_count], NULL, run, a) == 0)
        a->thread_count++;
    bool any = a->thread_count > 0;
    if (any) {
        req->apart_next = NULL;
        *a->last = req;
        a->last = &req->apart_next;
        a->waiting++;
        a->count++;
        pthread_cond_signal(&a->more);
    }
    pthread_mutex_unlock(&a->lock);
    return any;
}

bool http_apart(struct http_request *req, void (*piece)(struct http_request *req))
{
    pthread_mutex_lock(&req->lock);
    req->apart = HTTP_APART_BUSY;
    pthread_mutex_unlock(&req->lock);
    req->apart_piece = piece;
    if (!hand_over(req->http->apart, req)) {
        piece(req);
        pthread_mutex_lock(&req->lock);
        req->apart = HTTP_APART_DONE;
        pthread_mutex_unlock(&req->lock);
        return false;
    }
    pthread_mutex_lock(&req->lock);
    bool busy = req->apart == HTTP_APART_BUSY;
    if (busy) {
        MHD_suspend_connection(req->conn);
        req->suspended = true;
    }
    pthread_mutex_unlock(&req->lock);
    return busy;
}

bool http_apart_back(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    bool was = req->apart == HTTP_APART_DONE;
    if (was)
        req->apart = HTTP_APART_NOT;
    pthread_mutex_unlock(&req->lock);
    return was;
}
