/* openai_chat.c: chat requests as requests of the images API, and pictures as chat's answers.
 *
 * Pictures are data: URLs, which everything that shows Markdown shows wherever it runs, and links
 * where the operator has said under which address the server is seen (public_url) or the request
 * asks for them. A choice is a picture. */
#include "server/api/openai/openai_chat.h"

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
#include "server/api/openai/openai_request.h"
#include "server/api/openai/openai_talk.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"

#define ALT_MAX 100 /* bytes of the prompt that describe the picture */

struct own {
    char *model; /* as the request calls it */
    char alt[ALT_MAX + 1];
    bool usage; /* a stream ends with it */
};

static void own_free(void *ctx)
{
    struct own *own = ctx;
    if (own)
        free(own->model);
    free(own);
}

/* ---- answers ---- */

static cJSON *head(const struct openai_waiting *w, const struct job *job, const char *object)
{
    const struct own *own = w->own;
    char id[48];
    cJSON *json = cJSON_CreateObject();
    snprintf(id, sizeof id, "chatcmpl-%s", w->job_id);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "object", object);
    cJSON_AddNumberToObject(json, "created", (double)(job->created_ms / 1000));
    cJSON_AddStringToObject(json, "model", own->model ? own->model : job->params.model);
    cJSON_AddNullToObject(json, "system_fingerprint");
    return json;
}

/* A number of what an upstream has told, under this API's name or that of images. */
static bool told(const cJSON *usage, const char *name, const char *other, double *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(usage, name);
    if (!item)
        item = cJSON_GetObjectItemCaseSensitive(usage, other);
    if (!cJSON_IsNumber(item))
        return false;
    *out = item->valuedouble;
    return true;
}

static void add_details(cJSON *usage, const cJSON *said, const char *name, const char *other)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(said, name);
    if (!item)
        item = cJSON_GetObjectItemCaseSensitive(said, other);
    if (item)
        cJSON_AddItemToObject(usage, name, cJSON_Duplicate(item, true));
}

static void add_usage(cJSON *json, const struct openai_waiting *w, const struct job *job)
{
    double input = w->input_tokens + w->input_image_tokens, total;
    double output = (double)job->image_count *
                    openai_paint_image_tokens(job->params.width, job->params.height);
    cJSON *said = job_usage(job);
    told(said, "prompt_tokens", "input_tokens", &input);
    told(said, "completion_tokens", "output_tokens", &output);
    if (!told(said, "total_tokens", "total_tokens", &total))
        total = input + output;
    cJSON *usage = cJSON_AddObjectToObject(json, "usage");
    cJSON_AddNumberToObject(usage, "prompt_tokens", input);
    cJSON_AddNumberToObject(usage, "completion_tokens", output);
    cJSON_AddNumberToObject(usage, "total_tokens", total);
    add_details(usage, said, "prompt_tokens_details", "input_tokens_details");
    add_details(usage, said, "completion_tokens_details", "output_tokens_details");
    cJSON_Delete(said);
}

/* The picture's URL behind `before`; owned. */
static cJSON *url_of(const struct openai_waiting *w, const struct job_image *image,
                     const struct openai_place *to, const char *before, struct err *err)
{
    char *text = NULL, *link = w->url ? openai_paint_link(w->base_url, image) : NULL;
    int n = link      ? asprintf(&text, "%s%s", before, link)
            : !w->url ? asprintf(&text, "%sdata:%s;base64,", before, image_mime(image->format))
                      : -1;
    cJSON *item = n < 0   ? NULL
                  : w->url ? cJSON_CreateString(text)
                           : openai_paint_file(w->app, to, image, text, err);
    if (n < 0 || (w->url && !item))
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    if (n >= 0)
        free(text);
    free(link);
    return item;
}

/* Adds what shows the picture to a message, or to the piece of one. */
static bool add_picture(cJSON *message, const struct openai_waiting *w, const struct job *job,
                        const struct job_image *image, const struct openai_place *to,
                        struct err *err)
{
    const struct own *own = w->own;
    char before[ALT_MAX + 8], *text = NULL;
    snprintf(before, sizeof before, "![%s](", own->alt);
    cJSON *content = url_of(w, image, to, before, err);
    if (content && asprintf(&text, "%s)", content->valuestring) < 0)
        text = NULL;
    cJSON_Delete(content);
    bool ok = text && cJSON_AddStringToObject(message, "content", text);
    if (content && !ok)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
    free(text);
    cJSON *url = ok ? url_of(w, image, to, "", err) : NULL;
    if (!url)
        return false;
    cJSON *images = cJSON_AddArrayToObject(message, "images"), *item = cJSON_CreateObject();
    cJSON_AddItemToArray(images, item);
    cJSON_AddStringToObject(item, "type", "image_url");
    cJSON_AddNumberToObject(item, "index", 0);
    cJSON_AddItemToObject(cJSON_AddObjectToObject(item, "image_url"), "url", url);
    openai_paint_revised(message, job, image);
    return true;
}

static cJSON *whole(const struct openai_waiting *w, const struct job *job,
                    const struct openai_place *to, struct err *err)
{
    cJSON *json = head(w, job, "chat.completion");
    cJSON *choices = cJSON_AddArrayToObject(json, "choices");
    for (size_t i = 0; i < job->image_count; i++) {
        cJSON *choice = cJSON_CreateObject();
        cJSON_AddItemToArray(choices, choice);
        cJSON_AddNumberToObject(choice, "index", (double)i);
        cJSON *message = cJSON_AddObjectToObject(choice, "message");
        cJSON_AddStringToObject(message, "role", "assistant");
        if (!add_picture(message, w, job, &job->images[i], to, err)) {
            cJSON_Delete(json);
            return NULL;
        }
        cJSON_AddNullToObject(message, "refusal");
        cJSON_AddNullToObject(choice, "logprobs");
        cJSON_AddStringToObject(choice, "finish_reason", "stop");
    }
    add_usage(json, w, job);
    return json;
}

/* ---- streams ---- */

/* A chunk with one choice; *delta is what it adds. */
static cJSON *chunk(const struct openai_waiting *w, const struct job *job, int index,
                    const char *finish, cJSON **delta)
{
    cJSON *json = head(w, job, "chat.completion.chunk");
    cJSON *choices = cJSON_AddArrayToObject(json, "choices"), *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(choices, choice);
    cJSON_AddNumberToObject(choice, "index", index);
    *delta = cJSON_AddObjectToObject(choice, "delta");
    cJSON_AddNullToObject(choice, "logprobs");
    cJSON_AddItemToObject(choice, "finish_reason",
                          finish ? cJSON_CreateString(finish) : cJSON_CreateNull());
    return json;
}

static bool announce(struct openai_waiting *w, const struct job *job, struct http_stream *stream)
{
    cJSON *delta, *json = chunk(w, job, w->next_image, NULL, &delta);
    cJSON_AddStringToObject(delta, "role", "assistant");
    cJSON_AddStringToObject(delta, "content", "");
    return http_stream_json(stream, NULL, json);
}

/* The first one at once: clients show that an answer has begun. */
static bool begin(struct openai_waiting *w, const struct job *job, struct http_stream *stream)
{
    w->announced = true;
    return announce(w, job, stream);
}

static bool picture(struct openai_waiting *w, const struct job *job, const struct job_image *image,
                    struct http_stream *stream, struct err *err)
{
    const struct openai_place to = {.stream = stream};
    cJSON *delta, *json = chunk(w, job, w->next_image, NULL, &delta);
    if (add_picture(delta, w, job, image, &to, err))
        return http_stream_json(stream, NULL, json);
    cJSON_Delete(json);
    return false;
}

static bool end(struct openai_waiting *w, const struct job *job, struct http_stream *stream,
                struct err *err)
{
    static const char done[] = "data: [DONE]\n\n";
    const struct own *own = w->own;
    cJSON *delta;
    for (int i = 0; i < w->next_image; i++)
        if (!http_stream_json(stream, NULL, chunk(w, job, i, "stop", &delta)))
            return false;
    if (own->usage) {
        cJSON *json = head(w, job, "chat.completion.chunk");
        cJSON_AddArrayToObject(json, "choices");
        add_usage(json, w, job);
        if (!http_stream_json(stream, NULL, json))
            return false;
    }
    return http_stream_write(stream, done, sizeof done - 1);
}

static void fault(struct openai_waiting *w, const struct job *job, const struct openai_fault *f,
                  struct http_stream *stream)
{
    http_stream_json(stream, NULL, openai_fault_json(f));
}

static const struct openai_shape shape = {.whole = whole,
                                          .begin = begin,
                                          .announce = announce,
                                          .image = picture,
                                          .end = end,
                                          .fault = fault};

/* ---- requests ---- */

/* Fields of the images API that mean the same in chat. */
static bool is_taken(const char *name)
{
    static const char *const names[] = {
        "model",         "n",                  "size",       "quality",    "stream",
        "output_format", "output_compression", "background", "moderation", "input_fidelity",
        "user",          "safety_identifier",  "mask",       "markup"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return openai_request_is_own(name);
}

struct cJSON *openai_chat_schema(const struct settings *settings)
{
    cJSON *schema = openai_request_schema(settings);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (cJSON *item = properties ? properties->child : NULL, *next; item; item = next) {
        next = item->next;
        if (!is_taken(item->string))
            cJSON_Delete(cJSON_DetachItemViaPointer(properties, item));
    }
    static const char messages[] = "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}";
    cJSON_AddItemToObject(properties, "messages", json_text_constant(messages));
    cJSON_ReplaceItemInObjectCaseSensitive(schema, "required",
                                           json_text_constant("[\"messages\"]"));
    return schema;
}

/* What the body says besides its messages; what changes nothing is noted. */
static void translate(cJSON *body, cJSON *request, struct openai_request *ignored)
{
    for (cJSON *item = body->child, *next; item; item = next) {
        next = item->next;
        if (is_taken(item->string))
            cJSON_AddItemToObject(request, item->string, cJSON_DetachItemViaPointer(body, item));
        else if (!cJSON_IsNull(item) && strcmp(item->string, "messages") != 0 &&
                 strcmp(item->string, "response_format") != 0 &&
                 strcmp(item->string, "stream_options") != 0)
            openai_request_ignore(ignored, item->string);
    }
}

static bool read_messages(cJSON *body, cJSON *request, struct openai_fault *f)
{
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages");
    if (!messages || cJSON_IsNull(messages))
        return openai_fault(f, 400, "missing_required_parameter", "messages",
                            "Missing required parameter: 'messages'.");
    if (!cJSON_IsArray(messages))
        return openai_fault(f, 400, "invalid_type", "messages",
                            "Invalid type for 'messages': expected a list.");
    cJSON *last = openai_talk_last(messages);
    if (!last)
        return openai_fault(f, 400, "invalid_value", "messages",
                            "Invalid value for 'messages': wanted one whose role is 'user'.");
    return openai_talk_content(cJSON_GetObjectItemCaseSensitive(last, "content"), "messages",
                               request, f);
}

static bool wants_links(const struct app *app, const cJSON *body)
{
    const char *format =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "response_format"));
    return format ? strcmp(format, "url") == 0 : *app->settings->public_url != '\0';
}

/* The prompt without what means something in Markdown. */
static void describe(char alt[ALT_MAX + 1], const char *prompt)
{
    size_t n = 0;
    for (; *prompt && n < ALT_MAX; prompt++)
        alt[n++] = (char)(strchr("[]()<>\\`*_!\"\r\n\t", *prompt) ? ' ' : *prompt);
    alt[n] = '\0';
    if (*prompt) /* a character that is cut is none */
        while (n > 0 && (alt[n - 1] & 0x80) && (alt[--n] & 0xc0) != 0xc0)
            ;
    alt[n] = '\0';
}

static struct own *own_new(const cJSON *body, const cJSON *request)
{
    struct own *own = calloc(1, sizeof *own);
    const char *model = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "model"));
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(body, "stream_options");
    const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "prompt"));
    if (!own)
        return NULL;
    own->usage = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(options, "include_usage"));
    describe(own->alt, prompt ? prompt : "");
    own->model = model ? strdup(model) : NULL;
    if (!model || own->model)
        return own;
    own_free(own);
    return NULL;
}

static bool read_request(struct http_request *req, struct openai_request *r, enum openai_kind *kind,
                         struct own **own, struct openai_fault *f)
{
    struct openai_request ignored = {0};
    cJSON *body = openai_request_json(req, f), *request = cJSON_CreateObject();
    bool ok = body && request;
    if (body && !cJSON_IsObject(body))
        ok = openai_fault(f, 400, NULL, NULL, "We could not parse the JSON body of your request: "
                                              "wanted an object.");
    if (ok)
        translate(body, request, &ignored);
    ok = ok && read_messages(body, request, f);
    *kind = cJSON_GetObjectItemCaseSensitive(request, "images") ? OPENAI_EDIT : OPENAI_GENERATION;
    if (ok && !(*own = own_new(body, request)))
        ok = openai_fault(f, 500, NULL, NULL, "out of memory");
    struct openai_from from = openai_request_from(req);
    if (ok && !openai_request_make(&from, *kind, request, r, f)) {
        openai_talk_blame(f, "messages");
        own_free(*own);
        ok = false;
    }
    if (ok) {
        r->url = wants_links(from.app, body);
        if (*ignored.ignored)
            openai_request_ignore(r, ignored.ignored);
    }
    cJSON_Delete(body);
    cJSON_Delete(request);
    return ok;
}

/* ---- composing ---- */

static cJSON *last_said(const cJSON *body)
{
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages");
    return cJSON_IsArray(messages) ? openai_talk_last(messages) : NULL;
}

static char *idea_of(const cJSON *body)
{
    return openai_talk_words(cJSON_GetObjectItemCaseSensitive(last_said(body), "content"));
}

static bool put_words(cJSON *body, const char *text)
{
    return openai_talk_say(last_said(body), "content", text);
}

static const struct composing_place composed = {.idea = idea_of, .put = put_words};

void openai_chat_complete(struct http_request *req)
{
    struct openai_request r;
    struct openai_fault f;
    struct own *own = NULL;
    enum openai_kind kind;
    if (composing_begins(req, &composed, openai_chat_complete) ||
        linked_begins(req, openai_chat_complete))
        return;
    if (read_request(req, &r, &kind, &own, &f))
        openai_paint(req, &shape, kind, &r, own, own_free);
    else
        openai_reply_fault(req, &f);
}
