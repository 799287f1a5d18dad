/* http.h: requests in, replies out. The only file that knows libmicrohttpd is http.c.
 *
 * A handler runs on one of a few server threads with the complete, bounded body in memory; routing,
 * Host and Origin checks, the key and the body limit have been dealt with before it is called. It
 * does exactly one of these, and returns:
 *
 *     http_reply_*(req, ...)                      answers now
 *     http_wait(req, waiter, ctx)                 answers from waiter->look when it has been woken
 *     http_stream_start(req, ...)                 answers with server-sent events
 *     http_work(req, work, reply, ctx, free)      answers from `reply` when `work` is done
 *
 * A handler must not wait for anything slower than the disk; waiting holds a suspended connection
 * and no thread. One of a route that paints or stores may wait for the bucket, if there is one: it
 * runs apart then, as do its waiters' looks and its stream's producer (http_apart.c). An answer
 * that lies in memory until its client has read it counts against max_answers_bytes; without room
 * there the client gets 503 instead. Strings are borrowed from the request and live as long as it;
 * the body lives until the handler returns. Every reply carries x-request-id and the security
 * headers. */
#ifndef PICTOR_SERVER_HTTP_H
#define PICTOR_SERVER_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/http/route.h"

struct access_grant;
struct access_request;
struct app;
struct cJSON;
struct http;
struct http_request;
struct http_stream;
struct settings;

/* Whether the key that a request presents opens the routes that need one; if so fills `out`. */
typedef bool http_gate_fn(const struct app *app, const struct access_request *r,
                          struct access_grant *out, struct err *err);

struct http_options {
    const struct settings *settings;
    const struct app *app; /* what http_app gives the handlers; http knows nothing of it */
    const struct route_table *routes;
    http_gate_fn *gate;
    /* Adds headers to the answer of a route that paints, to a key that is `limited`. */
    void (*limits)(struct http_request *req, int status);
};

/* Listens where the settings say and serves until http_stop. Borrows what the options name. */
struct http *http_start(const struct http_options *options, struct err *err);

/* The port that is listened on (settings may say 0: any free one). */
int http_port(const struct http *http);

/* Stops accepting, answers waiting requests with 503, ends streams, and returns when every thread
 * is gone. NULL is fine. */
void http_stop(struct http *http);

/* ---- the request ---- */

const struct app *http_app(const struct http_request *req);
const char *http_path(const struct http_request *req); /* without the query */

/* The part of the path that matched `{name}` in the route, percent-decoded; "" if it has none. */
const char *http_param(const struct http_request *req, const char *name);

/* A query value, decoded; NULL when absent. Only what a dialect has in `free_query` can be "", as
 * of "?flag". */
const char *http_query(struct http_request *req, const char *name);

/* One that is a whole number of at least `least` and at most `most`, in decimal digits alone;
 * `fallback` when it is absent. */
bool http_query_number(struct http_request *req, const char *name, int64_t least, int64_t most,
                       int64_t fallback, int64_t *out, struct err *err);

/* One that is true or false, 1 or 0; false when it is absent. */
bool http_query_flag(struct http_request *req, const char *name, bool *out, struct err *err);

/* A request header, any case; NULL when absent. */
const char *http_header(const struct http_request *req, const char *name);

/* The body, followed by a NUL that is not counted. Never NULL; size 0 when there is none. */
const char *http_body(const struct http_request *req, size_t *size);

/* Takes bytes (malloc'd, with a NUL behind) in the place of the body, for a handler that comes
 * after this one, and what the body was when it came (it is dropped when a request begins to wait;
 * NULL: nobody asks). http_body_sent is that, or the body. */
void http_set_body(struct http_request *req, char *text, size_t size, char *sent);
const char *http_body_sent(const struct http_request *req, size_t *size);

/* Whether Content-Type names this type, whatever its parameters and case ("application/json" also
 * matches application/anything+json). False when there is no such header. */
bool http_content_type_is(const struct http_request *req, const char *type);

/* The body as JSON of any type, whatever the Content-Type says. Refuses (ERR_INVALID) invalid
 * UTF-8, \u0000, nesting deeper than max_json_depth, a name twice in an object, text after the
 * value, and an empty body.
 * Returns owned (cJSON_Delete). */
struct cJSON *http_json(const struct http_request *req, struct err *err);

int64_t http_started_ms(const struct http_request *req); /* Unix milliseconds */

/* "http://host:port" as the client addressed us (Host, X-Forwarded-Proto): for links in answers. */
const char *http_base_url(struct http_request *req);

/* Whose request it is: the key's id, or "" when the server has no keys. */
const char *http_key_id(const struct http_request *req);
/* Its name in the log: the client's X-Request-Id, or one of our own. */
const char *http_request_id(const struct http_request *req);

/* What to pass to queue_get and queue_list: the key's id, or NULL when this client may see every
 * job (no keys, or an admin key). */
const char *http_visible_key(const struct http_request *req);
bool http_is_admin(const struct http_request *req);

/* What is left of max_requests_per_minute for the request's key: how many more could come now, and
 * in how many milliseconds it is all of them again. False: it has no such limit. */
bool http_rate_left(const struct http_request *req, int *left, int64_t *full_ms);

/* ---- replies: exactly one a request ---- */

/* Adds a header to the reply that follows. */
void http_reply_header(struct http_request *req, const char *name, const char *value);

void http_reply_json(struct http_request *req, int status, struct cJSON *json); /* takes json */
void http_reply_text(struct http_request *req, int status, const char *mime, const char *text);
void http_reply_empty(struct http_request *req, int status);

/* `free_fn` NULL: the bytes are constant and outlive the server; else it takes `data`. */
void http_reply_data(struct http_request *req, int status, const char *mime, void *data,
                     size_t size, void (*free_fn)(void *));

/* A file of `size` bytes, sent from the disk as the client reads. Takes the descriptor. */
void http_reply_file(struct http_request *req, int status, const char *mime, int fd, size_t size);

/* A string for the JSON of this request's reply whose text will be the file's `size` bytes in
 * base64, read as the client reads. They are asked for in the order in which they stand in the
 * JSON. Takes `path` (malloc'd); NULL only without memory. */
struct cJSON *http_reply_base64(struct http_request *req, char *path, size_t size);

/* An error in the shape of the route's dialect. `param` names the field to blame, or is NULL. */
void http_reply_error(struct http_request *req, const struct err *err, const char *param);

/* ---- waiting ---- */

struct http_waiter {
    /* On a server thread, at once, after http_wait_wake and every few seconds: whether there was
     * what the request waits for; then it has replied. */
    bool (*look)(struct http_request *req, void *ctx);
    /* Without a reply of `look`: the client went away, or the server stops. May be NULL. */
    void (*leave)(void *ctx);
    /* At the end of the request, always. After it, nobody may wake the request. */
    void (*free)(void *ctx);
};

/* Suspends the connection until waiter->look replies. Call it last in the handler, or in a look
 * that returns true without a reply: then the request waits for this from now on, and the waiter
 * that looked is freed. */
void http_wait(struct http_request *req, const struct http_waiter *waiter, void *ctx);

/* Any thread, while the request waits or streams: it will look again soon. */
void http_wait_wake(struct http_request *req);

/* ---- work that takes longer than the disk ---- */

/* Does a piece; true: there is more. *gone becomes true when nobody waits for it any more. */
typedef bool http_work_fn(void *ctx, const atomic_bool *gone);
typedef void http_reply_fn(struct http_request *req, void *ctx);

/* Suspends the connection while one of a few threads for such things works, each on one piece at a
 * time, of all requests in turn; then `reply` replies. Without `reply` when the client goes away
 * first or the server stops. 429 when there is too much to do. `free_fn` always gets ctx, which
 * must hold nothing of the request: it may outlive it. Call it where http_wait is called. */
void http_work(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
               void (*free_fn)(void *ctx));

/* The same for a request that is not told to come again: it has waited for something already, or
 * holds next to nothing. */
void http_work_on(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                  void (*free_fn)(void *ctx));

/* As http_work_on, for what writes or reads a file that may be in a bucket. (http_work and
 * http_work_on of routes that paint or store do so by themselves.) */
void http_work_stored(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                      void (*free_fn)(void *ctx));

/* As http_work, for what waits for other servers, on threads of its own. */
void http_work_far(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                   void (*free_fn)(void *ctx));
/* The same, as http_work_on, on other threads: it holds next to nothing until its turn comes, and
 * does not wait behind chat models. */
void http_work_far_on(struct http_request *req, http_work_fn *work, http_reply_fn *reply, void *ctx,
                      void (*free_fn)(void *ctx));

/* ---- replies that grow: server-sent events ---- */

/* Runs on a server thread, never twice at a time for one stream, after http_stream_wake and once at
 * the start, and only when all that was sent before is on its way to the client: so a slow client
 * holds up its own producer, not memory. Sends what there is; returns false to end the stream. */
typedef bool http_stream_fn(struct http_stream *stream, void *ctx);

enum http_stream_kind {
    HTTP_STREAM_EVENTS, /* text/event-stream; a comment `: ping` every 15 s of silence */
    HTTP_STREAM_JSON    /* application/json; a space every 15 s of silence */
};

/* Answers 200. `free_fn` gets ctx when the stream is over, however it ended: it unsubscribes. NULL
 * when the reply became an error (no memory, server stopping); ctx is then freed. The stream is
 * valid until free_fn returns. */
struct http_stream *http_stream_start(struct http_request *req, enum http_stream_kind kind,
                                      http_stream_fn *produce, void (*free_fn)(void *ctx),
                                      void *ctx);

/* Any thread, also from an events callback: `produce` will run soon. */
void http_stream_wake(struct http_stream *stream);

/* Queues one event (`event` may be NULL; `json` is taken; of HTTP_STREAM_JSON the text alone), or
 * bytes as they are. Any thread. False when the client has let more than 64 MiB pile up (the stream
 * is then ended) or memory is short. */
bool http_stream_write(struct http_stream *stream, const char *data, size_t size);
bool http_stream_json(struct http_stream *stream, const char *event, struct cJSON *json);
/* As http_reply_base64, for the next http_stream_json, which must be the last thing that a call of
 * the producer sends. In a producer only. */
struct cJSON *http_stream_base64(struct http_stream *stream, char *path, size_t size);

/* ---- figures ---- */

#define HTTP_STATS_CLASSES 6 /* status / 100 */

struct http_stats {
    int connections, waiting, streams;
    int dialect_count; /* as in the table of routes */
    struct http_stats_dialect {
        const char *name;
        unsigned long long requests[HTTP_STATS_CLASSES];
        double seconds; /* from first header to last byte */
    } dialects[ROUTE_DIALECTS_MAX];
};
void http_stats(const struct http_request *req, struct http_stats *out);

#endif
