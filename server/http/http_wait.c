/* http_wait.c: connections that wait hold no thread: suspending, waking, and clients that leave.
 *
 * A thread that has news for a request wakes it. request->notified remembers a wake that comes
 * while the request is not suspended, so none is lost: what is looked at after `notified` was
 * cleared is not older than the clearing. Resuming makes libmicrohttpd call on_request (or the
 * stream's reader) again on its own thread, and only there anything is done. */
#include "server/http/http_private.h"

#include "server/base/now.h"
#include "server/http/hangup.h"

void http_wait_wake(struct http_request *req)
{
    pthread_mutex_lock(&req->lock);
    req->notified = true;
    /* What is apart is resumed by its thread alone. */
    if (req->suspended && req->apart != HTTP_APART_BUSY) {
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
    if (req->watched) /* it has waited for something else before */
        return true;
    req->watched = hangup_watch(req->http->hangup, req->fd, on_hangup, req, err);
    return req->watched;
}

void http_wait_abandon(struct http_request *req)
{
    if (req->wait.active && req->wait.waiter->leave)
        req->wait.waiter->leave(req->wait.ctx);
    req->wait.active = false;
}

bool http_wait_allowed(struct http_request *req)
{
    const struct http_options *o = &req->http->options;
    struct access_grant grant;
    struct err err;
    int64_t now = now_ms();
    if (req->route->access == ROUTE_OPEN || now - req->allowed_ms < HTTP_RECHECK_MS)
        return true;
    req->allowed_ms = now;
    return o->gate(o->app, &req->access, &grant, &err) || err.code != ERR_DENIED;
}

void http_wait_refuse_stopping(struct http_request *req)
{
    struct http_problem problem = {503, ERR_BUSY, "the server is stopping", NULL};
    http_reply_problem(req, &problem);
}

/* With what the waiter wants to wait for now; it is looked at before anything suspends. */
static void take_next(struct http_request *req)
{
    struct http_wait old = req->wait;
    pthread_mutex_lock(&req->lock);
    req->wait = (struct http_wait){
        .active = true, .again = true, .waiter = old.next, .ctx = old.next_ctx};
    pthread_mutex_unlock(&req->lock);
    old.waiter->free(old.ctx);
}

static void look(struct http_request *req)
{
    req->wait.again = false;
    req->wait.looking = true;
    req->wait.looked = req->wait.waiter->look(req, req->wait.ctx);
    req->wait.looking = false;
    if (req->wait.next)
        take_next(req);
    else if (req->wait.looked)
        req->wait.active = false;
}

/* After a look; false: it must look again. */
static bool looked(struct http_request *req)
{
    if (req->wait.again)
        return false;
    if (req->wait.looked)
        return true;
    if (req->wait.stopping) {
        http_wait_abandon(req);
        http_wait_refuse_stopping(req);
        return true;
    }
    return http_wait_suspend(req);
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
        if (!http_wait_allowed(req)) {
            struct http_problem problem = {401, ERR_DENIED, "the key is not valid any more", NULL};
            http_wait_abandon(req);
            http_reply_problem(req, &problem);
            return;
        }
        /* Before the look: what ended until then counts. */
        req->wait.stopping = req->http->stopping;
        if (!http_apart_is_wanted(req)) {
            look(req);
        } else {
            req->away = http_apart(req, look);
            if (req->away)
                return;
            http_apart_back(req);
        }
    } while (!looked(req));
}

void http_wait_go_on(struct http_request *req)
{
    if (!looked(req))
        http_wait_step(req);
}

void http_wait_begin(struct http_request *req)
{
    struct err err;
    if (http_wait_watch(req, &err)) {
        http_wait_step(req);
    } else {
        http_wait_abandon(req);
        http_reply_error(req, &err, NULL);
    }
}

void http_wait(struct http_request *req, const struct http_waiter *waiter, void *ctx)
{
    if (req->wait.looking) {
        req->wait.next = waiter;
        req->wait.next_ctx = ctx;
        return;
    }
    pthread_mutex_lock(&req->lock);
    req->wait = (struct http_wait){.active = true, .waiter = waiter, .ctx = ctx};
    bool apart = req->apart == HTTP_APART_BUSY;
    pthread_mutex_unlock(&req->lock);
    if (!apart) /* else when the handler has returned */
        http_wait_begin(req);
}
