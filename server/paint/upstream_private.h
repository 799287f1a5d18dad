/* upstream_private.h: what the files of the upstreams' thread share; nobody else includes it. */
#ifndef PICTOR_SERVER_UPSTREAM_PRIVATE_H
#define PICTOR_SERVER_UPSTREAM_PRIVATE_H

#include "server/paint/upstream.h"

#include <pthread.h>
#include <stdbool.h>

#include "server/job/job.h"
#include "server/job/registry.h"
#include "server/paint/breaker.h"
#include "server/paint/dispatch.h"
#include "server/paint/upstream_comfy.h"
#include "server/paint/upstream_request.h"
#include "server/paint/upstream_spend.h"
#include "server/paint/upstream_stream.h"
#include "server/queue/queue.h"

struct cJSON;
struct fetch_answer;
struct refusal;

/* Something that may be well or not, and why it was not. */
struct health {
    struct breaker breaker;
    char last_error[256];
};

/* A model that cannot be loaded there says nothing about its neighbours, so each has a breaker of
 * its own; the server's is for what concerns all: it cannot be reached, or refuses our key. */
struct remote_model {
    char *local, *remote;
    struct health health;
    bool listed; /* the server says that it has it; else the settings do */
    bool there;  /* false: it is no longer in the list */
};

struct server {
    struct upstream *upstream;
    const struct settings_upstream *settings;
    struct health health;
    struct remote_model **models; /* by local name; each stays where it is */
    size_t model_count;
    struct spend spend;
    int running;
    int waiting; /* errands that were claimed for another one, and want a seat here */
    bool sdapi;
    struct cJSON *workflow; /* of ComfyUI's; NULL: it is no such server */
    struct fetch_transfer *listing; /* asks for the models */
    int64_t list_at;
    bool list_failed;
};

/* A job that is out: all of it belongs to the thread of the transfers. */
struct errand {
    struct upstream *upstream;
    struct errand *next;
    struct job job;
    struct claim claim;
    struct server *server;
    struct remote_model *model; /* of the server's; never NULL when server is not */
    bool seated;                /* it is counted among those that run there */
    int reserved;               /* pictures that are counted as spent, and did not come yet */
    struct upstream_pictures given;
    struct fetch_transfer *transfer;
    struct fetch_transfer *watch; /* asks how far it is, meanwhile */
    int64_t watch_at;
    int partials; /* asked for; above 0 the answer comes in pieces */
    struct upstream_stream stream;
    struct cJSON *usage;  /* of all answers */
    struct cJSON *answer; /* whose pictures are being taken */
    int item;             /* the next of them */
    char *revised;        /* what the one before was painted of, by its own word; or NULL */
    int index;            /* of the next picture */
    int pictures;         /* stored by us */
    struct job_order order; /* that is out, or was not carried out; token "": none */
    int retries;
    int64_t retry_at; /* 0: no retry is due */
    int64_t started, heartbeat;
    char run[64];         /* of ComfyUI, that paints; "": none does */
    int64_t run_since;
    enum upstream_comfy_place run_place; /* NOWHERE: not known */
    struct job_progress heard;           /* what was told last of it, */
    int64_t heard_at, seen_at;           /* when, and when the last preview came */
    bool uploaded[2];
    int place; /* from 1: which of the names at its server are this one's; 0: none yet */
    char names[2][UPSTREAM_COMFY_NAME]; /* what init and mask are called there */
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
    char who[9]; /* in names of pictures there, so that two of us do not share them */
    struct errand *errands; /* changed by the thread under `lock`; others may look for ids */

    pthread_mutex_t lock;
    bool stop, look, ask;
    int64_t stop_at;
    int running; /* errands */
    struct dispatch_stats stats;
};

/* ---- upstream.c: how an errand ends; the loop frees it, its caller may still be at work ---- */

/* It is not counted at its server any more. */
void upstream_leave_seat(struct errand *e);
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

/* Whether it is an answer, of a status 2xx. */
bool upstream_is_success(const struct fetch_answer *answer);

/* ---- upstream_choose.c ---- */

/* NULL: it has none of that name; `there` says whether it has it now. */
struct remote_model *upstream_model_any(const struct server *s, const char *local);
/* NULL: it has none of that name now. */
struct remote_model *upstream_model(const struct server *s, const char *local);
struct remote_model *upstream_model_add(struct server *s, const char *local, const char *remote,
                                        struct err *err);
void upstream_models_free(struct server *s);

/* Who paints the model, behind `after` (NULL: of all). When none of all is well, it is the first
 * one. False: nobody. */
bool upstream_choose(struct upstream *u, const char *name, const struct server *after,
                     struct server **server, struct remote_model **model);

/* The names of the models of upstreams with room, NULL-terminated; free(names). */
size_t upstream_open_names(struct upstream *u, const char ***names);

/* Whether neither the server nor the model is left alone now, and `count` pictures are within the
 * limits; else `err` says so, and `refusal` if it is these. */
bool upstream_may_ask(struct errand *e, int count, struct refusal *refusal, struct err *err);
/* What an answer, or its absence, says of the server and of the model. */
void upstream_judge(struct errand *e, const struct fetch_answer *answer, const struct err *err);

/* Pictures are about to be ordered; those of them that were not painted. */
bool upstream_spend(struct errand *e, int count, struct err *err);
void upstream_spend_back(struct errand *e);

/* ---- upstream_list.c ---- */

/* Asks for the lists that are due; returns when the next is, or `next`. */
int64_t upstream_list_next(struct upstream *u, int64_t now, int64_t next);
/* Takes the list that is remembered. */
bool upstream_list_recall(struct upstream *u, struct server *s, struct err *err);

/* ---- upstream_order.c ---- */

/* The WebUI's has users and passwords, koboldcpp and others a key. */
bool upstream_is_password(const struct server *s);

/* Whether pictures may be ordered: not while nobody knows what came of an earlier order. */
bool upstream_order_allowed(struct errand *e, struct err *err);

/* Orders the missing pictures from e->index on, as many as are missing in a row. */
void upstream_order_next(struct errand *e);

/* What came of the order: `answer` with e->answer, or `err` and `refusal`. Goes on with what
 * follows. */
void upstream_order_result(struct errand *e, struct fetch_answer *answer, struct err *err,
                           const struct refusal *refusal);
/* What the server says is wrong in an answer of a bad status. */
void upstream_order_explain(const struct errand *e, const struct fetch_answer *answer,
                            struct refusal *refusal, struct err *err);

/* Shows how far the picture is; `preview`: the file of a small one, or NULL. */
void upstream_order_show(struct errand *e, const struct job_progress *progress,
                         const void *preview, size_t size);

/* ---- upstream_run.c: orders of ComfyUI ---- */

#define UPSTREAM_RUN_CLIENT 64
/* Under which name it tells of the job's runs. */
void upstream_run_client(const struct errand *e, char name[UPSTREAM_RUN_CLIENT]);
/* Listens to it, if it is time to try. */
void upstream_run_listen(struct errand *e, int64_t now);

/* Whether pictures have to go there first; then that has begun, or `err` is set. */
bool upstream_run_uploads(struct errand *e, struct err *err);
/* Takes the answer to POST /prompt: the run has begun. */
bool upstream_run_begin(struct errand *e, const struct fetch_answer *answer, struct err *err);
/* Asks whether it is over. */
void upstream_run_ask(struct errand *e);
/* Nobody waits for it any more. */
void upstream_run_stop(struct errand *e);

/* Nobody waits for the order any more: tells the server, where it can be told and the order is the
 * one that it works on. */
void upstream_order_interrupt(struct errand *e);

/* Asks how far the order is, where that can be asked and it is time. */
void upstream_order_watch(struct errand *e, int64_t now);

#endif
