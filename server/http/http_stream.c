/* http_stream.c: answers that grow while the job runs.
 *
 * libmicrohttpd asks for more (read_stream) whenever the socket takes more: first from the buffer,
 * then from a body with pictures, then, if the stream was woken, from its producer; when none of
 * them has anything the connection is suspended. */
#include "server/http/http_private.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/base/now.h"

#define STREAM_BUFFER_MAX (64 << 20)
#define STREAM_BLOCK (32 << 10)
#define PING_MS 15000

struct http_stream {
    struct http_request *req;
    enum http_stream_kind kind;
    http_stream_fn *produce;
    void (*free_fn)(void *ctx);
    void *ctx;
    /* under req->lock */
    char *buffer;
    size_t at, size, capacity;
    struct http_body *body; /* comes after the buffer; NULL: none */
    int64_t sent_ms, looked_ms;
    bool woken; /* the producer may have something */
    bool ended;
};

/* Under req->lock. */
static bool append(struct http_stream *s, const char *data, size_t size)
{
    if (s->at > 0) {
        memmove(s->buffer, s->buffer + s->at, s->size - s->at);
        s->size -= s->at;
        s->at = 0;
    }
    if (s->ended || size > STREAM_BUFFER_MAX || s->size + size > STREAM_BUFFER_MAX) {
        s->ended = true;
        return false;
    }
    if (s->size + size > s->capacity) {
        size_t capacity = 2 * (s->size + size);
        char *buffer = realloc(s->buffer, capacity);
        if (!buffer) {
            s->ended = true;
            return false;
        }
        http_client_count(s->req, HTTP_ANSWERS, s->capacity, capacity);
        s->buffer = buffer;
        s->capacity = capacity;
    }
    memcpy(s->buffer + s->size, data, size);
    s->size += size;
    s->sent_ms = now_ms();
    return true;
}

bool http_stream_write(struct http_stream *s, const char *data, size_t size)
{
    pthread_mutex_lock(&s->req->lock);
    bool ok = append(s, data, size);
    pthread_mutex_unlock(&s->req->lock);
    http_wait_wake(s->req);
    return ok;
}

/* What goes over the wire; malloc'd. */
static char *wire_text(const struct http_stream *s, const char *event, const char *text)
{
    char *out;
    int n = s->kind == HTTP_STREAM_JSON ? asprintf(&out, "%s", text)
            : event ? asprintf(&out, "event: %s\ndata: %s\n\n", event, text)
                    : asprintf(&out, "data: %s\n\n", text);
    return n < 0 ? NULL : out;
}

/* Takes `text`. Only a producer has files, and it runs when the last body is gone. */
static bool send_body(struct http_stream *s, char *text)
{
    assert(!s->body);
    struct http_body *body = http_body_new(s->req, text);
    pthread_mutex_lock(&s->req->lock);
    s->body = body;
    s->ended = s->ended || !body;
    pthread_mutex_unlock(&s->req->lock);
    http_wait_wake(s->req);
    return body;
}

bool http_stream_json(struct http_stream *s, const char *event, struct cJSON *json)
{
    char *printed = json ? json_text_print(json) : NULL;
    char *text = printed ? wire_text(s, event, printed) : NULL;
    cJSON_free(printed);
    cJSON_Delete(json);
    if (text && s->req->files)
        return send_body(s, text);
    bool ok = text && http_stream_write(s, text, strlen(text));
    free(text);
    return ok;
}

struct cJSON *http_stream_base64(struct http_stream *s, char *path, size_t size)
{
    return http_reply_base64(s->req, path, size);
}

void http_stream_wake(struct http_stream *s)
{
    pthread_mutex_lock(&s->req->lock);
    s->woken = true;
    pthread_mutex_unlock(&s->req->lock);
    http_wait_wake(s->req);
}

static void drop_buffer(struct http_stream *s)
{
    http_client_count(s->req, HTTP_ANSWERS, s->capacity, 0);
    free(s->buffer);
    s->buffer = NULL;
    s->capacity = 0;
}

/* Takes what is buffered, up to `max`; 0 when nothing is. */
static size_t take(struct http_stream *s, char *out, size_t max)
{
    size_t n = s->size - s->at < max ? s->size - s->at : max;
    if (n > 0)
        memcpy(out, s->buffer + s->at, n);
    s->at += n;
    s->req->sent += n;
    if (s->at == s->size)
        s->at = s->size = 0;
    if (s->size == 0 && s->capacity > STREAM_BLOCK)
        drop_buffer(s);
    return n;
}

/* Takes what the body has; 0: nothing, or what is buffered goes first; -1: a picture cannot be
 * read. Nobody else writes while there is a body, so the disk is read without the lock. */
static ssize_t take_body(struct http_stream *s, char *out, size_t max)
{
    if (!s->body || s->size > 0)
        return 0;
    ssize_t n = http_body_read(s->body, out, max);
    if (n > 0) {
        s->req->sent += (size_t)n;
        return n;
    }
    pthread_mutex_lock(&s->req->lock);
    http_body_free(s->body);
    s->body = NULL;
    s->sent_ms = now_ms();
    pthread_mutex_unlock(&s->req->lock);
    return n;
}

static void run_producer(struct http_request *req)
{
    struct http_stream *s = req->stream;
    if (s->produce(s, s->ctx))
        return;
    pthread_mutex_lock(&req->lock);
    s->ended = true;
    pthread_mutex_unlock(&req->lock);
}

/* libmicrohttpd asks for more of the body. */
static ssize_t read_stream(void *cls, uint64_t pos, char *out, size_t max)
{
    struct http_stream *s = cls;
    struct http_request *req = s->req;
    http_apart_back(req); /* the producer was, when it is called again */
    for (;;) {
        ssize_t n = take_body(s, out, max);
        if (n != 0)
            return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
        pthread_mutex_lock(&req->lock);
        n = (ssize_t)take(s, out, max);
        /* While there is no room, s->woken stays for http_stream_tick. */
        bool ended = s->ended, gone = req->gone;
        bool look = s->woken && !http_client_full(req, HTTP_ANSWERS);
        if (n == 0)
            req->notified = false;
        if (n == 0 && look)
            s->woken = false;
        if (n == 0)
            s->looked_ms = now_ms();
        pthread_mutex_unlock(&req->lock);
        if (n > 0)
            return n;
        if (gone)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        /* What came before the server stopped is still told. */
        if (ended || (!look && req->http->stopping))
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (!http_wait_allowed(req))
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (!look && http_wait_suspend(req))
            return 0;
        if (look && !http_apart_is_wanted(req))
            run_producer(req);
        else if (look && http_apart(req, run_producer))
            return 0;
        http_apart_back(req);
    }
}

struct http_stream *http_stream_start(struct http_request *req, enum http_stream_kind kind,
                                      http_stream_fn *produce, void (*free_fn)(void *ctx),
                                      void *ctx)
{
    struct err err;
    struct MHD_Response *response = NULL;
    struct http_stream *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(&err, ERR_INTERNAL, "no memory for a stream");
        goto fail;
    }
    int64_t now = now_ms();
    *s = (struct http_stream){.req = req,
                              .kind = kind,
                              .produce = produce,
                              .sent_ms = now,
                              .looked_ms = now,
                              .woken = true};
    response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, s, NULL);
    if (!response) {
        err_set(&err, ERR_INTERNAL, "no memory for a stream");
        goto fail;
    }
    if (!http_wait_watch(req, &err))
        goto fail;
    s->free_fn = free_fn;
    s->ctx = ctx;
    pthread_mutex_lock(&req->lock);
    req->stream = s;
    pthread_mutex_unlock(&req->lock);
    http_reply_set(req, 200, response,
                   kind == HTTP_STREAM_EVENTS ? "text/event-stream" : "application/json", 0);
    /* nginx would collect events until its buffer is full. */
    http_reply_header(req, "X-Accel-Buffering", "no");
    return s;

fail:
    if (response)
        MHD_destroy_response(response);
    free(s);
    if (free_fn)
        free_fn(ctx);
    http_reply_error(req, &err, NULL);
    return NULL;
}

void http_stream_free(struct http_stream *s)
{
    if (!s)
        return;
    if (s->free_fn)
        s->free_fn(s->ctx);
    drop_buffer(s);
    http_body_free(s->body);
    free(s);
}

bool http_stream_tick(struct http_stream *s, int64_t now)
{
    bool look = now - s->looked_ms >= HTTP_RECHECK_MS;
    s->woken = s->woken || look;
    if (s->size > 0 || s->body || now - s->sent_ms < PING_MS)
        return look;
    return s->kind == HTTP_STREAM_EVENTS ? append(s, ": ping\n\n", 8) : append(s, " ", 1);
}
