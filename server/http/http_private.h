/* http_private.h: what the files http*.c share. Nobody else includes it; together they are "the
 * only file" that knows libmicrohttpd. */
#ifndef PICTOR_SERVER_HTTP_PRIVATE_H
#define PICTOR_SERVER_HTTP_PRIVATE_H

#include "server/http/http.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/http/access.h"
#include "server/http/http_error.h"
#include "server/http/route.h"

#define HTTP_HEADERS_MAX 16
#define HTTP_RECHECK_MS 5000 /* a request that waits looks at least so often */

struct http_connection {
    int fd;
    /* Monotonic: when its last byte came, as far as we are told, of a request that is not complete;
     * 0 while one is served. */
    _Atomic int64_t waits_since;
    struct http_connection *next, *previous;
};

struct http {
    struct http_options options;
    struct MHD_Daemon *daemon;
    struct hangup *hangup;
    struct http_work *work;
    struct rate *rate; /* NULL: there is no limit */
    int port;
    bool loopback;
    atomic_bool stopping;
    atomic_size_t body_bytes, answer_bytes;
    pthread_mutex_t lock; /* what follows */
    struct http_request *requests;
    struct http_connection *connections;
    struct http_stats stats;
};

struct http_wait {
    bool active;
    const struct http_waiter *waiter; /* NULL: it never waited */
    void *ctx;
    int64_t checked_ms;
};

struct http_request {
    struct http *http;
    struct MHD_Connection *conn;
    struct http_connection *connection;
    int fd;
    const char *method, *path; /* as long as the request; the path without runs of slashes */
    struct access_request access;
    char id[37], remote[INET6_ADDRSTRLEN];
    int64_t created_ms, started_ms; /* monotonic, Unix */
    int64_t allowed_ms;             /* when its key was looked at; monotonic */
    const struct route *route;
    int dialect;
    struct route_params params;
    struct access_grant grant;

    bool refused; /* by a gate: `refusal` is the answer */
    bool broken;  /* where it ends is unknown: answered at once, and closed */
    struct http_problem refusal;
    struct err refusal_err;
    char allow[64];

    char *body;
    size_t body_size, body_capacity, body_limit, received;
    bool dispatched;
    bool abandoned; /* the client left while it waited: close */

    struct MHD_Response *response;
    int status;
    bool queued;
    size_t sent; /* body bytes of the answer */
    size_t held; /* of the answer, in memory */
    struct http_file *files; /* whose base64 it has */
    struct {
        char *name, *value;
    } headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct string {
        struct string *next;
        char text[];
    } * strings;

    struct http_wait wait;
    struct http_stream *stream;
    bool watched;

    pthread_mutex_t lock;
    bool notified, suspended, gone;

    struct http_request *next, *previous; /* under http->lock */
};

/* ---- http.c ---- */

/* `size` bytes that live as long as the request; NULL without memory. */
char *http_keep_string(struct http_request *req, size_t size);

/* ---- http_head.c ---- */

/* Before everything else: 0, or the status of the refusal. Sets the request's path and Host. */
int http_head_check(struct http_request *req, const char *version, struct err *err);

/* Whether the query has only parameters that the route knows, else *param is the first other one;
 * a dialect that is not strict about them has them named in the answer. */
bool http_head_query(struct http_request *req, const char **param, struct err *err);

/* ---- http_connection.c ---- */

/* A connection begins or ends: what libmicrohttpd calls. */
void http_connection_notify(void *cls, struct MHD_Connection *conn, void **context,
                            enum MHD_ConnectionNotificationCode code);
/* More of a request has come (`now`), or all of it (0). `c` NULL: there was no memory for it. */
void http_connection_waits(struct http_connection *c, int64_t now);
/* Once a second: ends connections from which no request will come. */
void http_connection_tick(struct http *http, int64_t now);

/* ---- http_wait.c ---- */

/* On libmicrohttpd's thread. False when there is something to look at first. */
bool http_wait_suspend(struct http_request *req);

/* From now on a client that leaves wakes the request. */
bool http_wait_watch(struct http_request *req, struct err *err);

/* Replies if there is what it waits for, else suspends (again). */
void http_wait_step(struct http_request *req);

/* Whether its key still opens its route; looked at every HTTP_RECHECK_MS. On libmicrohttpd's
 * thread. */
bool http_wait_allowed(struct http_request *req);

/* Answers 503. */
void http_wait_refuse_stopping(struct http_request *req);

/* The request ends while it still waits. */
void http_wait_abandon(struct http_request *req);

/* ---- http_reply.c ---- */

/* Replaces the reply, if there is one; takes `response`. NULL (no memory) leaves none. */
void http_reply_set(struct http_request *req, int status, struct MHD_Response *response,
                    const char *mime, size_t size);
void http_reply_problem(struct http_request *req, const struct http_problem *problem);

/* Hands the reply over, with the headers that every reply has. */
enum MHD_Result http_reply_queue(struct http_request *req);

/* Counts what an answer holds in memory, instead of what it held before. False: there is no room
 * for it now; http_reply_full then says so to the client. */
bool http_reply_hold(struct http_request *req, size_t size);
void http_reply_full(struct http_request *req);
/* Whether there is no room for more than small answers. */
bool http_reply_no_room(const struct http *http);

/* ---- http_body.c ---- */

/* Replies with `text` (cJSON's, taken), the files of http_reply_base64 in their places. */
void http_body_reply(struct http_request *req, int status, const char *mime, char *text);
void http_body_forget(struct http_request *req);

/* ---- http_work.c ---- */

struct http_work *http_work_new(struct err *err);
void http_work_free(struct http_work *w); /* no request is left; NULL is fine */

/* ---- http_stream.c ---- */

/* A keep-alive byte or two and a look by the producer, when it is time. Under req->lock; true: wake
 * it. */
bool http_stream_tick(struct http_stream *s, int64_t now);
void http_stream_free(struct http_stream *s); /* NULL is fine */

#endif
