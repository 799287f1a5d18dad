/* fetch.h: HTTP as a client. The only files that know libcurl are fetch.c, fetch_url.c and, for
 * pictures in a bucket, store/bucket.c.
 *
 * A struct fetch runs any number of transfers on the thread that calls fetch_run; only fetch_wake
 * may be called from others. Redirects are not followed, so a key goes nowhere but to the server it
 * is for; certificates are checked; answers are bounded. A connection is never used twice unless
 * that is asked for: on a kept one that turns out to be dead, a request would be repeated behind
 * our back. */
#ifndef PICTOR_SERVER_FETCH_H
#define PICTOR_SERVER_FETCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/err.h"

struct fetch;
struct fetch_transfer;

struct fetch *fetch_new(struct err *err);
void fetch_free(struct fetch *f); /* aborts what runs; NULL is fine */

/* Performs what can be done, then waits up to `timeout_ms` for more. Calls the callbacks. */
void fetch_run(struct fetch *f, int timeout_ms);
/* The same, and returns when one of the descriptors is ready, too. */
struct pollfd;
void fetch_run_beside(struct fetch *f, const struct pollfd *fds, size_t count, int timeout_ms);
void fetch_wake(struct fetch *f); /* fetch_run returns soon; any thread */

/* A part of a form; `file_name` NULL: plain text. */
struct fetch_part {
    const char *name, *file_name, *type;
    const void *data;
    size_t size;
};

/* Everything is copied. */
struct fetch_request {
    const char *url;                /* http: or https: */
    const char *key;                /* sent as "Authorization: Bearer"; NULL or "": none */
    bool basic; /* the key is "USER:PASSWORD", sent as "Authorization: Basic" */
    const char *token;              /* sent as "Idempotency-Key"; NULL: none */
    const char *about;              /* sent as "X-Request-Id"; NULL: none */
    const char *json;               /* body of a POST; or */
    const void *data;               /* bytes to POST, of `type`; or */
    size_t data_size;
    const char *type;
    const struct fetch_part *parts; /* a form to POST; neither: GET */
    size_t part_count;
    bool keep; /* connections are used again: the request may reach the server twice */
    int timeout_ms;    /* of the whole transfer */
    size_t max_answer; /* bytes of its body */
    /* Called as more of the body has come, with all of it so far but for what it was done with
     * before: returns of how many bytes it is; more than there are ends the transfer. NULL: not.
     * Must not start or abort transfers. */
    size_t (*news)(void *ctx, const char *body, size_t size);
    bool socket; /* asks for a WebSocket, of which `news` gets the bytes (upstream_socket.h) */
};

struct fetch_answer {
    struct err err; /* ERR_NONE when an HTTP answer came, whatever its status */
    bool sent;      /* the server may have seen the request */
    int status;
    int retry_after; /* seconds; -1: not said */
    const char *request_id; /* the server's own name of it; NULL: not said */
    char *body;      /* NUL-terminated, never NULL without err; freed after the callback */
    size_t size;
};
typedef void fetch_fn(void *ctx, const struct fetch_answer *answer);

/* `fn` is called by a later fetch_run, once. Valid until then, or fetch_abort. */
struct fetch_transfer *fetch_start(struct fetch *f, const struct fetch_request *request,
                                   fetch_fn *fn, void *ctx, struct err *err);
void fetch_abort(struct fetch_transfer *t); /* without calling `fn`; NULL is fine */

/* `url` (it may be relative) as an absolute one, if it has the scheme, host and port of `base`.
 * malloc'd; NULL with ERR_UPSTREAM. */
char *fetch_url_within(const char *base, const char *url, struct err *err);

/* What an answer says of the file that it begins; all borrowed. */
struct fetch_head {
    bool restart;     /* it is the whole file, not the rest of it */
    const char *etag; /* or "" */
    const char *type; /* its Content-Type, or "" */
    uint64_t total;   /* bytes of the whole file; 0: unknown */
};

/* A file, to disk, waiting: follows up to 10 redirects (the key is not sent to another host). */
struct fetch_file {
    const char *url, *key;
    FILE *out;        /* written from its position on */
    uint64_t from;    /* bytes that are there already: asks for the rest */
    const char *etag; /* of those bytes, or "": if it changed, everything comes again */
    bool stay;        /* redirects are not followed */
    bool public_only; /* addresses that are not the internet's are refused, behind redirects too */
    /* May be NULL; total 0: unknown. Returns false to stop. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    const atomic_bool *stop; /* set to stop before the answer begins, too; may be NULL */
    /* Called when the answer begins, before any byte. Returns false to stop. */
    bool (*begin)(void *ctx, const struct fetch_head *head);
};
/* ERR_UPSTREAM when the connection broke, among others: what came is in the file. ERR_NO_ROOM when
 * the disk is full. */
bool fetch_file(const struct fetch_file *file, struct err *err);

/* POSTs JSON, waiting up to `timeout_ms`; its answer's body is not read. Redirects are not
 * followed. `headers`: lines "Name: value", up to NULL. False unless the answer's status is 2xx. */
bool fetch_post(const char *url, const char *const *headers, const char *json, int timeout_ms,
                bool public_only, const atomic_bool *stop, struct err *err);

/* GET, waiting, at most `max` bytes, up to 5 redirects; `stop` as above. *body is malloc'd,
 * NUL-terminated. *next (`next` may be NULL) is the address of the server's own that the answer
 * says the rest of it is at, malloc'd, or NULL. */
bool fetch_text(const char *url, const char *key, bool public_only, const atomic_bool *stop,
                size_t max, char **body, char **next, struct err *err);

#endif
