/* native_events.c: event streams of one job or of all: readers of the feed (native_feed.h).
 *
 * A stream of one job begins with the job as it is, and ends after its final state. A stream whose
 * client reads too slowly ends; the client connects again and lists the jobs. One that says in
 * Last-Event-ID what it has read gets what came since; or hears that it has missed something. */
#include "server/api/native/native_events.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/native/native_feed.h"
#include "server/http/http.h"
#include "server/queue/queue.h"

#define AT_ONCE (256 << 10) /* bytes of texts that are handed to a client at a time */

struct listener {
    struct queue *queue;
    struct native_reader *reader;
    char job_id[JOB_ID_SIZE];             /* "": all */
    bool missed;                          /* to be said first */
    bool begun;                           /* the job as it is has been sent, or need not be */
    int64_t trouble_ms;                   /* of queue_ask_again */
    _Atomic(struct http_stream *) stream; /* NULL until it was asked for the first time */
};

static void listener_free(void *ctx)
{
    struct listener *l = ctx;
    native_feed_leave(l->reader);
    free(l);
}

static void wake(void *ctx)
{
    struct listener *l = ctx;
    struct http_stream *stream = atomic_load(&l->stream);
    if (stream)
        http_stream_wake(stream);
}

/* Takes the text; false: it was the last one, or the client does not take it. */
static bool send_text(struct http_stream *stream, const struct listener *l,
                      const struct native_text *text)
{
    bool going =
        text && http_stream_write(stream, text->data, text->size) && !(text->last && *l->job_id);
    if (text)
        native_feed_done(text);
    return going;
}

/* Sends the job as it is; in trouble it is called again, every few seconds. */
static bool begin(struct http_stream *stream, struct listener *l)
{
    struct job job;
    struct err err;
    if (!queue_get(l->queue, l->job_id, NULL, &job, &err))
        return queue_ask_again(&l->trouble_ms, &err);
    l->begun = true;
    const struct native_text *text = native_feed_job(l->reader, &job);
    job_free(&job);
    return send_text(stream, l, text);
}

static bool produce(struct http_stream *stream, void *ctx)
{
    struct listener *l = ctx;
    atomic_store(&l->stream, stream); /* before the feed is read: nothing comes unnoticed */
    if (!l->begun && !begin(stream, l))
        return false;
    if (l->missed && !send_text(stream, l, native_feed_missed(l->reader)))
        return false;
    l->missed = false;
    for (size_t sent = 0; l->begun && sent < AT_ONCE;) {
        const struct native_text *text;
        enum native_next next = native_feed_next(l->reader, &text);
        if (next != NATIVE_TEXT)
            return next == NATIVE_NOTHING;
        sent += text->size;
        if (!send_text(stream, l, text))
            return false;
    }
    if (l->begun) /* there may be more, once this is on its way */
        http_stream_wake(stream);
    return true;
}

static void start(struct http_request *req, const struct job *job)
{
    const struct app *app = http_app(req);
    const char *last_id = http_header(req, "Last-Event-ID");
    struct err err;
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        err_set(&err, ERR_INTERNAL, "no memory for a stream");
    else
        l->reader = native_feed_join(app->feed, http_visible_key(req), job ? job->id : NULL,
                                     last_id, wake, l, &err);
    if (!l || !l->reader) {
        free(l);
        http_reply_error(req, &err, NULL);
        return;
    }
    bool resumed = native_feed_resumed(l->reader);
    l->queue = app->queue;
    /* A final job says all that could have been missed, and ends the stream. */
    l->begun = !job || (resumed && !job_state_is_final(job->state));
    l->missed = !job && last_id && !resumed;
    if (job)
        memcpy(l->job_id, job->id, sizeof l->job_id);
    http_stream_start(req, HTTP_STREAM_EVENTS, produce, listener_free, l);
}

void native_events_job(struct http_request *req)
{
    struct job job;
    struct err err;
    const char *id = http_param(req, "id"), *last_id = http_header(req, "Last-Event-ID");
    if (!queue_get(http_app(req)->queue, id, http_visible_key(req), &job, &err)) {
        http_reply_error(req, &err, NULL);
        return;
    }
    /* A browser's EventSource connects again until it is told to stop, which 204 does. */
    if (last_id && native_feed_ended(last_id) && job_state_is_final(job.state))
        http_reply_empty(req, 204);
    else
        start(req, &job);
    job_free(&job);
}

void native_events_all(struct http_request *req)
{
    start(req, NULL);
}
