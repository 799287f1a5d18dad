/* openai_responses.c: answers and streams of the Responses API.
 *
 * A response's id is its job's, and a call's id is the job's with the picture's number, so both are
 * known before anything is painted, and lead back to the pictures. What a response repeats of its
 * request (struct own: base) is made once. */
#include "server/api/openai/openai_responses.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/linked.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_paint.h"
#include "server/api/openai/openai_talk.h"
#include "server/api/openai/openai_tool.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/queue/queue.h"

struct own {
    cJSON *base;
};

static void own_free(void *ctx)
{
    struct own *own = ctx;
    if (own)
        cJSON_Delete(own->base);
    free(own);
}

/* ---- a response ---- */

static void item_id(char out[OPENAI_TOOL_ID_SIZE], const char *job_id, int index)
{
    snprintf(out, OPENAI_TOOL_ID_SIZE, "ig_%s_%d", job_id, index);
}

/* A call; `result` (taken) is its picture, or NULL. */
static cJSON *item_json(const char *job_id, int index, const char *status, cJSON *result,
                        const struct job *job, const char *quality)
{
    const struct job_image *image = NULL;
    char id[OPENAI_TOOL_ID_SIZE], size[32];
    cJSON *json = cJSON_CreateObject();
    item_id(id, job_id, index);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "type", "image_generation_call");
    cJSON_AddStringToObject(json, "status", status);
    for (size_t i = 0; result && i < job->image_count; i++)
        if (job->images[i].index == index)
            image = &job->images[i];
    if (result) {
        int format = image ? (int)image->format : job->params.format;
        snprintf(size, sizeof size, "%dx%d", job->params.width, job->params.height);
        cJSON_AddStringToObject(json, "action", job->params.has_init ? "edit" : "generate");
        cJSON_AddStringToObject(json, "background", "opaque");
        cJSON_AddStringToObject(json, "output_format", image_formats[format]);
        if (*quality)
            cJSON_AddStringToObject(json, "quality", quality);
        cJSON_AddStringToObject(json, "size", size);
    }
    if (image)
        openai_paint_revised(json, job, image);
    cJSON_AddItemToObject(json, "result", result ? result : cJSON_CreateNull());
    return json;
}

/* Where an upstream has told what it used, that; what the API wants besides is as counted here. */
static void add_usage(cJSON *json, const struct job *job, int input)
{
    static const char *const details[][2] = {{"input_tokens_details", "cached_tokens"},
                                             {"output_tokens_details", "reasoning_tokens"}};
    int output = (int)job->image_count *
                 openai_paint_image_tokens(job->params.width, job->params.height);
    const struct {
        const char *name;
        int number;
    } counts[] = {
        {"input_tokens", input}, {"output_tokens", output}, {"total_tokens", input + output}};
    cJSON *usage = job_usage(job);
    if (!usage)
        usage = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(usage, counts[i].name))) {
            cJSON_DeleteItemFromObjectCaseSensitive(usage, counts[i].name);
            cJSON_AddNumberToObject(usage, counts[i].name, counts[i].number);
        }
    for (size_t i = 0; i < sizeof details / sizeof *details; i++) {
        cJSON *item = cJSON_GetObjectItemCaseSensitive(usage, details[i][0]);
        if (!cJSON_IsObject(item)) {
            cJSON_DeleteItemFromObjectCaseSensitive(usage, details[i][0]);
            item = cJSON_AddObjectToObject(usage, details[i][0]);
        }
        if (!cJSON_GetObjectItemCaseSensitive(item, details[i][1]))
            cJSON_AddNumberToObject(item, details[i][1], 0);
    }
    cJSON_AddItemToObject(json, "usage", usage);
}

static const char *status_of(const struct job *job)
{
    switch (job->state) {
    case JOB_QUEUED:
        return "queued";
    case JOB_RUNNING:
        return "in_progress";
    case JOB_DONE:
        return "completed";
    case JOB_FAILED:
        return "failed";
    case JOB_CANCELLED:
        return "cancelled";
    }
    return "failed";
}

/* `job` NULL: nothing is known of it yet. `output` is taken; NULL: none. */
static cJSON *response_json(const cJSON *base, const char *job_id, const struct job *job,
                            const char *status, const struct openai_fault *f, cJSON *output,
                            int input_tokens)
{
    char id[48];
    cJSON *json = cJSON_Duplicate(base, true);
    snprintf(id, sizeof id, "resp_%s", job_id);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddNumberToObject(json, "created_at",
                            (double)((job ? job->created_ms : now_unix_ms()) / 1000));
    cJSON_AddStringToObject(json, "status", status);
    cJSON *error =
        f ? cJSON_AddObjectToObject(json, "error") : cJSON_AddNullToObject(json, "error");
    if (f) {
        cJSON_AddStringToObject(error, "code", f->code ? f->code : "server_error");
        cJSON_AddStringToObject(error, "message", f->message);
    }
    cJSON_AddItemToObject(json, "output", output ? output : cJSON_CreateArray());
    if (job && job->state == JOB_DONE)
        add_usage(json, job, input_tokens);
    else
        cJSON_AddNullToObject(json, "usage");
    return json;
}

/* All calls of a done job. Owned; NULL: `err` says why. */
static cJSON *output_json(const struct app *app, const struct job *job,
                          const struct openai_place *to, const char *quality, struct err *err)
{
    cJSON *output = cJSON_CreateArray();
    for (size_t i = 0; i < job->image_count; i++) {
        cJSON *result = openai_paint_file(app, to, &job->images[i], "", err);
        if (!result) {
            cJSON_Delete(output);
            return NULL;
        }
        cJSON_AddItemToArray(output, item_json(job->id, job->images[i].index, "completed", result,
                                               job, quality));
    }
    return output;
}

static int input_tokens(const struct openai_waiting *w)
{
    return w->input_tokens + w->input_image_tokens;
}

static cJSON *whole(const struct openai_waiting *w, const struct job *job,
                    const struct openai_place *to, struct err *err)
{
    const struct own *own = w->own;
    cJSON *output = output_json(w->app, job, to, w->quality, err);
    return output ? response_json(own->base, w->job_id, job, "completed", NULL, output,
                                  input_tokens(w))
                  : NULL;
}

/* ---- streams ---- */

/* Sends `json` (taken), which gets the members that every event has. */
static bool send(struct openai_waiting *w, struct http_stream *stream, const char *type,
                 cJSON *json)
{
    cJSON_AddStringToObject(json, "type", type);
    cJSON_AddNumberToObject(json, "sequence_number", w->sequence++);
    return http_stream_json(stream, type, json);
}

static bool send_response(struct openai_waiting *w, struct http_stream *stream, const char *type,
                          cJSON *response)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "response", response);
    return send(w, stream, type, json);
}

/* About a call's item, whole. */
static bool send_item(struct openai_waiting *w, struct http_stream *stream, const char *type,
                      cJSON *item)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "output_index", w->next_image);
    cJSON_AddItemToObject(json, "item", item);
    return send(w, stream, type, json);
}

/* About a call, by its id. */
static cJSON *about(const struct openai_waiting *w)
{
    char id[OPENAI_TOOL_ID_SIZE];
    cJSON *json = cJSON_CreateObject();
    item_id(id, w->job_id, w->next_image);
    cJSON_AddNumberToObject(json, "output_index", w->next_image);
    cJSON_AddStringToObject(json, "item_id", id);
    return json;
}

static bool begin(struct openai_waiting *w, const struct job *job, struct http_stream *stream)
{
    const struct own *own = w->own;
    const char *const types[] = {"response.created", "response.in_progress"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!send_response(w, stream, types[i],
                           response_json(own->base, w->job_id, job, "in_progress", NULL, NULL, 0)))
            return false;
    return true;
}

static bool announce(struct openai_waiting *w, const struct job *job, struct http_stream *stream)
{
    return send_item(w, stream, "response.output_item.added",
                     item_json(w->job_id, w->next_image, "in_progress", NULL, job, "")) &&
           send(w, stream, "response.image_generation_call.in_progress", about(w)) &&
           send(w, stream, "response.image_generation_call.generating", about(w));
}

static bool partial(struct openai_waiting *w, const struct job *job, const char *base64, int index,
                    struct http_stream *stream)
{
    cJSON *json = about(w);
    cJSON_AddNumberToObject(json, "partial_image_index", index);
    cJSON_AddStringToObject(json, "partial_image_b64", base64);
    cJSON_AddStringToObject(json, "size", w->size_text);
    cJSON_AddStringToObject(json, "quality", w->quality);
    cJSON_AddStringToObject(json, "background", "opaque");
    cJSON_AddStringToObject(json, "output_format", image_formats[w->format]);
    return send(w, stream, "response.image_generation_call.partial_image", json);
}

static bool picture(struct openai_waiting *w, const struct job *job, const struct job_image *image,
                    struct http_stream *stream, struct err *err)
{
    const struct openai_place to = {.stream = stream};
    if (!send(w, stream, "response.image_generation_call.completed", about(w)))
        return false;
    cJSON *result = openai_paint_file(w->app, &to, image, "", err);
    return result && send_item(w, stream, "response.output_item.done",
                               item_json(w->job_id, w->next_image, "completed", result, job,
                                         w->quality));
}

static bool end(struct openai_waiting *w, const struct job *job, struct http_stream *stream,
                struct err *err)
{
    const struct openai_place to = {.stream = stream};
    cJSON *response = whole(w, job, &to, err);
    return response && send_response(w, stream, "response.completed", response);
}

/* As the API has it, and once more in the shape that makes the SDKs raise. */
static void fault(struct openai_waiting *w, const struct job *job, const struct openai_fault *f,
                  struct http_stream *stream)
{
    const struct own *own = w->own;
    const char *status = job && job->state == JOB_CANCELLED ? "cancelled" : "failed";
    cJSON *json = openai_fault_json(f);
    cJSON_AddStringToObject(json, "message", f->message);
    cJSON_AddItemToObject(json, "code", f->code ? cJSON_CreateString(f->code) : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "param",
                          *f->param ? cJSON_CreateString(f->param) : cJSON_CreateNull());
    if (send_response(w, stream, "response.failed",
                      response_json(own->base, w->job_id, job, status, f, NULL, 0)))
        send(w, stream, "error", json);
    else
        cJSON_Delete(json);
}

static const struct openai_shape shape = {.whole = whole,
                                          .begin = begin,
                                          .announce = announce,
                                          .partial = partial,
                                          .image = picture,
                                          .end = end,
                                          .fault = fault};

/* ---- requests ---- */

/* Replies with a response as its job is now. */
static void reply_job(struct http_request *req, const cJSON *base, const struct job *job)
{
    const struct openai_place to = {.req = req};
    struct openai_fault f;
    struct err err;
    cJSON *output = job->state == JOB_DONE ? output_json(http_app(req), job, &to, "", &err) : NULL;
    if (job->state == JOB_DONE && !output) {
        http_reply_error(req, &err, NULL);
        return;
    }
    if (job->state == JOB_FAILED)
        openai_paint_fault(job, &f);
    cJSON *json = response_json(base, job->id, job, status_of(job),
                                job->state == JOB_FAILED ? &f : NULL, output,
                                openai_paint_text_tokens(job->params.prompt));
    openai_headers(req);
    http_reply_json(req, 200, json);
}

/* `background`: the client asks for it later. */
static void create_later(struct http_request *req, struct openai_request *r, const cJSON *base)
{
    const struct app *app = http_app(req);
    struct openai_fault f;
    struct job job;
    struct err err;
    char id[JOB_ID_SIZE], ignored[sizeof r->ignored];
    snprintf(ignored, sizeof ignored, "%s", r->ignored);
    if (r->stream) {
        openai_request_free(r);
        openai_fault(&f, 400, "invalid_value", "stream",
                     "Invalid value: 'background' and 'stream' together are not supported here.");
        openai_reply_fault(req, &f);
    } else if (!openai_paint_later(app, http_key_id(req), 0, r, id, &f)) {
        openai_reply_fault(req, &f);
    } else if (!queue_get(app->queue, id, NULL, &job, &err)) {
        http_reply_error(req, &err, NULL);
    } else {
        if (*ignored)
            http_reply_header(req, "x-ignored-parameters", ignored);
        reply_job(req, base, &job);
        job_free(&job);
    }
}

/* What is said last: the input itself, or an item of it. */
static cJSON *last_said(cJSON *body, const char **name)
{
    cJSON *input = cJSON_GetObjectItemCaseSensitive(body, "input");
    *name = cJSON_IsArray(input) ? "content" : "input";
    return cJSON_IsArray(input) ? openai_talk_last(input) : body;
}

static char *idea_of(const cJSON *body)
{
    const char *name;
    const cJSON *said = last_said((cJSON *)body, &name);
    return openai_talk_words(cJSON_GetObjectItemCaseSensitive(said, name));
}

static bool put_words(cJSON *body, const char *text)
{
    const char *name;
    cJSON *said = last_said(body, &name);
    return openai_talk_say(said, name, text);
}

static const struct composing_place composed = {.idea = idea_of, .put = put_words};

void openai_responses_create(struct http_request *req)
{
    struct openai_tool_request t;
    struct openai_fault f;
    if (composing_begins(req, &composed, openai_responses_create) ||
        linked_begins(req, openai_responses_create))
        return;
    if (!openai_tool_read(req, &t, &f)) {
        openai_reply_fault(req, &f);
        return;
    }
    struct own *own = calloc(1, sizeof *own);
    if (t.later) {
        free(own);
        create_later(req, &t.request, t.base);
        cJSON_Delete(t.base);
    } else if (own) {
        own->base = t.base;
        openai_paint(req, &shape, t.kind, &t.request, own, own_free);
    } else {
        cJSON_Delete(t.base);
        openai_request_free(&t.request);
        openai_fault(&f, 500, NULL, NULL, "out of memory");
        openai_reply_fault(req, &f);
    }
}

/* The job of the response in the path; else replies. */
static bool find(struct http_request *req, struct job *job)
{
    const char *id = http_param(req, "id");
    struct openai_fault f;
    struct err err;
    if (openai_tool_find(http_app(req), http_visible_key(req), id, job, &err))
        return true;
    if (err.code == ERR_NOT_FOUND) {
        openai_fault(&f, 404, NULL, NULL, "Response with id '%.60s' not found.", id);
        openai_reply_fault(req, &f);
    } else {
        http_reply_error(req, &err, NULL);
    }
    return false;
}

static void reply_kept(struct http_request *req, const struct job *job)
{
    cJSON *base = openai_tool_base(NULL, job->params.model);
    reply_job(req, base, job);
    cJSON_Delete(base);
}

void openai_responses_get(struct http_request *req)
{
    struct job job;
    if (!find(req, &job))
        return;
    reply_kept(req, &job);
    job_free(&job);
}

void openai_responses_cancel(struct http_request *req)
{
    struct job job;
    struct err err;
    if (!find(req, &job))
        return;
    struct queue *queue = http_app(req)->queue;
    bool ok = job_state_is_final(job.state) || queue_cancel(queue, job.id, NULL, &err) ||
              err.code == ERR_INVALID; /* it has ended meanwhile */
    char id[JOB_ID_SIZE];
    snprintf(id, sizeof id, "%s", job.id);
    job_free(&job);
    if (ok && queue_get(queue, id, NULL, &job, &err)) {
        reply_kept(req, &job);
        job_free(&job);
    } else {
        http_reply_error(req, &err, NULL);
    }
}

void openai_responses_delete(struct http_request *req)
{
    struct job job;
    struct openai_fault f;
    struct err err;
    char id[48];
    if (!find(req, &job))
        return;
    bool final = job_state_is_final(job.state);
    bool ok = final && queue_delete(http_app(req)->queue, job.id, NULL, true, &err);
    snprintf(id, sizeof id, "resp_%s", job.id);
    job_free(&job);
    if (ok) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "id", id);
        cJSON_AddStringToObject(json, "object", "response");
        cJSON_AddBoolToObject(json, "deleted", true);
        openai_headers(req);
        http_reply_json(req, 200, json);
    } else if (!final) {
        openai_fault(&f, 400, "invalid_value", NULL,
                     "Response '%s' is still being made: cancel it first.", id);
        openai_reply_fault(req, &f);
    } else {
        http_reply_error(req, &err, NULL);
    }
}
