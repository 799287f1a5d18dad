/* upstream_run.c: orders of ComfyUI: pictures go there, the workflow is queued, and its history is
 * asked until it is over; then its picture is fetched from the address that it has. */
#include "server/paint/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/refusal.h"
#include "server/paint/fetch.h"

#define ASK_MS 1000 /* between two questions whether a run is over */
#define ASK_TIMEOUT_MS 20000
#define ANSWER_BYTES ((size_t)16 << 20) /* a history has the workflow in it */
#define ANSWER_DEPTH 64

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

void upstream_run_ask(struct errand *e)
{
    char path[96];
    struct err err = {0};
    struct fetch_request r = {.timeout_ms = ASK_TIMEOUT_MS};
    snprintf(path, sizeof path, "/history/%s", e->run);
    e->transfer = start(e, path, r, on_history, &err);
    if (!e->transfer) {
        upstream_log("run_not_asked", e, &err);
        e->retry_at = now_ms() + ASK_MS;
    }
}

static void on_stopped(void *ctx, const struct fetch_answer *answer)
{
    (void)ctx;
    (void)answer;
}

/* Out of the queue; and if it runs, it ends. Servers that do not know ids end what they are at,
 * which is known to be ours only while nothing else of ours is there. */
void upstream_run_stop(struct errand *e)
{
    char body[128];
    struct err err;
    struct fetch_request r = {.json = body, .timeout_ms = ASK_TIMEOUT_MS};
    snprintf(body, sizeof body, "{\"delete\": [\"%s\"]}", e->run);
    start(e, "/queue", r, on_stopped, &err);
    snprintf(body, sizeof body, "{\"prompt_id\": \"%s\"}", e->run);
    if (e->server->running <= 1)
        start(e, "/interrupt", r, on_stopped, &err);
}
