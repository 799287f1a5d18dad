/* job_wait.h: a request that is answered when its job is final. */
#ifndef PICTOR_SERVER_JOB_WAIT_H
#define PICTOR_SERVER_JOB_WAIT_H

#include <stdbool.h>

struct http_request;
struct job;

/* `job` is final and borrowed for the call; this function replies. */
typedef void job_wait_fn(struct http_request *req, const struct job *job, void *ctx);

/* Suspends the connection until the job is final. When the client goes away first, or the server
 * stops, `fn` is not called; then the job is cancelled unless `keep`. `free_fn` (may be NULL)
 * always gets ctx at the end of the request, or when `fn` has returned without a reply: it may call
 * job_wait or http_work instead. Call it last in the handler. */
void job_wait(struct http_request *req, const char *job_id, bool keep, job_wait_fn *fn, void *ctx,
              void (*free_fn)(void *ctx));

#endif
