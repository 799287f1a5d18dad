/* job_wait.c: a waiter of http that the job's events wake and that looks into the queue.
 *
 * Events are only a hint: what is answered is what the queue says, and it is asked every few
 * seconds without any event, too. */
#include "server/api/job_wait.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/api/app.h"
#include "server/http/http.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"

struct job_wait {
    struct queue *queue;
    struct subscription *subscription;
    char job_id[JOB_ID_SIZE];
    bool keep;
    int64_t trouble_ms; /* of queue_ask_again */
    job_wait_fn *fn;
    void *ctx;
    void (*free_fn)(void *ctx);
};

static void on_job_event(void *ctx, const struct event *event)
{
    if (event->kind == EVENT_TROUBLE ||
        (event->kind == EVENT_STATE && job_state_is_final(event->state)))
        http_wait_wake(ctx);
}

static void leave(void *ctx)
{
    struct job_wait *w = ctx;
    if (!w->keep)
        queue_abandon(w->queue, w->job_id);
}

static bool look(struct http_request *req, void *ctx)
{
    struct job_wait *w = ctx;
    enum job_state state;
    struct job job;
    struct err err;
    int images;
    bool found = queue_glance(w->queue, w->job_id, &state, &images, &err);
    if (found && !job_state_is_final(state)) {
        w->trouble_ms = 0;
        /* Who gets an answer asks again; who keeps the job waits for room. */
        if (w->keep || queue_well(w->queue, &err))
            return false;
        leave(w);
        http_reply_error(req, &err, NULL);
        return true;
    }
    if (found && queue_get(w->queue, w->job_id, NULL, &job, &err)) {
        w->fn(req, &job, w->ctx);
        job_free(&job);
        return true;
    }
    if (queue_ask_again(&w->trouble_ms, &err))
        return false;
    leave(w);
    http_reply_error(req, &err, NULL);
    return true;
}

static void wait_free(void *ctx)
{
    struct job_wait *w = ctx;
    events_unsubscribe(w->subscription);
    if (w->free_fn)
        w->free_fn(w->ctx);
    free(w);
}

void job_wait(struct http_request *req, const char *job_id, bool keep, job_wait_fn *fn, void *ctx,
              void (*free_fn)(void *ctx))
{
    static const struct http_waiter waiter = {look, leave, wait_free};
    const struct app *app = http_app(req);
    struct err err;
    struct job_wait *w = calloc(1, sizeof *w);
    if (w)
        *w = (struct job_wait){
            .queue = app->queue, .keep = keep, .fn = fn, .ctx = ctx, .free_fn = free_fn};
    else
        err_set(&err, ERR_INTERNAL, "no memory for a request");
    if (w && (w->subscription = events_subscribe(app->events, job_id, on_job_event, req, &err))) {
        snprintf(w->job_id, sizeof w->job_id, "%s", job_id);
        http_wait(req, &waiter, w);
        return;
    }
    if (!keep)
        queue_abandon(app->queue, job_id);
    http_reply_error(req, &err, NULL);
    if (free_fn)
        free_fn(ctx);
    free(w);
}
