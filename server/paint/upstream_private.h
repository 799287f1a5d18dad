/* upstream_private.h: what upstream.c and upstream_order.c share; nobody else includes it. */
#ifndef PICTOR_SERVER_UPSTREAM_PRIVATE_H
#define PICTOR_SERVER_UPSTREAM_PRIVATE_H

#include "server/paint/upstream.h"

#include <pthread.h>
#include <stdbool.h>

#include "server/job/job.h"
#include "server/job/registry.h"
#include "server/paint/breaker.h"
#include "server/paint/dispatch.h"
#include "server/queue/queue.h"

struct cJSON;
struct refusal;

/* Something that may be well or not, and why it was not. */
struct health {
    struct breaker breaker;
    char last_error[256];
};

/* A model that cannot be loaded there says nothing about its neighbours, so each has a breaker of
 * its own; the server's is for what concerns all: it cannot be reached, or refuses our key. */
struct server {
    const struct settings_upstream *settings;
    struct health health, *models; /* as many as settings->models, and one more for no model */
    int running;
    bool sdapi;
};

/* A job that is out: all of it belongs to the thread of the transfers. */
struct errand {
    struct upstream *upstream;
    struct errand *next;
    struct job job;
    struct claim claim;
    struct server *server;
    struct health *model; /* of the server's models; never NULL when server is not */
    char remote[REGISTRY_NAME_SIZE];
    void *init, *mask;
    size_t init_size, mask_size;
    struct fetch_transfer *transfer;
    struct fetch_transfer *watch; /* asks how far it is, meanwhile */
    int64_t watch_at;
    struct cJSON *answer; /* whose pictures are being taken */
    int item;             /* the next of them */
    char *revised;        /* what the one before was painted of, by its own word; or NULL */
    int index;            /* of the next picture */
    int pictures;         /* stored by us */
    struct job_order order; /* that is out, or was not carried out; token "": none */
    int retries;
    int64_t retry_at; /* 0: no retry is due */
    int64_t started, heartbeat;
    bool asking; /* the breaker let it through and waits to hear how it went */
    bool over;   /* its outcome is told; freed by the loop */
};

struct upstream {
    struct dispatch_parts parts;
    struct fetch *fetch;
    pthread_t thread;
    struct subscription *subscription;
    struct server *servers;
    size_t server_count;
    struct errand *errands; /* changed by the thread under `lock`; others may look for ids */

    pthread_mutex_t lock;
    bool stop, look, ask;
    int64_t stop_at;
    int running; /* errands */
    struct dispatch_stats stats;
};

/* ---- upstream.c: how an errand ends; the loop frees it, its caller may still be at work ---- */

/* `e` NULL: it is about none. */
void upstream_log(const char *event, const struct errand *e, const struct err *err);
/* `told`: the queue knows; else `err` says why not. */
void upstream_end(struct errand *e, const char *outcome, bool told, const struct err *err);
/* `refusal` NULL: the upstream did not say anything. */
void upstream_refuse(struct errand *e, const struct err *why, const struct refusal *refusal);
void upstream_fail(struct errand *e, const struct err *why);
void upstream_finish(struct errand *e);
void upstream_put_back(struct errand *e);
/* Prolongs the leases for which it is time, while the thread is at work on something long; what
 * became of the jobs is asked after that, as ever. */
void upstream_keep_leases(struct upstream *u);
bool upstream_stops(struct upstream *u);

/* ---- upstream_order.c ---- */

/* Whether pictures may be ordered: not while nobody knows what came of an earlier order. */
bool upstream_order_allowed(struct errand *e, struct err *err);

/* Orders the missing pictures from e->index on, as many as are missing in a row. */
void upstream_order_next(struct errand *e);

/* Nobody waits for the order any more: tells the server, where it can be told and the order is the
 * one that it works on. */
void upstream_order_interrupt(struct errand *e);

/* Asks how far the order is, where that can be asked and it is time. */
void upstream_order_watch(struct errand *e, int64_t now);

#endif
