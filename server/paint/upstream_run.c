/* upstream_run.c: orders of ComfyUI: pictures go there, the workflow is queued, and queue and
 * history are asked until it is over; then its picture is fetched from the address that it has.
 * Steps it tells over a WebSocket alone: one is open while the job is there, and nothing but the
 * steps and the previews is lost where there is none. */
#include "server/paint/upstream_private.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/refusal.h"
#include "server/paint/fetch.h"
#include "server/paint/upstream_socket.h"

#define ASK_MS 1000 /* between two questions whether a run is over */
#define ASK_TIMEOUT_MS 20000
#define ANSWER_BYTES ((size_t)16 << 20) /* a history has the workflow in it */
#define ANSWER_DEPTH 64
#define LISTEN_MS (6 * 3600 * 1000) /* then it is opened anew */
#define LISTEN_AGAIN_MS 5000
#define TELL_MS 100    /* between two steps that are passed on */
#define PREVIEW_MS 500 /* and two previews */

static struct fetch_transfer *start(struct errand *e, const char *path, struct fetch_request r,
                                    fetch_fn *fn, struct err *err)
{
    const struct settings_upstream *s = e->server->settings;
    char *url;
    if (asprintf(&url, "%s%s", s->base_url, path) < 0) {
        err_set(err, ERR_INTERNAL, "no memory for a request");
        return NULL;
    }
    r.url = url;
    r.key = s->key;
    r.max_answer = ANSWER_BYTES;
    struct fetch_transfer *t = fetch_start(e->upstream->fetch, &r, fn, e, err);
    free(url);
    return t;
}

static cJSON *json_of(const struct fetch_answer *answer)
{
    return upstream_is_success(answer)
               ? json_text_parse(answer->body, answer->size, ANSWER_DEPTH, NULL)
               : NULL;
}

/* ---- pictures that go there ---- */

static void on_upload(void *ctx, const struct fetch_answer *came)
{
    struct errand *e = ctx;
    struct fetch_answer answer = *came;
    struct refusal refusal = {0};
    struct err err = answer.err;
    int which = e->uploaded[0] || !e->given.init_size;
    cJSON *json = json_of(&answer);
    e->transfer = NULL;
    if (upstream_comfy_name(json, e->names[which])) {
        e->uploaded[which] = true;
        cJSON_Delete(json);
        upstream_order_next(e);
        return;
    }
    cJSON_Delete(json);
    if (err.code != ERR_NONE)
        err_prefix(&err, "%s", e->server->settings->name);
    else if (!upstream_is_success(&answer))
        upstream_order_explain(e, &answer, &refusal, &err);
    else
        err_set(&err, ERR_UPSTREAM, "%s does not say what a picture is called there",
                e->server->settings->name);
    upstream_order_result(e, &answer, &err, &refusal);
}

/* ComfyUI removes no pictures that it was sent: those of the next job take the place of these. As
 * many are there as jobs at a time. */
static int place_of(struct errand *e)
{
    for (int place = 1; e->place == 0; place++) {
        const struct errand *other = e->upstream->errands;
        while (other && !(other->server == e->server && other->place == place))
            other = other->next;
        if (!other)
            e->place = place;
    }
    return e->place;
}

bool upstream_run_uploads(struct errand *e, struct err *err)
{
    const size_t sizes[] = {e->given.init_size, e->given.mask_size};
    err->code = ERR_NONE;
    if (!upstream_comfy_fits(e->server->workflow, &e->job.params, e->server->settings->name, err))
        return true;
    for (int i = 0; i < 2; i++) {
        struct image_file mask = {0};
        char name[64];
        if (e->uploaded[i] || sizes[i] == 0)
            continue;
        snprintf(name, sizeof name, "pictor-%s-%d-%s.png", e->upstream->who, place_of(e),
                 i ? "mask" : "init");
        if (i == 1 && !upstream_request_white(e->upstream->parts.codec, e->given.mask, sizes[i],
                                              e->job.params.mask_invert, &mask, err))
            return true;
        struct fetch_part parts[] = {
            {.name = "image",
             .file_name = name,
             .type = "image/png",
             .data = i ? mask.data : e->given.init,
             .size = i ? mask.size : sizes[i]},
            {.name = "type", .data = "input", .size = 5},
            {.name = "overwrite", .data = "true", .size = 4},
        };
        struct fetch_request r = {.parts = parts,
                                  .part_count = 3,
                                  .timeout_ms = e->server->settings->timeout_seconds * 1000};
        e->transfer = start(e, UPSTREAM_COMFY_UPLOAD, r, on_upload, err);
        image_file_free(&mask);
        return true;
    }
    return false;
}

/* ---- the run ---- */

bool upstream_run_begin(struct errand *e, const struct fetch_answer *answer, struct err *err)
{
    cJSON *json = json_of(answer);
    const char *id =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "prompt_id"));
    bool known = id && *id && strlen(id) < sizeof e->run &&
                 strspn(id, "0123456789abcdefABCDEF-") == strlen(id);
    if (known) {
        snprintf(e->run, sizeof e->run, "%s", id);
        e->run_since = now_ms();
        e->run_place = UPSTREAM_COMFY_NOWHERE;
        e->retry_at = now_ms() + ASK_MS;
    } else {
        err_set(err, ERR_UPSTREAM, "did not say which run it has begun");
    }
    cJSON_Delete(json);
    return known;
}

/* It may be over by now, or never: nobody knows what came of it. */
static bool is_late(const struct errand *e)
{
    return now_ms() - e->run_since > (int64_t)e->server->settings->timeout_seconds * 1000;
}

static void on_history(void *ctx, const struct fetch_answer *came)
{
    struct errand *e = ctx;
    const char *name = e->server->settings->name;
    struct fetch_answer answer = *came;
    struct refusal refusal = {0};
    struct err err = {0};
    cJSON *history = json_of(&answer);
    e->transfer = NULL;
    bool over = upstream_comfy_over(history, e->run, e->server->settings->base_url, &e->answer,
                                    &err);
    cJSON_Delete(history);
    if (!over && !is_late(e)) {
        e->retry_at = now_ms() + ASK_MS;
        return;
    }
    if (!over) {
        answer = (struct fetch_answer){.sent = true, .retry_after = -1};
        err_set(&answer.err, ERR_UPSTREAM, "its workflow took longer than %d s",
                e->server->settings->timeout_seconds);
        err = answer.err;
        upstream_run_stop(e);
    }
    if (err.code != ERR_NONE) {
        answer.status = over ? 500 : 0;
        err_prefix(&err, "%s", name);
    }
    upstream_order_result(e, &answer, &err, &refusal);
}

static bool ask(struct errand *e, const char *path, fetch_fn *fn)
{
    struct err err = {0};
    struct fetch_request r = {.timeout_ms = ASK_TIMEOUT_MS};
    e->transfer = start(e, path, r, fn, &err);
    if (e->transfer)
        return true;
    upstream_log("run_not_asked", e, &err);
    e->retry_at = now_ms() + ASK_MS;
    return false;
}

static void ask_history(struct errand *e)
{
    char path[96];
    snprintf(path, sizeof path, "/history/%s", e->run);
    ask(e, path, on_history);
}

/* It waits there: the job runs, and nothing of it is painted. */
static void tell_waiting(struct errand *e, int ahead)
{
    struct job_progress progress = {.image = e->index,
                                    .steps = job_steps(&e->job.params),
                                    .eta_seconds = job_progress_waiting(ahead)};
    if (e->run_place == UPSTREAM_COMFY_WAITS &&
        job_progress_ahead(&e->heard) == job_progress_ahead(&progress))
        return;
    e->heard = progress;
    upstream_order_show(e, &progress, NULL, 0);
}

static void tell_running(struct errand *e)
{
    bool news = e->run_place != UPSTREAM_COMFY_RUNS;
    e->run_place = UPSTREAM_COMFY_RUNS;
    if (!news)
        return;
    e->heard = (struct job_progress){
        .image = e->index, .steps = job_steps(&e->job.params), .eta_seconds = -1};
    upstream_order_show(e, &e->heard, NULL, 0);
}

/* What is no longer in the queue has a history. */
static void on_queue(void *ctx, const struct fetch_answer *answer)
{
    struct errand *e = ctx;
    int ahead = 0;
    cJSON *queue = json_of(answer);
    e->transfer = NULL;
    enum upstream_comfy_place place = upstream_comfy_queued(queue, e->run, &ahead);
    cJSON_Delete(queue);
    if (place == UPSTREAM_COMFY_NOWHERE || is_late(e)) {
        ask_history(e);
        return;
    }
    if (place == UPSTREAM_COMFY_RUNS)
        tell_running(e);
    else
        tell_waiting(e, ahead);
    e->run_place = place;
    e->retry_at = now_ms() + ASK_MS;
}

void upstream_run_ask(struct errand *e)
{
    if (e->run_place == UPSTREAM_COMFY_RUNS && e->watch)
        ask_history(e);
    else
        ask(e, "/queue", on_queue);
}

/* ---- listening ---- */

void upstream_run_client(const struct errand *e, char name[UPSTREAM_RUN_CLIENT])
{
    snprintf(name, UPSTREAM_RUN_CLIENT, "pictor-%s-%s", e->upstream->who, e->job.id);
}

static void hear(struct errand *e, const char *text, size_t size)
{
    int step = 0, steps = 0;
    int64_t now = now_ms();
    cJSON *json = json_text_parse(text, size, ANSWER_DEPTH, NULL);
    switch (upstream_comfy_heard(json, e->run, &step, &steps)) {
    case UPSTREAM_COMFY_NOTHING:
        break;
    case UPSTREAM_COMFY_BEGUN:
        tell_running(e);
        break;
    case UPSTREAM_COMFY_STEP:
        tell_running(e);
        /* The last one is told at once, and once. */
        if ((step < steps || e->heard.step >= e->heard.steps) && now < e->heard_at + TELL_MS)
            break;
        e->heard = (struct job_progress){
            .image = e->index, .step = step, .steps = steps, .eta_seconds = -1};
        e->heard_at = now;
        upstream_order_show(e, &e->heard, NULL, 0);
        break;
    case UPSTREAM_COMFY_OVER:
        if (*e->run && !e->transfer)
            e->retry_at = now;
        break;
    }
    cJSON_Delete(json);
}

static void see(struct errand *e, const char *message, size_t size)
{
    size_t file_size;
    const char *file = upstream_comfy_preview(message, size, &file_size);
    int64_t now = now_ms();
    if (!file || e->job.params.preview_every <= 0 || e->run_place != UPSTREAM_COMFY_RUNS ||
        now < e->seen_at + PREVIEW_MS)
        return;
    e->seen_at = now;
    upstream_keep_leases(e->upstream);
    upstream_order_show(e, &e->heard, file, file_size);
}

static size_t on_heard(void *ctx, const char *body, size_t size)
{
    struct errand *e = ctx;
    size_t used = 0, length, whole = 0;
    for (bool more = true; more; used += more ? whole : 0) {
        const char *data;
        switch (upstream_socket_next(body + used, size - used, &data, &length, &whole)) {
        case UPSTREAM_SOCKET_MORE:
            more = false;
            break;
        case UPSTREAM_SOCKET_TEXT:
            hear(e, data, length);
            break;
        case UPSTREAM_SOCKET_BINARY:
            see(e, data, length);
            break;
        case UPSTREAM_SOCKET_OTHER:
            break;
        case UPSTREAM_SOCKET_BROKEN: /* what else comes is not understood: it is opened anew */
            return SIZE_MAX;
        }
    }
    return used;
}

static void on_silence(void *ctx, const struct fetch_answer *answer)
{
    struct errand *e = ctx;
    (void)answer;
    e->watch = NULL;
    e->watch_at = now_ms() + LISTEN_AGAIN_MS;
}

void upstream_run_listen(struct errand *e, int64_t now)
{
    char path[96], client[UPSTREAM_RUN_CLIENT];
    struct err err = {0};
    struct fetch_request r = {.timeout_ms = LISTEN_MS, .socket = true, .news = on_heard};
    if (e->watch || now < e->watch_at || (!*e->run && !e->transfer) ||
        upstream_stops(e->upstream))
        return;
    upstream_run_client(e, client);
    snprintf(path, sizeof path, "/ws?clientId=%s", client);
    e->watch_at = now + LISTEN_AGAIN_MS;
    e->watch = start(e, path, r, on_silence, &err);
}

static void on_stopped(void *ctx, const struct fetch_answer *answer)
{
    (void)ctx;
    (void)answer;
}

/* Out of the queue; and if it runs, it ends. Servers that do not know ids end what they are at:
 * that is not to be somebody else's, so one that still waits, or of which that is not known while
 * others of ours are there, is taken out alone. */
void upstream_run_stop(struct errand *e)
{
    char body[128];
    struct err err;
    struct fetch_request r = {.json = body, .timeout_ms = ASK_TIMEOUT_MS};
    snprintf(body, sizeof body, "{\"delete\": [\"%s\"]}", e->run);
    start(e, "/queue", r, on_stopped, &err);
    snprintf(body, sizeof body, "{\"prompt_id\": \"%s\"}", e->run);
    if (e->run_place == UPSTREAM_COMFY_RUNS ||
        (e->run_place == UPSTREAM_COMFY_NOWHERE && e->server->running <= 1))
        start(e, "/interrupt", r, on_stopped, &err);
}
