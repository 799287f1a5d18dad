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

#define HTTP_HEADERS_MAX 28
#define HTTP_RECHECK_MS 5000 /* a request that waits looks at least so often */

enum http_memory { HTTP_BODIES, HTTP_ANSWERS, HTTP_MEMORY_KINDS };

/* An address or a key, and what it holds. Under http->lock. */
struct http_client {
    char name[80];  /* "address 192.0.2.1", "key 0123456789abcdef" */
    int users;      /* who point here */
    int strangers;  /* its connections that have not shown yet that they may be here */
    int requests;   /* that are being served */
    atomic_size_t held[HTTP_MEMORY_KINDS]; /* bytes; http_client_count needs no lock */
    struct http_client *next;
};

struct http_connection {
    int fd;
    _Atomic int64_t deadline;     /* monotonic: of a complete request; 0 while one is served */
    bool stranger;                /* none of its requests has passed the gate; under http->lock */
    struct http_client *address;  /* NULL: no memory for it */
    struct http_connection *next, *previous; /* newest first */
};

struct http {
    struct http_options options;
    struct MHD_Daemon *daemon;
    struct hangup *hangup;
    struct http_work *work, *far, *far_on; /* http_work_far's, http_work_far_on's */
    struct http_apart *apart; /* NULL: there is no bucket to wait for, */
    struct http_work *stored; /* and this is */
    struct rate *rate;     /* of a key's requests; NULL: there is no limit */
    struct rate *failures; /* of an address's wrong passwords */
    int port;
    bool loopback;
    atomic_bool stopping;
    atomic_size_t held[HTTP_MEMORY_KINDS]; /* bytes, of all clients */
    pthread_mutex_t lock;                  /* what follows */
    struct http_client *clients;
    int strangers;
    struct http_request *requests;
    struct http_connection *connections;
    struct http_stats stats;
};

/* What a thread of http_apart.c does with a request. */
enum http_apart_state { HTTP_APART_NOT, HTTP_APART_BUSY, HTTP_APART_DONE };

struct http_wait {
    bool active;
    const struct http_waiter *waiter; /* NULL: it never waited */
    void *ctx;
    int64_t checked_ms;
    bool looked, again;            /* of the last look: it has replied; it waits for more */
    bool stopping;                 /* the server was stopping before the last look */
    bool looking;                  /* its look is being called, */
    const struct http_waiter *next; /* which wants to wait for something else, or NULL */
    void *next_ctx;
};

struct http_request {
    struct http *http;
    struct MHD_Connection *conn;
    struct http_connection *connection;
    struct http_client *client; /* NULL: no memory for it, or it was sent away */
    int fd;
    const char *method, *path; /* as long as the request; the path without runs of slashes */
    struct access_request access;
    char id[65], remote[INET6_ADDRSTRLEN];
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
    char *sent_body; /* as it came, once another one has taken its place; or NULL */
    size_t sent_size;
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

    void (*apart_piece)(struct http_request *req);
    struct http_request *apart_next; /* of http_apart.c */
    bool away; /* apart, when libmicrohttpd's thread left it */

    pthread_mutex_t lock;
    bool notified, suspended, gone;
    enum http_apart_state apart;

    struct http_request *next, *previous; /* under http->lock */
};

/* ---- http.c ---- */

/* `size` bytes that live as long as the request; NULL without memory. */
char *http_keep_string(struct http_request *req, size_t size);

/* ---- http_listen.c ---- */

/* A socket that listens where the settings say; -1: `err`. Fills port and loopback. */
int http_listen(struct http *http, struct err *err);

/* ---- http_head.c ---- */

/* Before everything else: 0, or the status of the refusal. Sets the request's path and Host. */
int http_head_check(struct http_request *req, const char *version, struct err *err);

/* Whether the query has only parameters that the route knows, each with a value where it is no free
 * text, else *param is the first that is wrong; a dialect that is not strict about unknown ones has
 * them named in the answer. */
bool http_head_query(struct http_request *req, const char **param, struct err *err);
/* The value of a header of which there must be one alone: NULL where there is none, "" where there
 * are more, a client's own before that of a proxy that adds it. */
const char *http_head_single(const struct http_request *req, const char *name);
/* The request's name in the log: the client's own, or one of ours. */
void http_head_name(struct http_request *req);

/* ---- http_connection.c ---- */

/* A connection begins or ends: what libmicrohttpd calls. */
void http_connection_notify(void *cls, struct MHD_Connection *conn, void **context,
                            enum MHD_ConnectionNotificationCode code);
/* By when a complete request must have come; 0: it has. `c` NULL: there was no memory for it. */
void http_connection_deadline(struct http_connection *c, int64_t deadline);
/* A request of it has passed the gate. */
void http_connection_known(struct http *http, struct http_connection *c);
/* Once a second: ends connections from which no request will come. */
void http_connection_tick(struct http *http, int64_t now);

/* ---- http_client.c ---- */

/* With the lock held. NULL without memory. */
struct http_client *http_client_join(struct http *http, const char *name);
void http_client_leave(struct http *http, struct http_client *client); /* NULL is fine */

/* From now on the request is this client's. False, and nobody's: more than `most` would be open. */
bool http_client_enter(struct http_request *req, const char *name, int most);
void http_client_exit(struct http_request *req);

/* The request holds `now` bytes and no longer `was`. False: its client has its share. Less is
 * always fine. */
bool http_client_hold(struct http_request *req, enum http_memory kind, size_t was, size_t now);
/* As http_client_hold, for what is there already and cannot be refused. Any thread, with any lock
 * held, between the gates and http_client_exit. */
void http_client_count(struct http_request *req, enum http_memory kind, size_t was, size_t now);
/* Whether the request's client holds its share, or all clients together hold too much. */
bool http_client_full(const struct http_request *req, enum http_memory kind);

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

/* After the handler, and after a look that was apart: goes on with what it waits for. */
void http_wait_begin(struct http_request *req);
void http_wait_go_on(struct http_request *req);

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

/* ---- http_part.c ---- */

/* What is sent of an answer that a GET can have parts of: one with an ETag (http_reply_header). */
struct http_part {
    int status; /* 206, or what the whole answer has */
    size_t first, count, size;
    bool offered;
};
/* False: the part that the request asks for is not there, and 416 was replied. */
bool http_part_look(struct http_request *req, int status, size_t size, struct http_part *part);
/* Adds the part's headers to the reply that was just set. */
void http_part_headers(struct http_request *req, const struct http_part *part);

/* ---- http_body.c ---- */

/* `text` (cJSON's, taken) with the files of http_reply_base64, which are then forgotten, in their
 * places; returned owned. NULL only without memory. */
struct http_body *http_body_new(struct http_request *req, char *text);
/* Up to `max` bytes of what comes next; 0: that was all; -1: a file cannot be read. */
ssize_t http_body_read(struct http_body *b, char *out, size_t max);
void http_body_free(struct http_body *b); /* NULL is fine */

/* Replies with what http_body_new makes of `text`. */
void http_body_reply(struct http_request *req, int status, const char *mime, char *text);
void http_body_forget(struct http_request *req);

/* ---- http_work.c ---- */

struct http_work *http_work_new(int threads, struct err *err); /* 4 at most */
void http_work_free(struct http_work *w); /* no request is left; NULL is fine */

/* ---- http_apart.c ---- */

struct http_apart *http_apart_new(struct err *err);
void http_apart_free(struct http_apart *a); /* no request is left; NULL is fine */
/* Whether what the request's route does may wait for a bucket. */
bool http_apart_is_wanted(const struct http_request *req);
/* False: as many as may are apart, and 503 was replied. */
bool http_apart_room(struct http_request *req);
/* On libmicrohttpd's thread: `piece` is done by a thread apart, until when the request is nobody
 * else's. False: it is done already; else the connection is suspended, and libmicrohttpd calls
 * again when it is done. Either way http_apart_back is next. */
bool http_apart(struct http_request *req, void (*piece)(struct http_request *req));
/* Whether a piece has been done; it is forgotten. */
bool http_apart_back(struct http_request *req);
bool http_apart_is_busy(struct http_request *req);

/* ---- http_stream.c ---- */

/* A keep-alive byte or two and a look by the producer, when it is time. Under req->lock; true: wake
 * it. */
bool http_stream_tick(struct http_stream *s, int64_t now);
void http_stream_free(struct http_stream *s); /* NULL is fine */

#endif
