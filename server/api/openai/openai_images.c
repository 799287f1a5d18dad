/* openai_images.c: the images API's three ways to ask for pictures, and its answers. */
#include "server/api/openai/openai_images.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/io/image.h"
#include "server/api/composing.h"
#include "server/api/linked.h"
#include "server/api/openai/openai.h"
#include "server/api/openai/openai_paint.h"
#include "server/api/openai/openai_request.h"
#include "server/http/http.h"

/* ---- parts of answers ---- */

static void add_usage(cJSON *json, const struct openai_waiting *w, const struct job *job,
                      int images)
{
    int output = images * openai_paint_image_tokens(job->params.width, job->params.height);
    int input = w->input_tokens + w->input_image_tokens;
    cJSON *said = job_usage(job);
    if (said) { /* by the upstream, which knows */
        cJSON_AddItemToObject(json, "usage", said);
        return;
    }
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

/* `image` NULL: there is none yet. */
static void add_description(cJSON *json, const struct openai_waiting *w,
                            const struct job_image *image)
{
    cJSON_AddStringToObject(json, "background", "opaque");
    cJSON_AddStringToObject(json, "output_format",
                            image_formats[image ? image->format : w->format]);
    cJSON_AddStringToObject(json, "quality", w->quality);
    cJSON_AddStringToObject(json, "size", w->size_text);
    if (w->safety_identifier)
        cJSON_AddStringToObject(json, "safety_identifier", w->safety_identifier);
}

/* `picture` NULL: there was none to be had. */
static bool add(cJSON *json, const char *name, cJSON *picture)
{
    return picture && cJSON_AddItemToObject(json, name, picture);
}

static bool add_link(cJSON *json, const struct openai_waiting *w, const struct job_image *image,
                     struct err *err)
{
    char *url = openai_paint_link(w->base_url, image);
    bool ok = url ? cJSON_AddStringToObject(json, "url", url) != NULL
                  : err_set(err, ERR_INTERNAL, "no memory for a link");
    free(url);
    return ok;
}

static cJSON *whole(const struct openai_waiting *w, const struct job *job,
                    const struct openai_place *to, struct err *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "created", (double)(job->finished_ms / 1000));
    add_description(json, w, job->image_count ? job->images : NULL);
    cJSON *data = cJSON_AddArrayToObject(json, "data");
    for (size_t i = 0; i < job->image_count; i++) {
        const struct job_image *image = &job->images[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(data, item);
        if (!(w->url ? add_link(item, w, image, err)
                     : add(item, "b64_json", openai_paint_file(w->app, to, image, "", err)))) {
            cJSON_Delete(json);
            return NULL;
        }
        openai_paint_revised(item, job, image);
    }
    add_usage(json, w, job, (int)job->image_count);
    return json;
}

/* ---- streams ---- */

static void fault(struct openai_waiting *w, const struct job *job, const struct openai_fault *f,
                  struct http_stream *stream)
{
    cJSON *json = openai_fault_json(f);
    cJSON_AddStringToObject(json, "type", "error");
    http_stream_json(stream, "error", json);
}

/* "image_generation.completed", "image_edit.partial_image" */
static const char *event_name(const struct openai_waiting *w, bool completed)
{
    if (w->kind == OPENAI_GENERATION)
        return completed ? "image_generation.completed" : "image_generation.partial_image";
    return completed ? "image_edit.completed" : "image_edit.partial_image";
}

static cJSON *event_json(const struct openai_waiting *w, const char *event, const struct job *job,
                         const struct job_image *image)
{
    int64_t at = job->finished_ms  ? job->finished_ms
                 : job->started_ms ? job->started_ms
                                   : job->created_ms;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "type", event);
    cJSON_AddNumberToObject(json, "created_at", (double)(at / 1000));
    add_description(json, w, image);
    return json;
}

static bool partial(struct openai_waiting *w, const struct job *job, const char *base64, int index,
                    struct http_stream *stream)
{
    const char *event = event_name(w, false);
    cJSON *json = event_json(w, event, job, NULL);
    cJSON_AddStringToObject(json, "b64_json", base64);
    cJSON_AddNumberToObject(json, "partial_image_index", index);
    return http_stream_json(stream, event, json);
}

static bool completed(struct openai_waiting *w, const struct job *job,
                      const struct job_image *image, struct http_stream *stream, struct err *err)
{
    const char *event = event_name(w, true);
    cJSON *json = event_json(w, event, job, image);
    const struct openai_place to = {.stream = stream};
    openai_paint_revised(json, job, image);
    if (!add(json, "b64_json", openai_paint_file(w->app, &to, image, "", err))) {
        cJSON_Delete(json);
        return false;
    }
    add_usage(json, w, job, 1);
    return http_stream_json(stream, event, json);
}

static const struct openai_shape shape = {
    .whole = whole, .partial = partial, .image = completed, .fault = fault};

struct cJSON *openai_images_answer(const struct app *app, const struct job *job,
                                   const char *quality, bool url, const char *base_url,
                                   struct err *err)
{
    const struct openai_place to = {0};
    const struct job_params *p = &job->params;
    char size[32], base[400];
    snprintf(size, sizeof size, "%dx%d", p->width, p->height);
    snprintf(base, sizeof base, "%s", base_url);
    struct openai_waiting w = {
        .app = app,
        .base_url = base,
        .size_text = size,
        .format = (enum image_format)p->format,
        .url = url,
        .input_tokens = openai_paint_text_tokens(p->prompt),
        .input_image_tokens = p->has_init ? openai_paint_image_tokens(p->width, p->height) : 0};
    snprintf(w.quality, sizeof w.quality, "%s", quality);
    return whole(&w, job, &to, err);
}

/* ---- requests ---- */

static void serve(struct http_request *req, enum openai_kind kind)
{
    struct openai_request r;
    struct openai_fault f;
    if (kind != OPENAI_VARIATION &&
        composing_begins(req, NULL,
                         kind == OPENAI_EDIT ? openai_images_edit : openai_images_generate))
        return;
    if (openai_request_read(req, kind, &r, &f))
        openai_paint(req, &shape, kind, &r, NULL, NULL);
    else
        openai_reply_fault(req, &f);
}

void openai_images_generate(struct http_request *req)
{
    serve(req, OPENAI_GENERATION);
}

void openai_images_edit(struct http_request *req)
{
    if (linked_begins(req, openai_images_edit))
        return;
    serve(req, OPENAI_EDIT);
}

struct cJSON *openai_images_vary_schema(const struct settings *settings)
{
    cJSON *schema = openai_request_schema(settings);
    cJSON_DeleteItemFromObjectCaseSensitive(schema, "required"); /* the prompt */
    return schema;
}

void openai_images_vary(struct http_request *req)
{
    serve(req, OPENAI_VARIATION);
}
