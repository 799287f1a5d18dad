/* http_wait.c: connections that wait hold no thread: suspending, waking, and clients that leave.
 *
 * Whoever has news for a request wakes it. request->notified remembers a wake that comes while the
 * request is not suspended, so none is lost: what is looked at after `notified` was cleared is not
 * older than the clearing. Resuming makes libmicrohttpd call on_request (or the stream's reader)
 * again on its own thread, and only there anything is done. */
#include "server/http/http_private.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/app.h"
#include "server/base/now.h"
#include "server/http/hangup.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"

void http_wait_wake(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    req->notified = true;
    if (req->suspended) {
        req->suspended = false;
        MHD_resume_connection(req->conn);
    }
    pthread_mutex_unlock(&req->lock);
}

/* False when there is something to look at first. */
bool http_wait_suspend(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    bool quiet = !req->notified && !req->gone && !req->http->stopping;
    if (quiet) {
        MHD_suspend_connection(req->conn);
        req->suspended = true;
    }
    pthread_mutex_unlock(&req->lock);
    return quiet;
}

static void on_hangup(void *ctx)
{
    struct http_request *req = ctx;
    pthread_mutex_lock(&req->lock);
    req->gone = true;
    pthread_mutex_unlock(&req->lock);
    http_wait_wake(req);
}

bool http_wait_watch(struct http_request *req, struct err *err)
{
    req->watched = hangup_watch(req->http->hangup, req->fd, on_hangup, req, err);
    return req->watched;
}

static void on_job_event(void *ctx, const struct event *event)
{
    if (event->kind == EVENT_STATE && job_state_is_final(event->state))
        http_wait_wake(ctx);
}

static void give_up_job(struct http_request *req)
{
    struct err err;
    char quoted[600];
    if (!req->wait.keep && !queue_cancel(req->http->app->queue, req->wait.job_id, NULL, &err) &&
        err.code != ERR_INVALID && err.code != ERR_NOT_FOUND)
        log_event(LOG_WARN, "cancel_failed", "job=%s msg=%s", req->wait.job_id,
                  log_quote(quoted, sizeof quoted, err.msg));
}

void http_wait_abandon(struct http_request *req)
{
    if (req->wait.active && !req->wait.work)
        give_up_job(req);
    req->wait.active = false;
}

void http_wait_refuse_stopping(struct http_request *req)
{
    struct http_problem problem = {503, ERR_BUSY, "the server is stopping", NULL};
    http_reply_problem(req, &problem);
}

/* Looks at the job; whether there is an answer. */
static bool look(struct http_request *req)
{
    struct http_wait *wait = &req->wait;
    struct queue *queue = req->http->app->queue;
    enum job_state state;
    struct job job;
    struct err err;
    int images;
    bool found = queue_glance(queue, wait->job_id, &state, &images, &err);
    if (found && !job_state_is_final(state)) {
        wait->trouble_ms = 0;
        return false;
    }
    if (found && queue_get(queue, wait->job_id, NULL, &job, &err)) {
        wait->active = false;
        wait->fn(req, &job, wait->ctx);
        job_free(&job);
        return true;
    }
    if (queue_ask_again(&wait->trouble_ms, &err))
        return false;
    http_wait_abandon(req);
    http_reply_error(req, &err, NULL);
    return true;
}

void http_wait_step(struct http_request *req)
{
    do {
        pthread_mutex_lock(&req->lock);
        req->notified = false;
        req->wait.checked_ms = now_ms();
        bool gone = req->gone;
        pthread_mutex_unlock(&req->lock);
        if (gone) {
            http_wait_abandon(req);
            req->abandoned = true;
            return;
        }
        bool stopping = req->http->stopping; /* before the look: what ended until then counts */
        if (req->wait.work ? http_work_reply(req) : look(req)) {
            req->wait.active = false;
            return;
        }
        if (stopping) {
            http_wait_abandon(req);
            http_wait_refuse_stopping(req);
            return;
        }
    } while (!http_wait_suspend(req));
}

void http_wait_job(struct http_request *req, const char *job_id, bool keep, http_job_fn *fn,
                   void *ctx, void (*free_fn)(void *ctx))
{
    struct err err;
    req->wait =
        (struct http_wait){.active = true, .keep = keep, .fn = fn, .ctx = ctx, .free_fn = free_fn};
    snprintf(req->wait.job_id, sizeof req->wait.job_id, "%s", job_id);
    req->wait.subscription =
        events_subscribe(req->http->app->events, job_id, on_job_event, req, &err);
    if (!req->wait.subscription || !http_wait_watch(req, &err)) {
        give_up_job(req);
        http_reply_error(req, &err, NULL);
        return;
    }
    http_wait_step(req);
}
