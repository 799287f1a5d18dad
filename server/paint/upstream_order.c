/* upstream_order.c: pictures that are asked for, and what comes back.
 *
 * An errand has at most one transfer at a time: the order of its missing pictures, or the download
 * of one that was answered as an address. Each ends in the next one, or in the errand's end. */
#include "server/paint/upstream_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/backoff.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/refusal.h"
#include "server/paint/fetch.h"
#include "server/paint/result.h"
#include "server/paint/upstream_request.h"
#include "server/paint/upstream_sdapi.h"
#include "server/worker/codec.h"

#define RETRY_LEAST_MS 500
#define RETRY_MOST_MS 8000
#define SEAT_MS 200
#define RETRY_AFTER_MOST 60             /* seconds; who says more gets no second request */
#define ANSWER_BYTES ((size_t)32 << 20) /* of one picture in an answer */
#define ANSWER_MOST ((size_t)256 << 20)
#define ANSWER_DEPTH 16
#define WATCH_MS 1000 /* between two questions how far it is, and as often as one is looked at */
#define WATCH_TIMEOUT_MS 10000
#define USAGE_MOST 4096    /* bytes of JSON */
#define REVISED_MOST 32000 /* bytes; as long as a prompt may be there */

/* ---- what is noted of an order ---- */

static bool note_order(struct errand *e, int count, struct err *err)
{
    struct job_order *o = &e->order;
    /* What was not carried out, or may have been lost, is the order that it was. */
    if (!*o->token || o->index != e->index || o->count != count) {
        *o = (struct job_order){.index = e->index, .count = count};
        if (!ids_random(o->token, JOB_ID_SIZE - 1, err))
            return false;
    }
    return queue_order_note(e->upstream->parts.queue, &e->claim, o, err);
}

/* To be called when what came of the order is known, or all of it is stored, while the job goes
 * on; with the job's end its order is forgotten anyway. */
static void forget_order(struct errand *e)
{
    struct err err = {0};
    if (!queue_order_forget(e->upstream->parts.queue, &e->claim, &err))
        upstream_log("order_not_forgotten", e, &err);
}

static bool has_all_of(const struct job *job, const struct job_order *o)
{
    int at = o->index;
    if (o->count < 1)
        return false;
    while (at < o->index + o->count && at < job->params.count && result_missing(job, at) != at)
        at++;
    return at == o->index + o->count;
}

bool upstream_order_allowed(struct errand *e, struct err *err)
{
    const struct settings_upstream *s = e->server->settings;
    struct job_order o;
    if (!queue_order_find(e->upstream->parts.queue, &e->claim, &o, err))
        return false;
    if (!*o.token || has_all_of(&e->job, &o))
        return true;
    log_event(LOG_WARN, "order_unknown", "job=%s upstream=%s token=%s again=%d", e->job.id, s->name,
              o.token, s->retry_unknown);
    if (!s->retry_unknown)
        return err_set(err, ERR_UPSTREAM,
                       "this server ended after it had asked %s for pictures, and cannot know "
                       "whether they were painted: they are not ordered again (retry_unknown)",
                       s->name);
    if (ids_valid(o.token))
        e->order = o;
    return true;
}

/* ---- pictures ---- */

static void on_download(void *ctx, const struct fetch_answer *answer);

/* Whether the file goes to the client as it came: encoding it again would destroy the signature of
 * its Content Credentials. That needs a format that jobs have, and no other one asked for. */
static bool is_kept(const struct job_params *p, const void *data, size_t size)
{
    enum image_format format = image_sniff(data, size);
    bool known = format == IMAGE_PNG || format == IMAGE_JPEG || format == IMAGE_WEBP;
    if (size > ANSWER_BYTES || !known)
        return false;
    return p->any_format || format == (enum image_format)p->format;
}

static bool store(struct errand *e, const void *data, size_t size, struct err *err)
{
    struct upstream *u = e->upstream;
    struct pictor_image pixels;
    upstream_keep_leases(u); /* many pictures take longer than a lease lasts */
    if (!codec_decode(u->parts.codec, data, size, intake_pixels_max(u->parts.settings), &pixels,
                      err)) {
        if (err->code != ERR_BUSY)
            err->code = ERR_UPSTREAM;
        return err_prefix(err, "%s answered a picture that cannot be read",
                          e->server->settings->name);
    }
    bool done =
        is_kept(&e->job.params, data, size)
            ? result_keep(&u->parts, &e->claim, &e->job, e->revised, e->index, pixels.width,
                          pixels.height, data, size, err)
            : result_store(&u->parts, &e->claim, &e->job, NULL, e->revised, e->index, &pixels, err);
    pictor_image_free(&pixels);
    if (!done)
        return false;
    e->pictures++;
    e->index = result_missing(&e->job, e->index + 1);
    pthread_mutex_lock(&u->lock);
    u->stats.pictures++;
    pthread_mutex_unlock(&u->lock);
    return true;
}

/* What could not be stored ends the task; one that was taken away from us needs no verdict. */
static void end_badly(struct errand *e, const struct err *err)
{
    if (err->code == ERR_CANCELLED || err->code == ERR_NOT_FOUND)
        upstream_end(e, "", false, err);
    else
        upstream_fail(e, err);
}

static bool start_download(struct errand *e, const char *address, struct err *err)
{
    const struct settings_upstream *s = e->server->settings;
    char *url = fetch_url_within(s->base_url, address, err);
    if (!url)
        return false;
    struct fetch_request r = {.url = url,
                              .key = s->key,
                              .timeout_ms = s->timeout_seconds * 1000,
                              .max_answer = ANSWER_BYTES};
    e->transfer = fetch_start(e->upstream->fetch, &r, on_download, e, err);
    free(url);
    return e->transfer != NULL;
}

/* What it says that it painted. */
static void keep_revised(struct errand *e, const cJSON *item)
{
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "revised_prompt"));
    free(e->revised);
    e->revised = text && *text && strlen(text) <= REVISED_MOST ? strdup(text) : NULL;
}

/* One item of the answer's data. *later: its picture is being downloaded. */
static bool take_item(struct errand *e, const cJSON *item, bool *later, struct err *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "b64_json"));
    const char *url = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "url"));
    uint8_t *data;
    size_t size;
    keep_revised(e, item);
    if (text && !*text) /* Go writes fields that it does not use as empty strings */
        text = NULL;
    if (url && !*url)
        url = NULL;
    if (!text && url && strncmp(url, "data:", 5) == 0)
        text = url;
    if (!text && url) {
        *later = true;
        return start_download(e, url, err);
    }
    if (!text)
        return err_set(err, ERR_UPSTREAM, "%s answered neither a picture nor an address",
                       e->server->settings->name);
    if (!base64_decode(text, strlen(text), &data, &size, err)) {
        err->code = ERR_UPSTREAM;
        return false;
    }
    bool done = store(e, data, size, err);
    free(data);
    return done;
}

/* The answer's pictures, from e->item on; then the job is done, or more are requested. */
static void take_pictures(struct errand *e)
{
    struct err err = {0};
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(e->answer, "data"), *item;
    while (e->index >= 0 && (item = cJSON_GetArrayItem(data, e->item))) {
        bool later = false;
        e->item++;
        if (!take_item(e, item, &later, &err)) {
            end_badly(e, &err);
            return;
        }
        if (later)
            return;
    }
    cJSON_Delete(e->answer);
    e->answer = NULL;
    if (e->index < 0)
        upstream_finish(e);
    else
        upstream_order_next(e);
}

static void on_download(void *ctx, const struct fetch_answer *answer)
{
    struct errand *e = ctx;
    struct err err = answer->err;
    e->transfer = NULL;
    if (err.code == ERR_NONE && !upstream_is_success(answer))
        err_set(&err, ERR_UPSTREAM, "status %d", answer->status);
    if (err.code != ERR_NONE) {
        err_prefix(&err, "%s does not hand out its picture", e->server->settings->name);
        upstream_fail(e, &err);
    } else if (!store(e, answer->body, answer->size, &err)) {
        end_badly(e, &err);
    } else {
        take_pictures(e);
    }
}

/* ---- requests ---- */

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* What is wrong in its own words, or NULL: {"error": {"message"}}, {"error": "..."},
 * {"detail": "..."}, {"detail": [{"msg"}]}, {"message": "..."}, {"error": "OSError", "detail": "",
 * "errors": "..."}, and what ComfyUI
 * says of a node: {"node_errors": {"4": {"errors": [{"details"}]}}}. */
static const char *message_of(const cJSON *json)
{
    const cJSON *places[] = {
        member(cJSON_GetArrayItem(
                   member(cJSON_GetArrayItem(member(json, "node_errors"), 0), "errors"), 0),
               "details"),
        member(member(json, "error"), "message"),
        member(json, "detail"),
        member(cJSON_GetArrayItem(member(json, "detail"), 0), "msg"),
        member(json, "errors"),
        member(json, "error"),
        member(json, "message"),
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (cJSON_IsString(places[i]) && *places[i]->valuestring)
            return places[i]->valuestring;
    return NULL;
}

void upstream_order_explain(const struct errand *e, const struct fetch_answer *answer,
                            struct refusal *refusal, struct err *err)
{
    const char *name = e->server->settings->name, *key = e->server->settings->key;
    cJSON *json = json_text_parse(answer->body, answer->size, ANSWER_DEPTH, NULL);
    const char *message = message_of(json);
    bool secret = upstream_request_leaks(message, key);
    int status = answer->status;
    refusal_set(refusal, status, answer->retry_after, member(json, "error"));
    char *text = refusal_to_text(refusal);
    if (upstream_request_leaks(text, key))
        refusal_set(refusal, status, answer->retry_after, NULL);
    free(text);
    if (status >= 300 && status < 400)
        err_set(err, ERR_UPSTREAM,
                "%s answered status %d, a redirect, which is not followed: its base_url is wrong",
                name, status);
    else
        err_set(err, ERR_UPSTREAM, "%s %s status %d%s%s%.150s", name,
                status == 401 ? "refused this server's key with" : "answered", status,
                secret ? " (its message shows our key)" : "", message && !secret ? ": " : "",
                message && !secret ? message : "");
    cJSON_Delete(json);
}

/* Whether the request is to be sent again, and when. */
static bool retry(struct errand *e, const struct fetch_answer *answer,
                  const struct refusal *refusal)
{
    int status = answer->err.code == ERR_NONE ? answer->status : 0;
    bool later = status == 429 || (status == 503 && answer->retry_after >= 0);
    bool unsent = answer->err.code != ERR_NONE && !answer->sent;
    if (strcmp(refusal->code, "insufficient_quota") == 0) /* waiting does not fill an account */
        later = false;
    if ((!later && !unsent) || e->retries >= e->server->settings->max_retries ||
        answer->retry_after > RETRY_AFTER_MOST)
        return false;
    int pause = backoff_ms(++e->retries, RETRY_LEAST_MS, RETRY_MOST_MS);
    if (answer->retry_after >= 0 && answer->retry_after * 1000 > pause)
        pause = answer->retry_after * 1000;
    e->retry_at = now_ms() + pause;
    log_event(LOG_INFO, "upstream_retry", "job=%s upstream=%s status=%d pause_ms=%d", e->job.id,
              e->server->settings->name, status, pause);
    return true;
}

/* Whether it is known that nothing was painted: it was not sent, or refused. */
static bool not_painted(const struct fetch_answer *answer)
{
    return answer->err.code == ERR_NONE ? !upstream_is_success(answer) : !answer->sent;
}

/* Whether another server may be asked for the same: this one was not reached, or says that it has
 * not painted, for a reason that is not the request's. */
static bool may_fall_over(const struct fetch_answer *answer)
{
    static const int requests[] = {400, 405, 409, 411, 413, 415, 422, 451};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        if (answer->status == requests[i])
            return false;
    return not_painted(answer);
}

/* Turns to the next upstream that has the model; it is asked by the loop. */
static bool fall_over(struct errand *e, const struct err *why)
{
    struct server *server;
    struct remote_model *model;
    if (!upstream_choose(e->upstream, e->job.params.model, e->server, &server, &model))
        return false;
    log_err(LOG_WARN, "upstream_fall_over", why, "job=%s upstream=%s next=%s", e->job.id,
            e->server->settings->name, server->settings->name);
    if (*e->order.token)
        forget_order(e);
    fetch_abort(e->watch);
    e->watch = NULL;
    e->watch_at = 0;
    upstream_leave_seat(e);
    server->waiting++;
    e->server = server;
    e->model = model;
    e->retries = 0;
    e->retry_at = now_ms();
    e->order = (struct job_order){0};
    e->uploaded[0] = e->uploaded[1] = false;
    e->place = 0;
    return true;
}

/* What was not painted costs nothing; of what may have been, nobody knows. */
static void settle(struct errand *e, const struct fetch_answer *answer, bool well)
{
    if (well) {
        int came = cJSON_GetArraySize(member(e->answer, "data"));
        e->reserved -= came < e->reserved ? came : e->reserved;
        upstream_spend_back(e);
    } else if (not_painted(answer)) {
        upstream_spend_back(e);
    }
    e->reserved = 0;
}

/* Adds the numbers of one to the other's. */
static void add_numbers(cJSON *sum, const cJSON *usage, int depth)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, usage) {
        cJSON *own = cJSON_GetObjectItemCaseSensitive(sum, item->string);
        if (!own)
            cJSON_AddItemToObject(sum, item->string, cJSON_Duplicate(item, true));
        else if (cJSON_IsNumber(item) && cJSON_IsNumber(own))
            cJSON_SetNumberValue(own, own->valuedouble + item->valuedouble);
        else if (cJSON_IsObject(item) && cJSON_IsObject(own) && depth < ANSWER_DEPTH)
            add_numbers(own, item, depth + 1);
    }
}

static void keep_usage(struct errand *e)
{
    cJSON *usage = cJSON_GetObjectItemCaseSensitive(e->answer, "usage");
    if (!cJSON_IsObject(usage) || !usage->child)
        return;
    char *text = json_text_print(usage);
    bool fits = text && strlen(text) <= USAGE_MOST;
    free(text);
    if (!fits)
        return;
    if (!e->usage)
        e->usage = cJSON_CreateObject();
    add_numbers(e->usage, usage, 0);
}

/* Parses what came with a good status. An error in a stream is one of the status that it would have
 * had without. */
static bool read_answer(struct errand *e, struct fetch_answer *answer, struct refusal *refusal,
                        struct err *err)
{
    const char *name = e->server->settings->name;
    bool events = e->partials > 0 && answer->body[strspn(answer->body, " \t\r\n")] != '{';
    if (events)
        e->answer = upstream_stream_answer(answer->body, answer->size);
    else if (!(e->answer = json_text_parse(answer->body, answer->size, ANSWER_DEPTH, err)))
        return err_prefix(err, "%s answered status %d and no JSON", name, answer->status);
    else if (e->server->sdapi)
        e->answer = upstream_sdapi_answer(e->answer);
    if (!e->answer)
        return err_set(err, ERR_INTERNAL, "no memory for an answer");
    const cJSON *error = events ? member(e->answer, "error") : NULL;
    if (error) {
        const char *type = cJSON_GetStringValue(member(error, "type"));
        bool ours = type && (strcmp(type, "invalid_request_error") == 0 ||
                             strcmp(type, "image_generation_user_error") == 0);
        char *text = json_text_print(e->answer);
        struct fetch_answer said = *answer;
        answer->status = said.status = ours ? 400 : 500;
        said.body = text ? text : (char *)"";
        said.size = strlen(said.body);
        upstream_order_explain(e, &said, refusal, err);
        free(text);
        return false;
    }
    return cJSON_GetArraySize(member(e->answer, "data")) > 0 ||
           err_set(err, ERR_UPSTREAM, "%s answered no picture", name);
}

static void on_answer(void *ctx, const struct fetch_answer *came)
{
    struct errand *e = ctx;
    struct fetch_answer own = *came, *answer = &own;
    struct err err = answer->err;
    struct refusal refusal = {0};
    char theirs[160];
    log_event(LOG_INFO, "upstream_answered", "job=%s upstream=%s status=%d upstream_req=%s",
              e->job.id, e->server->settings->name, answer->status,
              log_quote(theirs, sizeof theirs, came->request_id ? came->request_id : "-"));
    e->transfer = NULL;
    if (!e->server->workflow) { /* its socket tells of the run that has begun */
        fetch_abort(e->watch);
        e->watch = NULL;
    }
    if (upstream_is_success(answer) && e->server->workflow && upstream_run_begin(e, answer, &err))
        return;
    if (err.code != ERR_NONE)
        err_prefix(&err, "%s", e->server->settings->name);
    else if (!upstream_is_success(answer))
        upstream_order_explain(e, answer, &refusal, &err);
    else
        read_answer(e, answer, &refusal, &err);
    upstream_order_result(e, answer, &err, &refusal);
}

void upstream_order_result(struct errand *e, struct fetch_answer *answer, struct err *err,
                           const struct refusal *refusal)
{
    e->asking = false;
    e->run[0] = '\0';
    upstream_judge(e, answer, err);
    settle(e, answer, err->code == ERR_NONE);
    if (err->code == ERR_NONE) {
        e->order.token[0] = '\0';
        e->item = 0;
        e->retries = 0;
        keep_usage(e);
        take_pictures(e);
        return;
    }
    err->code = ERR_UPSTREAM;
    cJSON_Delete(e->answer);
    e->answer = NULL;
    if (retry(e, answer, refusal)) {
        if (*e->order.token)
            forget_order(e);
    } else if (!may_fall_over(answer) || !fall_over(e, err)) {
        upstream_refuse(e, err, refusal);
    }
}

bool upstream_is_password(const struct server *s)
{
    return s->sdapi && strchr(s->settings->key, ':');
}

void upstream_order_show(struct errand *e, const struct job_progress *progress,
                         const void *preview, size_t size)
{
    struct upstream *u = e->upstream;
    struct pictor_image pixels = {0};
    if (preview && e->job.params.preview_every > 0)
        codec_decode(u->parts.codec, preview, size, intake_pixels_max(u->parts.settings), &pixels,
                     NULL);
    result_progress(&u->parts, &e->job, progress, pixels.pixels ? &pixels : NULL);
    pictor_image_free(&pixels);
}

/* What is being painted shows itself, small or whole, as the server likes. */
static void show(struct errand *e, const struct job_progress *progress, const char *preview)
{
    uint8_t *data = NULL;
    size_t size = 0;
    if (preview && !base64_decode(preview, strlen(preview), &data, &size, NULL))
        data = NULL;
    upstream_order_show(e, progress, data, size);
    free(data);
}

/* One that does not answer, or not so, is asked again: the picture itself is what counts. */
static void on_progress(void *ctx, const struct fetch_answer *answer)
{
    struct errand *e = ctx;
    struct job_progress progress = {.image = e->index, .eta_seconds = -1};
    const char *preview;
    e->watch = NULL;
    e->watch_at = now_ms() + WATCH_MS;
    cJSON *json = upstream_is_success(answer)
                      ? json_text_parse(answer->body, answer->size, ANSWER_DEPTH, NULL)
                      : NULL;
    if (e->transfer && upstream_sdapi_progress(json, &progress, &preview))
        show(e, &progress, preview);
    cJSON_Delete(json);
}

void upstream_order_watch(struct errand *e, int64_t now)
{
    char *url;
    if (e->server && e->server->workflow) {
        upstream_run_listen(e, now);
        return;
    }
    /* The server speaks of the one picture that it paints: of several orders nobody knows whose. */
    if (!e->server || !e->server->sdapi || !e->transfer || e->watch || now < e->watch_at ||
        e->server->running > 1 ||
        asprintf(&url, "%s%s", e->server->settings->base_url, UPSTREAM_SDAPI_PROGRESS) < 0)
        return;
    struct fetch_request r = {.url = url,
                              .key = e->server->settings->key,
                              .basic = upstream_is_password(e->server),
                              .timeout_ms = WATCH_TIMEOUT_MS,
                              .max_answer = ANSWER_BYTES};
    e->watch_at = now + WATCH_MS;
    e->watch = fetch_start(e->upstream->fetch, &r, on_progress, e, NULL);
    free(url);
}

static void on_interrupted(void *ctx, const struct fetch_answer *answer)
{
}

void upstream_order_interrupt(struct errand *e)
{
    char *url;
    if (*e->run && !upstream_stops(e->upstream))
        upstream_run_stop(e);
    if (!e->server || !e->server->sdapi || !e->transfer || e->server->running > 1 ||
        upstream_stops(e->upstream) ||
        asprintf(&url, "%s%s", e->server->settings->base_url, UPSTREAM_SDAPI_INTERRUPT) < 0)
        return;
    struct fetch_request r = {.url = url,
                              .key = e->server->settings->key,
                              .basic = upstream_is_password(e->server),
                              .json = "{}",
                              .timeout_ms = WATCH_TIMEOUT_MS,
                              .max_answer = ANSWER_BYTES};
    fetch_start(e->upstream->fetch, &r, on_interrupted, NULL, NULL);
    free(url);
}

static bool make_request(struct errand *e, struct upstream_request *r, int count, struct err *err)
{
    const struct settings_upstream *s = e->server->settings;
    const struct job_params *p = &e->job.params;
    const struct upstream_pictures *in = &e->given;
    if (e->server->workflow) {
        *r = (struct upstream_request){.path = "/prompt"};
        char client[UPSTREAM_RUN_CLIENT];
        upstream_run_client(e, client);
        r->json = upstream_comfy_order(e->server->workflow, p, e->index, e->model->remote,
                                       e->names[0], e->names[1], client);
        return r->json || err_set(err, ERR_INTERNAL, "no memory for a request");
    }
    if (e->server->sdapi && in->more_count > 0)
        return err_set(err, ERR_UPSTREAM, "%s takes one picture, and %d were given", s->name,
                       in->more_count + 1);
    if (e->server->sdapi)
        return upstream_sdapi_make(r, p, e->index, e->model->remote, in->init, in->init_size,
                                   in->mask, in->mask_size, err);
    return upstream_request_make(r, e->upstream->parts.codec, p, e->index, count, e->model->remote,
                                 s->extensions, e->partials, in, err);
}

/* A partial picture shows itself as it came. */
static void show_partial(struct errand *e, const char *text, int index)
{
    struct upstream *u = e->upstream;
    struct job_progress progress = {
        .image = e->index, .step = index + 1, .steps = e->partials + 1, .eta_seconds = -1};
    struct pictor_image pixels = {0};
    uint8_t *data = NULL;
    size_t size;
    if (index < 0 || index >= e->partials || !base64_decode(text, strlen(text), &data, &size, NULL))
        return;
    upstream_keep_leases(u);
    if (codec_decode(u->parts.codec, data, size, intake_pixels_max(u->parts.settings), &pixels,
                     NULL))
        result_partial(&u->parts, &e->job, &progress, &pixels, data, size);
    pictor_image_free(&pixels);
    free(data);
}

static size_t on_news(void *ctx, const char *body, size_t size)
{
    struct errand *e = ctx;
    cJSON *event;
    while ((event = upstream_stream_next(&e->stream, body, size))) {
        int index;
        const char *text = upstream_stream_partial(event, &index);
        if (text)
            show_partial(e, text, index);
        cJSON_Delete(event);
    }
    return 0;
}

/* Of a server that others keep busy it waits for the next free place. */
static bool take_seat(struct errand *e)
{
    if (!e->seated && e->server->running >= e->server->settings->concurrency) {
        e->retry_at = now_ms() + SEAT_MS;
        return false;
    }
    if (!e->seated) {
        e->server->waiting--;
        e->server->running++;
    }
    return e->seated = true;
}

/* Pictures of one request: all that are missing in a row, where a server paints several. */
static int count_next(const struct errand *e)
{
    int count = 1;
    /* No event of a stream says which of several pictures it speaks of. */
    while (!e->server->sdapi && !e->server->workflow && e->partials == 0 &&
           count < UPSTREAM_REQUEST_COUNT_MAX &&
           result_missing(&e->job, e->index + count) == e->index + count)
        count++;
    return count;
}

void upstream_order_next(struct errand *e)
{
    struct upstream *u = e->upstream;
    if (*e->run) { /* it is painted already */
        upstream_run_ask(e);
        return;
    }
    const struct settings_upstream *s = e->server->settings;
    struct upstream_request body = {0};
    struct job_progress progress = {
        .image = e->index, .steps = job_steps(&e->job.params), .eta_seconds = -1};
    struct refusal refusal = {0};
    struct err err = {0};
    if (upstream_stops(u)) { /* what is out may come; no more goes out */
        if (!*e->order.token)
            forget_order(e);
        upstream_put_back(e);
        return;
    }
    if (!take_seat(e))
        return;
    result_progress(&u->parts, &e->job, &progress, NULL);
    bool plain = !e->server->sdapi && !e->server->workflow;
    e->partials = plain ? upstream_request_partials(&e->job.params, e->model->remote,
                                                    e->server->settings->extensions)
                        : 0;
    int count = count_next(e);
    if (!e->asking && !upstream_may_ask(e, count, &refusal, &err)) {
        if (!fall_over(e, &err))
            upstream_refuse(e, &err, &refusal);
        return;
    }
    e->asking = true;
    if (e->server->workflow && upstream_run_uploads(e, &err)) {
        if (err.code != ERR_NONE)
            end_badly(e, &err);
        return;
    }
    if (!make_request(e, &body, count, &err)) {
        upstream_fail(e, &err);
        return;
    }
    char *url;
    size_t most = ANSWER_BYTES * (size_t)(count + e->partials);
    e->stream = (struct upstream_stream){0};
    if (asprintf(&url, "%s%s", s->base_url, body.path) < 0) {
        url = NULL;
        err_set(&err, ERR_INTERNAL, "no memory for a request");
    } else if (upstream_spend(e, count, &err) && note_order(e, count, &err)) {
        struct fetch_request r = {.url = url,
                                  .key = s->key,
                                  .basic = upstream_is_password(e->server),
                                  .token = e->order.token,
                                  .about = e->job.id,
                                  .json = body.json,
                                  .parts = body.part_count ? body.parts : NULL,
                                  .part_count = body.part_count,
                                  .timeout_ms = s->timeout_seconds * 1000,
                                  .max_answer = most < ANSWER_MOST ? most : ANSWER_MOST,
                                  .news = e->partials > 0 ? on_news : NULL};
        e->transfer = fetch_start(u->fetch, &r, on_answer, e, &err);
        e->watch_at = now_ms() + WATCH_MS;
    }
    free(url);
    upstream_request_free(&body);
    if (!e->transfer) {
        upstream_spend_back(e);
        end_badly(e, &err);
        return;
    }
    pthread_mutex_lock(&u->lock);
    u->stats.upstream_requests++;
    pthread_mutex_unlock(&u->lock);
}
