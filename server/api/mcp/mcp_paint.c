/* mcp_paint.c: A tool's arguments are a request of the native API with a few words of their own.
 * Its answer is a stream, as pictures take longer than clients and proxies wait in silence: of
 * events, with the progress between, or of JSON with blanks in front.
 *
 * In the form of 2026-07-28 a client that closes the stream has cancelled the call. In that of 2025
 * it has only lost the connection, and the job goes on. */
#include "server/api/mcp/mcp_paint.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/io/image_resize.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/mcp/mcp_tools.h"
#include "server/api/native/native_job.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/controls.h"
#include "server/job/intake.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/queue/queue_submit.h"
#include "server/store/blobs.h"
#include "server/worker/codec.h"

#define PREVIEW_SIDE 256
#define PREVIEW_QUALITY 75
#define PREVIEWS_MOST 4 /* of one answer: a model reads them all */
#define JOB_ID_DIGITS (JOB_ID_SIZE - 1)

struct painting {
    const struct app *app;
    char *base_url;
    cJSON *id, *token; /* the request's; the token of its progress, NULL: none is wanted */
    char job_id[JOB_ID_SIZE];
    bool modern, wait, preview, whole, ours; /* ours: it ends with the stream */
    bool finished;
    int64_t trouble_ms; /* of queue_ask_again */
    int told;           /* steps of which the client knows */
    struct subscription *subscription;
    pthread_mutex_t lock; /* of what follows */
    struct http_stream *stream;
    struct job_progress progress;
};

static void painting_free(void *ctx)
{
    struct painting *p = ctx;
    events_unsubscribe(p->subscription);
    if (p->ours && !p->finished)
        queue_abandon(p->app->queue, p->job_id);
    pthread_mutex_destroy(&p->lock);
    cJSON_Delete(p->id);
    cJSON_Delete(p->token);
    free(p->base_url);
    free(p);
}

static bool is_on(const cJSON *arguments, const char *name, bool fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(arguments, name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : fallback;
}

static struct painting *painting_new(struct http_request *req, const struct mcp_call *call,
                                     const cJSON *arguments)
{
    struct painting *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(call->params, "_meta");
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(meta, "progressToken");
    pthread_mutex_init(&p->lock, NULL);
    p->app = http_app(req);
    p->base_url = strdup(http_base_url(req));
    p->id = cJSON_Duplicate(call->id, true);
    if (cJSON_IsString(token) || cJSON_IsNumber(token))
        p->token = cJSON_Duplicate(token, true);
    p->modern = call->modern;
    p->wait = is_on(arguments, "wait", true);
    p->preview = is_on(arguments, "preview", true);
    p->whole = is_on(arguments, "base64", false);
    if (p->base_url && p->id)
        return p;
    painting_free(p);
    return NULL;
}

/* ---- the answer ---- */

static cJSON *add_block(cJSON *content, const char *type)
{
    cJSON *block = cJSON_CreateObject();
    cJSON_AddStringToObject(block, "type", type);
    cJSON_AddItemToArray(content, block);
    return block;
}

static bool encode_preview(const struct painting *p, const void *data, size_t size,
                           struct image_file *out, struct err *err)
{
    struct pictor_image image = {0}, small = {0};
    struct codec *codec = p->app->codec;
    if (!codec_decode(codec, data, size, intake_pixels_max(p->app->settings), &image, err))
        return false;
    int longer = image.width > image.height ? image.width : image.height;
    int most = longer < PREVIEW_SIDE ? longer : PREVIEW_SIDE;
    int width = (int)((long long)image.width * most / longer);
    int height = (int)((long long)image.height * most / longer);
    bool ok = image_resize(&image, width ? width : 1, height ? height : 1, IMAGE_BICUBIC, &small,
                           err) &&
              codec_encode(codec, &small, IMAGE_JPEG, PREVIEW_QUALITY, NULL, out, err);
    pictor_image_free(&image);
    pictor_image_free(&small);
    return ok;
}

/* NULL: there is none, and the link has to do. */
static cJSON *preview_of(const struct painting *p, const struct job_image *image)
{
    struct image_file file = {0};
    struct err ignored;
    void *data = NULL;
    cJSON *item = NULL;
    char *path = queue_image_path(p->app->queue, image, &ignored);
    if (path && blobs_read_here(path, image->bytes, &data, &ignored) &&
        encode_preview(p, data, image->bytes, &file, &ignored)) {
        char *text = base64_encode(file.data, file.size);
        item = text ? cJSON_CreateString(text) : NULL;
        free(text);
        image_file_free(&file);
    }
    free(data);
    free(path);
    return item;
}

static cJSON *whole_of(const struct painting *p, const struct job_image *image,
                       struct http_stream *stream)
{
    struct err ignored;
    char *path = queue_image_path(p->app->queue, image, &ignored);
    return path ? http_stream_base64(stream, path, image->bytes) : NULL;
}

/* A link that opens without a key, as its name cannot be guessed, where that route is on. */
static void link_of(const struct painting *p, const struct job_image *image, char *out, size_t size)
{
    if (p->app->settings->openai)
        snprintf(out, size, "%s/v1/images/files/%s.%s", p->base_url, image->id,
                 image_formats[image->format]);
    else
        snprintf(out, size, "%s/api/images/%s", p->base_url, image->id);
}

static void add_image(const struct painting *p, const struct job_image *image, int number,
                      struct http_stream *stream, cJSON *content, cJSON *list)
{
    char link[600], name[80];
    link_of(p, image, link, sizeof link);
    cJSON *json = native_job_image_to_json(image);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "infotext");
    cJSON_ReplaceItemInObjectCaseSensitive(json, "url", cJSON_CreateString(link));
    cJSON_AddItemToArray(list, json);

    cJSON *block = add_block(content, "resource_link");
    snprintf(name, sizeof name, "%s.%s", image->id, image_extension(image->format));
    cJSON_AddStringToObject(block, "uri", link);
    cJSON_AddStringToObject(block, "name", name);
    cJSON_AddStringToObject(block, "mimeType", image_mime(image->format));
    cJSON_AddNumberToObject(block, "size", (double)image->bytes);

    cJSON *data = p->whole                                   ? whole_of(p, image, stream)
                  : p->preview && number < PREVIEWS_MOST ? preview_of(p, image)
                                                             : NULL;
    if (!data)
        return;
    block = add_block(content, "image");
    cJSON_AddItemToObject(block, "data", data);
    cJSON_AddStringToObject(block, "mimeType", image_mime(p->whole ? image->format : IMAGE_JPEG));
}

static void say(const struct painting *p, const struct job *job, char *out, size_t size)
{
    const char *state = job_state_name(job->state);
    if (job->state == JOB_FAILED)
        snprintf(out, size, "Job %s has failed: %s", job->id, job->error_message);
    else if (job->state == JOB_CANCELLED)
        snprintf(out, size, "Job %s was cancelled.", job->id);
    else if (job->state == JOB_DONE)
        snprintf(out, size, "Job %s is done: %zu picture%s.", job->id, job->image_count,
                 job->image_count == 1 ? "" : "s");
    else if (job->state == JOB_QUEUED)
        snprintf(out, size, "Job %s is %s, with %d before it. job_status says more later.", job->id,
                 state, job->position);
    else
        snprintf(out, size, "Job %s is %s: picture %d of %d, step %d of %d.", job->id, state,
                 job->progress.image + 1, job->params.count, job->progress.step,
                 job->progress.steps);
}

/* Of a call that was to paint, no pictures are an error. */
static cJSON *result_of(const struct painting *p, const struct job *job, bool failure,
                        struct http_stream *stream)
{
    char text[400];
    cJSON *result = cJSON_CreateObject();
    cJSON *content = cJSON_AddArrayToObject(result, "content");
    cJSON *data = cJSON_AddObjectToObject(result, "structuredContent");
    say(p, job, text, sizeof text);
    json_text_mend(text);
    cJSON_AddStringToObject(add_block(content, "text"), "text", text);
    cJSON_AddStringToObject(data, "job", job->id);
    cJSON_AddStringToObject(data, "state", job_state_name(job->state));
    if (job->state == JOB_FAILED)
        cJSON_AddStringToObject(data, "error", job->error_message);
    if (job->params.composed_from && *job->params.composed_from)
        cJSON_AddStringToObject(data, "revised_prompt", job->params.prompt);
    if (job->params.notes && *job->params.notes)
        cJSON_AddStringToObject(data, "notes", job->params.notes);
    cJSON *list = cJSON_AddArrayToObject(data, "images");
    for (size_t i = 0; i < job->image_count; i++)
        add_image(p, &job->images[i], (int)i, stream, content, list);
    cJSON_AddBoolToObject(result, "isError", failure);
    return result;
}

static void send_result(struct http_stream *stream, const struct painting *p, cJSON *result)
{
    http_stream_json(stream, NULL, mcp_reply_result(p->id, p->modern, result));
}

/* ---- waiting ---- */

static void on_event(void *ctx, const struct event *event)
{
    struct painting *p = ctx;
    pthread_mutex_lock(&p->lock);
    if (event->kind == EVENT_PROGRESS)
        p->progress = event->progress;
    if (p->stream && (event->kind != EVENT_PROGRESS || p->token))
        http_stream_wake(p->stream);
    pthread_mutex_unlock(&p->lock);
}

/* What only grows, as it has to. False: the client is gone. */
static bool send_progress(struct http_stream *stream, struct painting *p)
{
    char text[100];
    pthread_mutex_lock(&p->lock);
    struct job_progress at = p->progress;
    pthread_mutex_unlock(&p->lock);
    int done = at.image * at.steps + at.step;
    if (!p->token || done <= p->told)
        return true;
    p->told = done;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "jsonrpc", "2.0");
    cJSON_AddStringToObject(json, "method", "notifications/progress");
    cJSON *params = cJSON_AddObjectToObject(json, "params");
    cJSON_AddItemToObject(params, "progressToken", cJSON_Duplicate(p->token, true));
    cJSON_AddNumberToObject(params, "progress", done);
    snprintf(text, sizeof text, "job %s: picture %d, step %d of %d", p->job_id, at.image + 1,
             at.step, at.steps);
    cJSON_AddStringToObject(params, "message", text);
    return http_stream_json(stream, NULL, json);
}

static bool produce(struct http_stream *stream, void *ctx)
{
    struct painting *p = ctx;
    enum job_state state;
    struct job job;
    struct err err;
    int images;
    bool found = queue_glance(p->app->queue, p->job_id, &state, &images, &err);
    if (found && p->wait && !job_state_is_final(state)) {
        p->trouble_ms = 0;
        return send_progress(stream, p);
    }
    if (found && queue_get(p->app->queue, p->job_id, NULL, &job, &err)) {
        p->finished = true;
        send_result(stream, p, result_of(p, &job, p->wait && job.state != JOB_DONE, stream));
        job_free(&job);
        return false;
    }
    if (queue_ask_again(&p->trouble_ms, &err))
        return true;
    send_result(stream, p, mcp_reply_failure(err.msg));
    return false;
}

/* Takes `p`. */
static void start(struct http_request *req, const struct mcp_call *call, struct painting *p)
{
    struct err err;
    bool events = call->takes_events && (p->token || !call->takes_json);
    if (!events) {
        cJSON_Delete(p->token);
        p->token = NULL;
    }
    p->subscription = events_subscribe(p->app->events, p->job_id, on_event, p, &err);
    if (!p->subscription) {
        painting_free(p);
        mcp_reply(req, call, mcp_reply_failure(err.msg));
        return;
    }
    struct http_stream *stream = http_stream_start(
        req, events ? HTTP_STREAM_EVENTS : HTTP_STREAM_JSON, produce, painting_free, p);
    if (!stream)
        return;
    pthread_mutex_lock(&p->lock);
    p->stream = stream;
    pthread_mutex_unlock(&p->lock);
}

/* ---- calls ---- */

bool mcp_paint_tag(const char *session, struct cJSON *request_id, char tag[128])
{
    char *id = *session ? json_text_print(request_id) : NULL;
    bool fits = id && snprintf(tag, 128, "mcp:%s:%s", session, id) < 128;
    free(id);
    return fits;
}

/* The id in the link of a picture that was painted here, or the text that is one. */
static bool picture_id(const char *text, char id[JOB_ID_SIZE])
{
    static const char *const places[] = {"/v1/images/files/", "/images/files/", "/api/images/"};
    const char *at = strlen(text) == JOB_ID_DIGITS ? text : NULL;
    bool link = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    for (size_t i = 0; (link || *text == '/') && i < sizeof places / sizeof *places && !at; i++)
        if ((at = strstr(text, places[i])) != NULL)
            at += strlen(places[i]);
    if (!at || strlen(at) < JOB_ID_DIGITS)
        return false;
    snprintf(id, JOB_ID_SIZE, "%s", at);
    return ids_valid(id);
}

/* The picture as base64: of one that was painted here, its file's. NULL: `err`. */
static cJSON *picture_of(struct http_request *req, const char *name, const char *text,
                         struct err *err)
{
    struct queue *queue = http_app(req)->queue;
    struct job_image image = {0};
    char id[JOB_ID_SIZE], *path = NULL, *encoded = NULL;
    void *data = NULL;
    if (!picture_id(text, id)) {
        if (!strstr(text, "://"))
            return cJSON_CreateString(text);
        err_set(err, ERR_INVALID,
                "%s: wanted the link of a picture that was painted here, or base64; other links "
                "are not fetched",
                name);
        return NULL;
    }
    if (queue_image(queue, id, http_visible_key(req), &image, err) &&
        (path = queue_image_path(queue, &image, err)) != NULL &&
        blobs_read_here(path, image.bytes, &data, err) &&
        !(encoded = base64_encode(data, image.bytes)))
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    if (!encoded)
        err_prefix(err, "%s", name);
    cJSON *item = encoded ? cJSON_CreateString(encoded) : NULL;
    free(image.infotext);
    free(encoded);
    free(data);
    free(path);
    return item;
}

static bool take_picture(struct http_request *req, const cJSON *arguments, const char *name,
                         const char *field, cJSON *body, struct err *err)
{
    const char *text =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(arguments, name));
    if (!text)
        return true;
    cJSON *item = picture_of(req, name, text, err);
    return item && cJSON_AddItemToObject(body, field, item);
}

/* The request of the native API. Moves what it can. */
static bool body_of(struct http_request *req, const struct mcp_call *call, cJSON *arguments,
                    cJSON *body, struct err *err)
{
    char tag[128];
    if (!take_picture(req, arguments, "image", "init_image", body, err) ||
        !take_picture(req, arguments, "mask", "mask", body, err))
        return false;
    for (cJSON *item = arguments->child, *next; item; item = next) {
        next = item->next;
        if (mcp_tools_is_field(item->string))
            cJSON_AddItemToObject(body, item->string, cJSON_DetachItemViaPointer(arguments, item));
    }
    if (mcp_paint_tag(call->session, call->id, tag))
        cJSON_AddStringToObject(body, "tag", tag);
    return true;
}

static bool submit(struct http_request *req, struct painting *p, cJSON *body, struct err *err)
{
    struct native_job job;
    struct job_input inputs[INPUTS_MAX];
    char param[64];
    if (!native_job_read(p->app, http_visible_key(req), body, &job, param, err)) {
        if (strncmp(err->msg, "init_image", 10) == 0) /* as the tool calls it */
            memmove(err->msg, err->msg + 5, strlen(err->msg + 5) + 1);
        return false;
    }
    struct queue_request r = {.request = http_request_id(req), .params = &job.params,
                              .inputs = inputs, .tags = job.tags,
                              .input_count = native_job_inputs(&job, inputs)};
    bool ok =
        queue_submit_all(p->app->queue, http_key_id(req), p->ours, &r, 1, NULL, NULL, err);
    memcpy(p->job_id, r.id, sizeof p->job_id);
    native_job_free(&job);
    return ok;
}

void mcp_paint(struct http_request *req, const struct mcp_call *call, struct cJSON *arguments)
{
    struct err err;
    struct painting *p = painting_new(req, call, arguments);
    cJSON *body = cJSON_CreateObject();
    if (!p || !body)
        err_set(&err, ERR_INTERNAL, "no memory for a call");
    else {
        p->ours = call->modern && p->wait;
        if (body_of(req, call, arguments, body, &err) && submit(req, p, body, &err)) {
            cJSON_Delete(body);
            start(req, call, p);
            return;
        }
        p->ours = false;
    }
    cJSON_Delete(body);
    if (p)
        painting_free(p);
    mcp_reply(req, call, mcp_reply_failure(err.msg));
}

void mcp_paint_status(struct http_request *req, const struct mcp_call *call,
                      const struct cJSON *arguments)
{
    const char *id =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(arguments, "job"));
    struct painting *p = NULL;
    struct job job;
    struct err err;
    if (!queue_get(http_app(req)->queue, id, http_visible_key(req), &job, &err)) {
        mcp_reply(req, call, mcp_reply_failure(err.msg));
        return;
    }
    if ((p = painting_new(req, call, arguments)) != NULL) {
        memcpy(p->job_id, job.id, sizeof p->job_id);
        p->wait = false;
        start(req, call, p);
    } else {
        mcp_reply(req, call, mcp_reply_failure("no memory for a call"));
    }
    job_free(&job);
}
