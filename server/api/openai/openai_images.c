/* openai_images.c: the three ways to ask for pictures, and their answers, whole or streamed.
 *
 * What the answer needs of the request (struct waiting) is made before the job is submitted and
 * belongs to the connection. A streamed answer notes previews as they are published and turns them
 * into complete pictures on a server thread when the client takes more; finished pictures are read
 * from the disk as the client reads them. */
#include "server/api/openai/openai_images.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_request.h"
#include "server/api/app.h"
#include "server/api/job_wait.h"
#include "server/base/base64.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/worker/codec.h"

#define PREVIEWS_MAX 8 /* noted and not sent yet; more are dropped */

struct preview {
    int image;
    uint8_t *jpeg;
    size_t size;
};

struct waiting {
    const struct app *app;
    enum openai_kind kind;
    char *base_url, *safety_identifier, *size_text;
    enum image_format format;
    char quality[12], ignored[500];
    int compression; /* of partial pictures too */
    bool url;
    int input_tokens, input_image_tokens;
    char job_id[JOB_ID_SIZE];

    /* streams */
    int64_t trouble_ms; /* producer only */
    int next_image;     /* producer only */
    int partials;       /* sent of next_image; producer only */
    int partial_images; /* wanted of each */
    bool finished;      /* the job needs no cancelling */
    struct subscription *subscription;
    pthread_mutex_t lock; /* what follows */
    struct http_stream *stream;
    struct preview previews[PREVIEWS_MAX];
    size_t preview_count;
};

static void waiting_free(void *ctx)
{
    struct waiting *w = ctx;
    for (size_t i = 0; i < w->preview_count; i++)
        free(w->previews[i].jpeg);
    pthread_mutex_destroy(&w->lock);
    free(w->base_url);
    free(w->safety_identifier);
    free(w->size_text);
    free(w);
}

/* Nothing is billed here; clients want numbers, so they are those of a plain rule: four bytes of
 * text, or 16 x 16 pixels, are a token. */
static int text_tokens(const char *text)
{
    return (int)((strlen(text) + 3) / 4);
}

static int image_tokens(int width, int height)
{
    return (width + 15) / 16 * ((height + 15) / 16);
}

static struct waiting *waiting_new(struct http_request *req, enum openai_kind kind,
                                   struct openai_request *r)
{
    const struct job_params *p = &r->params;
    struct waiting *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    w->app = http_app(req);
    w->kind = kind;
    w->base_url = strdup(http_base_url(req));
    w->safety_identifier = r->safety_identifier;
    r->safety_identifier = NULL;
    if (asprintf(&w->size_text, "%dx%d", p->width, p->height) < 0)
        w->size_text = NULL;
    w->format = (enum image_format)p->format;
    snprintf(w->quality, sizeof w->quality, "%s", r->quality);
    snprintf(w->ignored, sizeof w->ignored, "%s", r->ignored);
    w->compression = p->quality;
    w->url = r->url;
    w->partial_images = r->partial_images;
    w->input_tokens = text_tokens(p->prompt);
    w->input_image_tokens = r->input_images > 0 ? image_tokens(p->width, p->height) : 0;
    if (w->base_url && w->size_text)
        return w;
    waiting_free(w);
    return NULL;
}

/* ---- parts of answers ---- */

static void add_usage(cJSON *json, const struct waiting *w, const struct job *job, int images)
{
    int output = images * image_tokens(job->params.width, job->params.height);
    int input = w->input_tokens + w->input_image_tokens;
    cJSON *usage = cJSON_AddObjectToObject(json, "usage");
    cJSON_AddNumberToObject(usage, "total_tokens", input + output);
    cJSON_AddNumberToObject(usage, "input_tokens", input);
    cJSON_AddNumberToObject(usage, "output_tokens", output);
    cJSON *details = cJSON_AddObjectToObject(usage, "input_tokens_details");
    cJSON_AddNumberToObject(details, "text_tokens", w->input_tokens);
    cJSON_AddNumberToObject(details, "image_tokens", w->input_image_tokens);
    details = cJSON_AddObjectToObject(usage, "output_tokens_details");
    cJSON_AddNumberToObject(details, "image_tokens", output);
    cJSON_AddNumberToObject(details, "text_tokens", 0);
}

static void add_description(cJSON *json, const struct waiting *w)
{
    cJSON_AddStringToObject(json, "background", "opaque");
    cJSON_AddStringToObject(json, "output_format", image_formats[w->format]);
    cJSON_AddStringToObject(json, "quality", w->quality);
    cJSON_AddStringToObject(json, "size", w->size_text);
    if (w->safety_identifier)
        cJSON_AddStringToObject(json, "safety_identifier", w->safety_identifier);
}

/* Read from the disk when the client reads the answer to `req`, or the stream. */
static bool add_file(cJSON *json, const struct waiting *w, const struct job_image *image,
                     struct http_request *req, struct http_stream *stream, struct err *err)
{
    char *path = queue_image_path(w->app->queue, image, err);
    if (!path)
        return false;
    cJSON *item = stream ? http_stream_base64(stream, path, image->bytes)
                         : http_reply_base64(req, path, image->bytes);
    if (!item)
        return err_set(err, ERR_INTERNAL, "no memory for a picture");
    return cJSON_AddItemToObject(json, "b64_json", item);
}

static bool add_link(cJSON *json, const struct waiting *w, const struct job_image *image,
                     struct err *err)
{
    char *url;
    if (asprintf(&url, "%s/v1/images/files/%s.%s", w->base_url, image->id,
                 image_formats[image->format]) < 0)
        return err_set(err, ERR_INTERNAL, "no memory for a link");
    cJSON_AddStringToObject(json, "url", url);
    free(url);
    return true;
}

/* The answer to `req`, or what goes into a stream. Owned; NULL: `err` says why. */
static cJSON *answer_json(const struct waiting *w, const struct job *job, struct http_request *req,
                          struct http_stream *stream, struct err *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "created", (double)(job->finished_ms / 1000));
    add_description(json, w);
    cJSON *data = cJSON_AddArrayToObject(json, "data");
    for (size_t i = 0; i < job->image_count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(data, item);
        if (!(w->url ? add_link(item, w, &job->images[i], err)
                     : add_file(item, w, &job->images[i], req, stream, err))) {
            cJSON_Delete(json);
            return NULL;
        }
    }
    add_usage(json, w, job, (int)job->image_count);
    return json;
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* What an upstream said, as it said it. */
static void fault_of_refusal(const struct job *job, struct openai_fault *f)
{
    const struct refusal *r = &job->refusal;
    int status = refusal_status(r);
    openai_fault(f, status, or_null(r->code), or_null(r->param), "%s", job->error_message);
    f->type = or_null(r->type);
    f->retry_after = r->retry_after > 0 ? r->retry_after : r->retry_after == 0;
    snprintf(f->moderation, sizeof f->moderation, "%s", r->moderation);
    if (status == 429 && !f->code)
        f->code = "rate_limit_exceeded";
}

/* Why a final job has no pictures; `f` borrows from it. */
static void fault_of_job(const struct job *job, struct openai_fault *f)
{
    if (job->state == JOB_CANCELLED) {
        openai_fault(f, 409, "cancelled", NULL, "The job was cancelled.");
        return;
    }
    if (job->refusal.status && refusal_status(&job->refusal) != 502) {
        fault_of_refusal(job, f);
        return;
    }
    int status = http_error_status(job->error);
    bool ours = status >= 500 || job->error == ERR_DENIED || job->error == ERR_BUSY;
    openai_fault(f,
                 status >= 500 ? status
                 : ours        ? 502
                               : 400,
                 err_name(job->error), NULL, "%s", job->error_message);
}

/* ---- answers at once ---- */

static void add_headers(struct http_request *req, const struct waiting *w)
{
    openai_headers(req);
    if (*w->ignored)
        http_reply_header(req, "x-ignored-parameters", w->ignored);
}

static bool is_quota(const struct openai_fault *f)
{
    return f->code && strcmp(f->code, "insufficient_quota") == 0;
}

static void reply_final(struct http_request *req, const struct job *job, void *ctx)
{
    const struct waiting *w = ctx;
    struct err err;
    if (job->state != JOB_DONE) {
        struct openai_fault f;
        fault_of_job(job, &f);
        /* What would fail again is not worth a retry, and that is all the queue has not retried
         * itself; but for an upstream that said when to come again. */
        if ((f.status != 429 && f.status != 503) || is_quota(&f))
            http_reply_header(req, "x-should-retry", "false");
        openai_reply_fault(req, &f);
        return;
    }
    cJSON *json = answer_json(w, job, req, NULL, &err);
    if (!json) {
        http_reply_error(req, &err, NULL);
        return;
    }
    add_headers(req, w);
    http_reply_json(req, 200, json);
}

/* ---- answers in pieces ---- */

static void on_event(void *ctx, const struct event *event)
{
    struct waiting *w = ctx;
    bool preview = event->kind == EVENT_PROGRESS && event->preview &&
                   event->progress.step < event->progress.steps;
    if (event->kind == EVENT_PROGRESS && !preview)
        return;
    pthread_mutex_lock(&w->lock);
    if (preview && w->preview_count < PREVIEWS_MAX && w->partial_images > 0) {
        struct preview *p = &w->previews[w->preview_count];
        *p = (struct preview){event->progress.image, malloc(event->preview_size),
                              event->preview_size};
        if (p->jpeg) {
            memcpy(p->jpeg, event->preview, p->size);
            w->preview_count++;
        }
    }
    if (w->stream)
        http_stream_wake(w->stream);
    pthread_mutex_unlock(&w->lock);
}

static void stream_free(void *ctx)
{
    struct waiting *w = ctx;
    events_unsubscribe(w->subscription);
    if (!w->finished)
        queue_abandon(w->app->queue, w->job_id);
    waiting_free(w);
}

static bool send_fault(struct http_stream *stream, const struct openai_fault *f)
{
    cJSON *json = openai_fault_json(f);
    cJSON_AddStringToObject(json, "type", "error");
    return http_stream_json(stream, "error", json);
}

/* "image_generation.completed", "image_edit.partial_image" */
static const char *event_name(const struct waiting *w, bool completed)
{
    if (w->kind == OPENAI_GENERATION)
        return completed ? "image_generation.completed" : "image_generation.partial_image";
    return completed ? "image_edit.completed" : "image_edit.partial_image";
}

static cJSON *event_json(const struct waiting *w, const char *event, const struct job *job)
{
    int64_t at = job->finished_ms  ? job->finished_ms
                 : job->started_ms ? job->started_ms
                                   : job->created_ms;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", event);
    cJSON_AddNumberToObject(json, "created_at", (double)(at / 1000));
    add_description(json, w);
    return json;
}

/* A preview is an eighth of the picture's size; a partial picture has its size and format. */
static bool encode_partial(const struct waiting *w, const struct job_params *p,
                           const struct preview *preview, struct image_file *out)
{
    struct pictor_image small, full = {0};
    size_t pixels = (size_t)p->width * (size_t)p->height;
    if (!codec_decode(w->app->codec, preview->jpeg, preview->size, pixels, &small, NULL))
        return false;
    bool ok = image_resize(&small, p->width, p->height, IMAGE_BICUBIC, &full, NULL) &&
              codec_encode(w->app->codec, &full, w->format, w->compression, NULL, out, NULL);
    pictor_image_free(&full);
    pictor_image_free(&small);
    return ok;
}

/* A partial that cannot be made is left out: the finished picture is what counts. */
static bool send_partial(struct http_stream *stream, struct waiting *w, const struct job *job,
                         const struct preview *preview)
{
    struct image_file file;
    const char *event = event_name(w, false);
    if (w->partials >= w->partial_images || !encode_partial(w, &job->params, preview, &file))
        return true;
    cJSON *json = event_json(w, event, job);
    char *text = base64_encode(file.data, file.size);
    if (text)
        cJSON_AddStringToObject(json, "b64_json", text);
    free(text);
    image_file_free(&file);
    cJSON_AddNumberToObject(json, "partial_image_index", w->partials++);
    return http_stream_json(stream, event, json);
}

/* Takes the oldest preview, leaving those of later pictures for their turn. */
static bool take_preview(struct waiting *w, struct preview *out)
{
    pthread_mutex_lock(&w->lock);
    bool ours = w->preview_count > 0 && w->previews[0].image <= w->next_image;
    if (ours) {
        *out = w->previews[0];
        w->preview_count--;
        memmove(w->previews, w->previews + 1, w->preview_count * sizeof *w->previews);
    }
    pthread_mutex_unlock(&w->lock);
    return ours;
}

static bool send_partials(struct http_stream *stream, struct waiting *w, const struct job *job)
{
    struct preview preview;
    bool ok = true;
    while (ok && take_preview(w, &preview)) {
        if (preview.image == w->next_image)
            ok = send_partial(stream, w, job, &preview);
        free(preview.jpeg);
    }
    return ok;
}

/* One picture at a time, in order. False: the stream is over. */
static bool send_completed(struct http_stream *stream, struct waiting *w, const struct job *job,
                           const struct job_image *image)
{
    const char *event = event_name(w, true);
    struct openai_fault f;
    struct err err;
    cJSON *json = event_json(w, event, job);
    if (!add_file(json, w, image, NULL, stream, &err)) {
        cJSON_Delete(json);
        openai_fault_own(&f, &err);
        send_fault(stream, &f);
        return false;
    }
    add_usage(json, w, job, 1);
    w->next_image++;
    w->partials = 0;
    return http_stream_json(stream, event, json);
}

static const struct job_image *image_at(const struct job *job, int index)
{
    for (size_t i = 0; i < job->image_count; i++)
        if (job->images[i].index == index)
            return &job->images[i];
    return NULL;
}

/* 1: the job, which may have something to send; 0: not now; -1: never, `err` says why. */
static int look(struct waiting *w, struct job *job, struct err *err)
{
    struct queue *queue = w->app->queue;
    enum job_state state;
    int images;
    if (queue_glance(queue, w->job_id, &state, &images, err)) {
        pthread_mutex_lock(&w->lock);
        bool preview = w->preview_count > 0;
        pthread_mutex_unlock(&w->lock);
        bool news = preview || images > w->next_image || job_state_is_final(state);
        if (!news && !queue_well(queue, err))
            return -1;
        if (!news || queue_get(queue, w->job_id, NULL, job, err)) {
            w->trouble_ms = 0;
            w->finished = news && job_state_is_final(job->state);
            return news;
        }
    }
    return queue_ask_again(&w->trouble_ms, err) ? 0 : -1;
}

static bool produce_events(struct http_stream *stream, void *ctx)
{
    struct waiting *w = ctx;
    struct openai_fault f;
    struct job job;
    struct err err;
    int found = look(w, &job, &err);
    if (found == 0)
        return true;
    if (found < 0) {
        openai_fault_own(&f, &err);
        send_fault(stream, &f);
        return false;
    }
    bool going = send_partials(stream, w, &job);
    const struct job_image *image = image_at(&job, w->next_image);
    if (going && image) {
        going = send_completed(stream, w, &job, image);
        http_stream_wake(stream); /* for the next one, once this one is gone */
    } else if (going && w->finished) {
        if (job.state != JOB_DONE) {
            fault_of_job(&job, &f);
            send_fault(stream, &f);
        }
        going = false;
    }
    job_free(&job);
    return going;
}

/* early_headers: the status is out, so errors come as a body of the usual shape. */
static bool produce_json(struct http_stream *stream, void *ctx)
{
    struct waiting *w = ctx;
    struct openai_fault f;
    struct job job;
    struct err err;
    cJSON *json = NULL;
    int found = look(w, &job, &err);
    if (found == 0)
        return true;
    if (found > 0) {
        bool done = job.state == JOB_DONE;
        if (done)
            json = answer_json(w, &job, NULL, stream, &err);
        else if (w->finished)
            fault_of_job(&job, &f);
        job_free(&job);
        if (!w->finished)
            return true;
        if (done && !json)
            found = -1;
    }
    if (found < 0)
        openai_fault_own(&f, &err);
    if (!json)
        json = openai_fault_json(&f);
    http_stream_json(stream, NULL, json);
    return false;
}

/* Takes `w`, whose job is submitted. */
static void start_stream(struct http_request *req, struct waiting *w, bool events)
{
    struct err err;
    w->subscription = events_subscribe(w->app->events, w->job_id, on_event, w, &err);
    if (!w->subscription) {
        stream_free(w);
        http_reply_error(req, &err, NULL);
        return;
    }
    add_headers(req, w);
    struct http_stream *stream =
        http_stream_start(req, events ? HTTP_STREAM_EVENTS : HTTP_STREAM_JSON,
                          events ? produce_events : produce_json, stream_free, w);
    if (!stream)
        return;
    pthread_mutex_lock(&w->lock);
    w->stream = stream;
    pthread_mutex_unlock(&w->lock);
}

/* ---- requests ---- */

static void serve(struct http_request *req, enum openai_kind kind)
{
    const struct app *app = http_app(req);
    struct openai_request r;
    struct openai_fault f;
    struct err err;
    if (!openai_request_read(req, kind, &r, &f)) {
        openai_reply_fault(req, &f);
        return;
    }
    struct job_input inputs[2 + CONTROLS_INPUTS];
    size_t count = 0;
    if (r.inputs.init)
        inputs[count++] = (struct job_input){"init", r.inputs.init, r.inputs.init_size};
    if (r.inputs.mask)
        inputs[count++] = (struct job_input){"mask", r.inputs.mask, r.inputs.mask_size};
    count = controls_given_inputs(&r.controls, inputs, count);
    struct waiting *w = waiting_new(req, kind, &r);
    if (!w) {
        err_set(&err, ERR_INTERNAL, "out of memory");
        http_reply_error(req, &err, NULL);
    } else if (!queue_submit(app->queue, http_key_id(req), 0, true, &r.params, inputs, count,
                             w->job_id, &err)) {
        waiting_free(w);
        http_reply_error(req, &err, NULL);
    } else if (r.stream || app->settings->early_headers) {
        start_stream(req, w, r.stream);
    } else {
        job_wait(req, w->job_id, false, reply_final, w, waiting_free);
    }
    openai_request_free(&r);
}

void openai_images_generate(struct http_request *req)
{
    serve(req, OPENAI_GENERATION);
}

void openai_images_edit(struct http_request *req)
{
    serve(req, OPENAI_EDIT);
}

void openai_images_vary(struct http_request *req)
{
    serve(req, OPENAI_VARIATION);
}
