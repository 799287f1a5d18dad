#include "server/api/openai/openai_paint.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/job_wait.h"
#include "server/base/base64.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/infotext_job.h"
#include "server/job/inputs.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/queue/queue_submit.h"
#include "server/store/blobs.h"
#include "server/worker/codec.h"

#define PREVIEWS_MAX (sizeof((struct openai_waiting){0}.previews) / sizeof(struct openai_preview))

static void waiting_free(void *ctx)
{
    struct openai_waiting *w = ctx;
    for (size_t i = 0; i < w->preview_count; i++)
        free(w->previews[i].jpeg);
    pthread_mutex_destroy(&w->lock);
    if (w->own_free)
        w->own_free(w->own);
    free(w->base_url);
    free(w->safety_identifier);
    free(w->size_text);
    free(w);
}

int openai_paint_text_tokens(const char *text)
{
    return (int)((strlen(text) + 3) / 4);
}

int openai_paint_image_tokens(int width, int height)
{
    return (width + 15) / 16 * ((height + 15) / 16);
}

static struct openai_waiting *waiting_new(struct http_request *req, enum openai_kind kind,
                                          struct openai_request *r)
{
    const struct job_params *p = &r->params;
    struct openai_waiting *w = calloc(1, sizeof *w);
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
    w->upstream = r->upstream;
    w->partial_images = r->partial_images;
    w->input_tokens = openai_paint_text_tokens(p->prompt);
    w->input_image_tokens =
        r->input_images > 0 ? openai_paint_image_tokens(p->width, p->height) : 0;
    if (w->base_url && w->size_text)
        return w;
    waiting_free(w);
    return NULL;
}

/* ---- parts of answers ---- */

/* The file in base64; takes `path`. */
static cJSON *read_file(char *path, size_t size, struct err *err)
{
    void *bytes = NULL;
    bool ok = blobs_read_here(path, size, &bytes, err);
    free(path);
    if (!ok)
        return NULL;
    char *text = base64_encode(bytes, size);
    free(bytes);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    free(text);
    if (!item)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    return item;
}

struct cJSON *openai_paint_file(const struct app *app, const struct openai_place *to,
                                const struct job_image *image, const char *before, struct err *err)
{
    char *path = queue_image_path(app->queue, image, err), *text = NULL;
    if (!path)
        return NULL;
    if (!to->stream && !to->req)
        return read_file(path, image->bytes, err);
    cJSON *item = to->stream ? http_stream_base64(to->stream, path, image->bytes)
                             : http_reply_base64(to->req, path, image->bytes);
    if (item && *before && asprintf(&text, "%s%s", before, item->valuestring) < 0)
        text = NULL;
    if (item && *before) {
        cJSON_Delete(item);
        item = text ? cJSON_CreateString(text) : NULL;
    }
    free(text);
    if (!item)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    return item;
}

void openai_paint_revised(struct cJSON *json, const struct job *job, const struct job_image *image)
{
    struct infotext text;
    const struct job_params *p = &job->params;
    if (!image->infotext || !strstr(image->infotext, INFOTEXT_REVISED)) {
        if (p->composed_from && *p->composed_from)
            cJSON_AddStringToObject(json, "revised_prompt", p->prompt);
        return;
    }
    if (!infotext_read(&text, image->infotext))
        return;
    const char *revised = infotext_get(&text, INFOTEXT_REVISED);
    if (revised)
        cJSON_AddStringToObject(json, "revised_prompt", revised);
    infotext_free(&text);
}

char *openai_paint_link(const char *base_url, const struct job_image *image)
{
    char *url;
    return asprintf(&url, "%s/v1/images/files/%s.%s", base_url, image->id,
                    image_formats[image->format]) < 0
               ? NULL
               : url;
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

void openai_paint_fault(const struct job *job, struct openai_fault *f)
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

static void add_headers(struct http_request *req, const struct openai_waiting *w)
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
    const struct openai_waiting *w = ctx;
    struct err err;
    if (job->state != JOB_DONE) {
        struct openai_fault f;
        openai_paint_fault(job, &f);
        /* What would fail again is not worth a retry, and that is all the queue has not retried
         * itself; but for an upstream that said when to come again. */
        if ((f.status != 429 && f.status != 503) || is_quota(&f))
            http_reply_header(req, "x-should-retry", "false");
        openai_reply_fault(req, &f);
        return;
    }
    cJSON *json = w->shape->whole(w, job, &(struct openai_place){.req = req}, &err);
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
    struct openai_waiting *w = ctx;
    bool preview = event->kind == EVENT_PROGRESS && event->preview &&
                   event->progress.step < event->progress.steps;
    if (event->kind == EVENT_PROGRESS && !preview)
        return;
    pthread_mutex_lock(&w->lock);
    if (preview && w->preview_count < PREVIEWS_MAX && w->partial_images > 0 && w->shape->partial) {
        struct openai_preview *p = &w->previews[w->preview_count];
        bool whole = event->partial;
        size_t size = whole ? event->partial_size : event->preview_size;
        *p = (struct openai_preview){event->progress.image, malloc(size), size, whole};
        if (p->jpeg) {
            memcpy(p->jpeg, whole ? event->partial : event->preview, size);
            w->preview_count++;
        }
    }
    if (w->stream)
        http_stream_wake(w->stream);
    pthread_mutex_unlock(&w->lock);
}

static void stream_free(void *ctx)
{
    struct openai_waiting *w = ctx;
    events_unsubscribe(w->subscription);
    if (!w->finished)
        queue_abandon(w->app->queue, w->job_id);
    waiting_free(w);
}

/* A preview is an eighth of the picture's size; a partial picture has its size and format. */
static bool encode_partial(const struct openai_waiting *w, const struct job_params *p,
                           struct openai_preview *preview, struct image_file *out)
{
    if (preview->whole && image_sniff(preview->jpeg, preview->size) == w->format) {
        *out = (struct image_file){preview->jpeg, preview->size}; /* as it came */
        preview->jpeg = NULL;
        return true;
    }
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

static bool announce(struct http_stream *stream, struct openai_waiting *w, const struct job *job)
{
    bool ok = w->announced || !w->shape->announce || w->shape->announce(w, job, stream);
    w->announced = true;
    return ok;
}

/* A partial that cannot be made is left out: the finished picture is what counts. */
static bool send_partial(struct http_stream *stream, struct openai_waiting *w,
                         const struct job *job, struct openai_preview *preview)
{
    struct image_file file;
    if (w->partials >= w->partial_images || !encode_partial(w, &job->params, preview, &file))
        return true;
    char *text = base64_encode(file.data, file.size);
    image_file_free(&file);
    bool ok = !text ||
              (announce(stream, w, job) && w->shape->partial(w, job, text, w->partials++, stream));
    free(text);
    return ok;
}

/* Takes the oldest preview, leaving those of later pictures for their turn. */
static bool take_preview(struct openai_waiting *w, struct openai_preview *out)
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

static bool send_partials(struct http_stream *stream, struct openai_waiting *w,
                          const struct job *job)
{
    struct openai_preview preview;
    bool ok = true;
    while (ok && take_preview(w, &preview)) {
        if (preview.image == w->next_image)
            ok = send_partial(stream, w, job, &preview);
        free(preview.jpeg);
    }
    return ok;
}

/* One picture at a time, in order. False: the stream is over. */
static bool send_image(struct http_stream *stream, struct openai_waiting *w, const struct job *job,
                       const struct job_image *image)
{
    struct openai_fault f;
    struct err err = {0};
    if (!announce(stream, w, job))
        return false;
    if (w->shape->image(w, job, image, stream, &err)) {
        w->next_image++;
        w->partials = 0;
        w->announced = false;
        return true;
    }
    if (err.code != ERR_NONE) {
        openai_fault_own(&f, &err);
        w->shape->fault(w, job, &f, stream);
    }
    return false;
}

/* What comes last. False: the stream is over. */
static bool send_end(struct http_stream *stream, struct openai_waiting *w, const struct job *job)
{
    struct openai_fault f;
    struct err err = {0};
    if (job->state != JOB_DONE) {
        openai_paint_fault(job, &f);
        w->shape->fault(w, job, &f, stream);
        return false;
    }
    if (w->ended || !w->shape->end)
        return false;
    w->ended = true;
    if (w->shape->end(w, job, stream, &err))
        return true;
    if (err.code != ERR_NONE) {
        openai_fault_own(&f, &err);
        w->shape->fault(w, job, &f, stream);
    }
    return false;
}

static const struct job_image *image_at(const struct job *job, int index)
{
    for (size_t i = 0; i < job->image_count; i++)
        if (job->images[i].index == index)
            return &job->images[i];
    return NULL;
}

/* 1: the job, which may have something to send; 0: not now; -1: never, `err` says why. */
static int look(struct openai_waiting *w, struct job *job, struct err *err)
{
    struct queue *queue = w->app->queue;
    enum job_state state;
    int images;
    if (queue_glance(queue, w->job_id, &state, &images, err)) {
        pthread_mutex_lock(&w->lock);
        bool preview = w->preview_count > 0;
        pthread_mutex_unlock(&w->lock);
        int sent = w->next_image + (w->upstream && w->held);
        bool news = preview || images > sent || job_state_is_final(state) || !w->begun;
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
    struct openai_waiting *w = ctx;
    struct openai_fault f;
    struct job job;
    struct err err;
    int found = look(w, &job, &err);
    if (found == 0)
        return true;
    if (found < 0) {
        openai_fault_own(&f, &err);
        w->shape->fault(w, NULL, &f, stream);
        return false;
    }
    bool going = w->begun || !w->shape->begin || w->shape->begin(w, &job, stream);
    w->begun = true;
    going = going && send_partials(stream, w, &job);
    const struct job_image *image = image_at(&job, w->next_image);
    w->held = image && w->upstream && !w->finished && w->next_image + 1 == job.params.count;
    if (w->held) /* what it used is told at the end */
        image = NULL;
    if (going && image)
        going = send_image(stream, w, &job, image);
    else if (going && w->finished)
        going = send_end(stream, w, &job);
    if (going && (image || w->finished))
        http_stream_wake(stream); /* for the next one, once this one is gone */
    job_free(&job);
    return going;
}

/* early_headers: the status is out, so errors come as a body of the usual shape. */
static bool produce_json(struct http_stream *stream, void *ctx)
{
    struct openai_waiting *w = ctx;
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
            json = w->shape->whole(w, &job, &(struct openai_place){.stream = stream}, &err);
        else if (w->finished)
            openai_paint_fault(&job, &f);
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
static void start_stream(struct http_request *req, struct openai_waiting *w, bool events)
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

static size_t inputs_of(const struct openai_request *r, struct job_input out[INPUTS_MAX])
{
    size_t count = 0;
    if (r->inputs.init)
        out[count++] = (struct job_input){"init", r->inputs.init, r->inputs.init_size};
    if (r->inputs.mask)
        out[count++] = (struct job_input){"mask", r->inputs.mask, r->inputs.mask_size};
    for (int i = 0; i < r->inputs.more_count; i++)
        out[count++] = (struct job_input){relay_input((size_t)i), r->inputs.more[i].data,
                                          r->inputs.more[i].size};
    return controls_given_inputs(&r->controls, out, count);
}

static struct queue_request request_of(const struct openai_request *r,
                                       struct job_input inputs[INPUTS_MAX])
{
    return (struct queue_request){.params = &r->params,
                                  .inputs = inputs,
                                  .tags = r->tags,
                                  .input_count = inputs_of(r, inputs)};
}

void openai_paint(struct http_request *req, const struct openai_shape *shape, enum openai_kind kind,
                  struct openai_request *r, void *own, void (*own_free)(void *own))
{
    const struct app *app = http_app(req);
    struct err err;
    struct job_input inputs[INPUTS_MAX];
    struct queue_request q = request_of(r, inputs);
    struct openai_waiting *w = waiting_new(req, kind, r);
    if (!w) {
        if (own_free)
            own_free(own);
        err_set(&err, ERR_INTERNAL, "out of memory");
        http_reply_error(req, &err, NULL);
        openai_request_free(r);
        return;
    }
    w->shape = shape;
    w->own = own;
    w->own_free = own_free;
    q.request = http_request_id(req);
    bool accepted = queue_submit_all(app->queue, http_key_id(req), true, &q, 1, NULL, NULL, &err);
    memcpy(w->job_id, q.id, sizeof w->job_id);
    if (!accepted) {
        waiting_free(w);
        http_reply_error(req, &err, NULL);
    } else if (r->stream || app->settings->early_headers) {
        start_stream(req, w, r->stream);
    } else {
        job_wait(req, w->job_id, false, reply_final, w, waiting_free);
    }
    openai_request_free(r);
}

bool openai_paint_later(const struct app *app, const char *key_id, int priority,
                        struct openai_request *r, char job_id[JOB_ID_SIZE], struct openai_fault *f)
{
    struct err err;
    struct job_input inputs[INPUTS_MAX];
    struct queue_request q = request_of(r, inputs);
    q.priority = priority;
    bool ok = queue_submit_all(app->queue, key_id, false, &q, 1, NULL, NULL, &err);
    memcpy(job_id, q.id, JOB_ID_SIZE);
    if (!ok)
        openai_fault(f, http_error_status(err.code),
                     err.code == ERR_BUSY    ? "rate_limit_exceeded"
                     : err.code == ERR_QUOTA ? OPENAI_QUOTA
                                             : NULL,
                     NULL, "%s", err.msg);
    openai_request_free(r);
    return ok;
}
