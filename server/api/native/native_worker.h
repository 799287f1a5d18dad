/* native_worker.h: what workers on other machines ask for (server/remote/remote.h), with keys that
 * open nothing else. A worker says of each job by which claim it holds it (token) and who it is
 * (worker); a job that it does not hold is 404, one that was cancelled 409. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_WORKER_H
#define PICTOR_SERVER_NATIVE_WORKER_H

#include "server/paint/afar.h"
#include "server/paint/dispatch.h"
#include "server/queue/queue.h"

struct app;
struct cJSON;
struct http_request;
struct settings;
struct task;

void native_worker_claim(struct http_request *req); /* POST /api/worker/claim */
void native_worker_order(struct http_request *req); /* GET /api/worker/jobs/{id}/order */

/* ---- for native_worker_run.c ---- */

/* A request about a job that the worker holds; copies, so that it may outlive the request. */
struct native_worker_call {
    const struct app *app;
    struct dispatch_parts parts;
    struct claim claim;
    char owner[AFAR_OWNER_SIZE];
    struct queue_held held;
    int index;
};

void native_worker_parts(const struct app *app, struct dispatch_parts *out);

/* Reads path and query; false: it has replied. */
bool native_worker_call(struct http_request *req, struct native_worker_call *out);

/* The call's job, open for its picture; NULL: not held any more, or `err`. Slow. */
struct task *native_worker_open(const struct native_worker_call *call, struct err *err);

struct cJSON *native_worker_claim_schema(const struct settings *settings);

#endif
