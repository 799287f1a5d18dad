/* sdapi_picture.c: resizing a batch takes many seconds, so it is http_work. */
#include "server/api/sdapi/sdapi_picture.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "engine/io/image_mark.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/api/enlarge.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/pyjson.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/infotext.h"
#include "server/job/files.h"
#include "server/job/intake.h"
#include "server/job/novelai.h"
#include "server/job/registry.h"
#include "server/job/upscalers.h"
#include "server/worker/codec.h"

static void picture_fault(struct http_request *req, const struct err *err)
{
    if (err->code == ERR_INTERNAL || err->code == ERR_BUSY)
        sdapi_reply_err(req, err, NULL);
    else
        sdapi_reply_exception(req, 500, "Invalid encoded image");
}

bool sdapi_picture_read(struct http_request *req, const char *text, void **data, size_t *size)
{
    if (!text)
        text = "";
    text += strspn(text, " \t\r\n");
    if (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) {
        sdapi_reply_exception(req, 500, "Requests not allowed");
        return false;
    }
    size_t limit = intake_pixels_max(http_app(req)->settings);
    struct err err;
    uint8_t *bytes = NULL;
    struct image_header header;
    if (!base64_decode(text, strlen(text), &bytes, size, &err) ||
        !codec_probe(http_app(req)->codec, bytes, *size, &header, &err)) {
        free(bytes);
        picture_fault(req, &err);
        return false;
    }
    if ((size_t)header.width * (size_t)header.height > limit) {
        free(bytes);
        err_set(&err, ERR_TOO_LARGE, "a picture may have at most %zu pixels, got %dx%d", limit,
                header.width, header.height);
        sdapi_reply_err(req, &err, NULL);
        return false;
    }
    *data = bytes;
    return true;
}

bool sdapi_picture_check(struct http_request *req, const void *data, size_t size)
{
    struct pictor_image image;
    struct err err;
    const struct app *app = http_app(req);
    if (codec_decode(app->codec, data, size, intake_pixels_max(app->settings), &image, &err)) {
        pictor_image_free(&image);
        return true;
    }
    picture_fault(req, &err);
    return false;
}

/* ---- png-info ---- */

void sdapi_picture_info(struct http_request *req)
{
    cJSON *items = NULL, *parameters = NULL, *json = NULL, *body = sdapi_reply_body(req);
    struct image_texts texts = {0};
    struct image_header header;
    struct infotext infotext;
    char *converted = NULL;
    struct err err;
    void *data = NULL;
    size_t size;
    if (!body)
        return;
    const cJSON *image = cJSON_GetObjectItemCaseSensitive(body, "image");
    if (!image || cJSON_IsNull(image)) {
        sdapi_reply_unprocessable(
            req, sdapi_reply_fault("image", "field required", "value_error.missing"));
        goto done;
    }
    if (!cJSON_IsString(image)) {
        sdapi_reply_unprocessable(
            req, sdapi_reply_fault("image", "str type expected", "type_error.str"));
        goto done;
    }
    if (!sdapi_picture_read(req, image->valuestring, &data, &size))
        goto done;
    if (!codec_texts(http_app(req)->codec, data, size, &texts, &err)) {
        sdapi_reply_err(req, &err, NULL);
        goto done;
    }
    const char *text = image_texts_get(&texts, "parameters");
    if (!text && codec_probe(http_app(req)->codec, data, size, &header, &err))
        text = converted = novelai_infotext(&texts, header.width, header.height);
    if (!text)
        text = "";
    items = cJSON_CreateObject();
    for (size_t i = 0; i < texts.count; i++)
        if (strcmp(texts.items[i].key, "parameters") != 0)
            cJSON_AddStringToObject(items, texts.items[i].key, texts.items[i].value);
    if (infotext_read(&infotext, text)) {
        parameters = infotext_to_json(&infotext);
        infotext_free(&infotext);
    }
    json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "info", text);
    cJSON_AddItemToObject(json, "items", items);
    cJSON_AddItemToObject(json, "parameters", parameters);
    sdapi_reply_json(req, json);
done:
    image_texts_free(&texts);
    free(converted);
    free(data);
    cJSON_Delete(body);
}

/* ---- interrogate ---- */

/* The prompt of its infotext, owned; NULL: it has none. */
static char *prompt_of(struct http_request *req, const void *data, size_t size)
{
    struct image_texts texts = {0};
    struct image_header header;
    struct infotext infotext;
    struct err err;
    char *converted = NULL, *prompt = NULL;
    if (!codec_texts(http_app(req)->codec, data, size, &texts, &err))
        return NULL;
    const char *text = image_texts_get(&texts, "parameters");
    if (!text && codec_probe(http_app(req)->codec, data, size, &header, &err))
        text = converted = novelai_infotext(&texts, header.width, header.height);
    if (text && infotext_read(&infotext, text)) {
        prompt = *infotext.prompt ? strdup(infotext.prompt) : NULL;
        infotext_free(&infotext);
    }
    free(converted);
    image_texts_free(&texts);
    return prompt;
}

void sdapi_picture_interrogate(struct http_request *req)
{
    cJSON *body = sdapi_reply_body(req);
    void *data;
    size_t size;
    if (!body)
        return;
    const char *model = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "model"));
    const char *image = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "image"));
    if (!image || !*image) {
        sdapi_reply_exception(req, 404, "Image not found");
    } else if (model && strcmp(model, "clip") != 0 && strcmp(model, "deepdanbooru") != 0) {
        sdapi_reply_exception(req, 404, "Model not found");
    } else if (sdapi_picture_read(req, image, &data, &size)) {
        char *prompt = prompt_of(req, data, size);
        free(data);
        if (prompt) {
            cJSON *json = cJSON_CreateObject();
            cJSON_AddStringToObject(json, "caption", prompt);
            sdapi_reply_json(req, json);
        } else {
            sdapi_reply_exception(req, 501,
                                  "no model here describes pictures, and this one does not say "
                                  "what it was painted from");
        }
        free(prompt);
    }
    cJSON_Delete(body);
}

/* ---- extras ---- */

#define BATCH_MAX 16

struct extras {
    int resize_mode, width, height;
    bool show_results, crop, upscale_first;
    double gfpgan, codeformer, codeformer_weight, scale, visibility_2;
    const char *upscaler_1, *upscaler_2, *image;
    cJSON *list;
};

#define AT(member) .offset = offsetof(struct extras, member)
#define SHARE(key, member)                                                                         \
    {                                                                                              \
        .name = key, AT(member), .type = JSON_FIELD_DOUBLE, .most = 1                              \
    }

static const struct json_field extras_fields[] = {
    {.name = "resize_mode", AT(resize_mode), .type = JSON_FIELD_INT},
    {.name = "show_extras_results", AT(show_results), .type = JSON_FIELD_BOOL, .number = true},
    SHARE("gfpgan_visibility", gfpgan),
    SHARE("codeformer_visibility", codeformer),
    SHARE("codeformer_weight", codeformer_weight),
    {.name = "upscaling_resize", AT(scale), .type = JSON_FIELD_DOUBLE, .number = 2},
    {.name = "upscaling_resize_w",
     AT(width),
     .type = JSON_FIELD_INT,
     .number = 512,
     .least = 1,
     .most = INT_MAX},
    {.name = "upscaling_resize_h",
     AT(height),
     .type = JSON_FIELD_INT,
     .number = 512,
     .least = 1,
     .most = INT_MAX},
    {.name = "upscaling_crop", AT(crop), .type = JSON_FIELD_BOOL, .number = true},
    {.name = "upscaler_1", AT(upscaler_1), .type = JSON_FIELD_STRING, .text = "None"},
    {.name = "upscaler_2", AT(upscaler_2), .type = JSON_FIELD_STRING, .text = "None"},
    SHARE("extras_upscaler_2_visibility", visibility_2),
    {.name = "upscale_first", AT(upscale_first), .type = JSON_FIELD_BOOL},
    {.name = "image", AT(image), .type = JSON_FIELD_STRING, .text = ""},
    {.name = "imageList", AT(list), .type = JSON_FIELD_RAW},
};

struct cJSON *sdapi_picture_schema_extras(const struct settings *settings)
{
    return json_fields_schema(extras_fields, sizeof extras_fields / sizeof *extras_fields);
}

struct cJSON *sdapi_picture_schema_image(const struct settings *settings)
{
    static const struct json_field image = {
        .name = "image", .type = JSON_FIELD_STRING, .required = true};
    return json_fields_schema(&image, 1);
}

/* What the engine enlarges pictures by, latents not among them, or a file's name. */
static bool upscaler_of(struct http_request *req, const char *name, struct enlarge_way *out)
{
    struct err err;
    *out = (struct enlarge_way){.filter = IMAGE_LANCZOS};
    if (strcasecmp(name, "None") == 0 ||
        enlarge_find(registry_files(http_app(req)->registry, FOLDERS_UPSCALER), name, out, &err))
        return true;
    char message[256];
    snprintf(message, sizeof message, "could not find upscaler named %.100s", name);
    sdapi_reply_crash(req, "AssertionError", message);
    return false;
}

/* Replies and returns false when the request is not one that can be done. */
static bool read_extras(struct http_request *req, cJSON *body, struct extras *x)
{
    struct json_problem problem;
    cJSON *fault = NULL;
    if (!json_fields_parse(extras_fields, sizeof extras_fields / sizeof *extras_fields, body,
                           JSON_FIELDS_COERCE, x, &problem))
        fault = sdapi_reply_problem(&problem);
    else if (x->resize_mode != 0 && x->resize_mode != 1)
        fault = sdapi_reply_fault("resize_mode", "unexpected value; permitted: 0, 1",
                                  "value_error.const");
    else if (!(x->scale > 0))
        fault = sdapi_reply_fault("upscaling_resize", "ensure this value is greater than 0",
                                  "value_error.number.not_gt");
    else if (x->gfpgan > 0 || x->codeformer > 0)
        fault =
            sdapi_reply_fault(x->gfpgan > 0 ? "gfpgan_visibility" : "codeformer_visibility",
                              "face restoration is not supported by this server", "value_error");
    else
        return true;
    sdapi_reply_unprocessable(req, fault);
    return false;
}

/* The size after scaling: by a factor, to multiples of 8; or so that width x height is covered. */
static void target_size(const struct extras *x, const struct pictor_image *image, double *width,
                        double *height)
{
    double w = image->width, h = image->height;
    if (x->resize_mode == 0) {
        *width = floor(floor(w * x->scale) / 8) * 8;
        *height = floor(floor(h * x->scale) / 8) * 8;
        return;
    }
    bool by_width = (double)x->width / w > (double)x->height / h;
    *width = by_width ? x->width : ceil(w * x->height / h);
    *height = by_width ? ceil(h * x->width / w) : x->height;
}

/* What is to be done, without the request: it may be gone when it is. */
struct upscaling {
    const struct settings *settings;
    struct codec *codec;
    struct files *files;
    struct extras x; /* its texts are gone, too */
    struct enlarge_way first, second;
    bool batch;
    struct {
        void *data;
        size_t size;
    } pictures[BATCH_MAX];
    int count, done;
    struct pyjson infotext;
    cJSON *images; /* results, base64 */
    bool unreadable;
    bool again; /* another picture is being enlarged: this one is tried again */
    struct err err;
    const atomic_bool *gone;
};

static bool upscale(struct upscaling *t, const struct enlarge_way *way,
                    const struct pictor_image *in, int width, int height, struct pictor_image *out,
                    struct err *err)
{
    return enlarge_run(t->codec, t->files, way, in, width, height, t->gone, out, &t->again, err);
}

/* a = a * (1 - share) + b * share; both have one size. */
static void blend(struct pictor_image *a, const struct pictor_image *b, double share)
{
    size_t n = (size_t)a->width * (size_t)a->height * (size_t)a->channels;
    for (size_t i = 0; i < n; i++)
        a->pixels[i] = (uint8_t)(a->pixels[i] * (1 - share) + b->pixels[i] * share);
}

/* The middle width x height of `in`, which is at least as large. */
static bool crop(const struct pictor_image *in, int width, int height, struct pictor_image *out,
                 struct err *err)
{
    if (!image_new(out, width, height, in->channels, err))
        return false;
    size_t row = (size_t)width * (size_t)in->channels;
    size_t from_row = (size_t)in->width * (size_t)in->channels;
    size_t left = (size_t)((in->width - width) / 2) * (size_t)in->channels;
    size_t top = (size_t)((in->height - height) / 2);
    for (size_t y = 0; y < (size_t)height; y++)
        memcpy(out->pixels + y * row, in->pixels + (top + y) * from_row + left, row);
    return true;
}

/* Replaces `image` by what the request makes of it. */
static bool resize(struct upscaling *t, struct pictor_image *image, struct err *err)
{
    const struct extras *x = &t->x;
    const struct settings *settings = t->settings;
    struct pictor_image a = {0}, b = {0};
    bool both = *t->second.name && x->visibility_2 > 0;
    double width, height;
    target_size(x, image, &width, &height);
    if (width < 1 || height < 1 || width > settings->max_side || height > settings->max_side ||
        width * height > settings->max_pixels)
        return err_set(err, ERR_TOO_LARGE,
                       "the result must be at most %d pixels and %d on a side, got %.0fx%.0f",
                       settings->max_pixels, settings->max_side, width, height);
    if (t->first.network || (both && t->second.network)) { /* networks make RGB of everything */
        if (!image_convert(image, 3, &b, err))
            goto fail;
        pictor_image_free(image);
        *image = b;
        b = (struct pictor_image){0};
    }
    if (!upscale(t, &t->first, image, (int)width, (int)height, &a, err))
        goto fail;
    if (both) {
        if (!upscale(t, &t->second, image, (int)width, (int)height, &b, err))
            goto fail;
        blend(&a, &b, x->visibility_2);
        pictor_image_free(&b);
    }
    if (x->resize_mode == 1 && x->crop) {
        if (!crop(&a, x->width, x->height, &b, err))
            goto fail;
        pictor_image_free(&a);
        a = b;
    }
    pictor_image_free(image);
    *image = a;
    return true;
fail:
    pictor_image_free(&a);
    return false;
}

static void extras_infotext(const struct extras *x, const struct enlarge_way *first,
                            const struct enlarge_way *second, struct pyjson *out)
{
    char scale[PYJSON_FLOAT_SIZE];
    pyjson_puts(out, "");
    if (!*first->name)
        return;
    if (x->resize_mode == 0)
        pyjson_printf(out, "Postprocess upscale by: %s", pyjson_float(scale, x->scale));
    else
        pyjson_printf(out, "Postprocess upscale to: %dx%d", x->width, x->height);
    pyjson_printf(out, ", Postprocess upscaler: %s", first->name);
    if (*second->name && x->visibility_2 > 0)
        pyjson_printf(out, ", Postprocess upscaler 2: %s", second->name);
}

static void task_free(void *ctx)
{
    struct upscaling *t = ctx;
    for (int i = 0; i < t->count; i++)
        free(t->pictures[i].data);
    free(t->infotext.text);
    cJSON_Delete(t->images);
    free(t);
}

/* Its base64 as a JSON string; NULL: `t->err`. */
static cJSON *postprocess(struct upscaling *t, const void *data, size_t size)
{
    struct image_texts kept = {0};
    struct pictor_image image = {0};
    struct image_file file = {0};
    struct err *err = &t->err;
    char *text = NULL;
    if (!codec_decode(t->codec, data, size, intake_pixels_max(t->settings), &image, err)) {
        t->unreadable = err->code != ERR_INTERNAL && err->code != ERR_BUSY;
        goto done;
    }
    if (*t->first.name && !resize(t, &image, err))
        goto done;
    struct image_text items[1 + IMAGE_MARK_KEPT];
    struct image_texts texts = {items, 0};
    if (t->infotext.size)
        items[texts.count++] = (struct image_text){"postprocessing", t->infotext.text};
    if (codec_texts(t->codec, data, size, &kept, err))
        texts.count += image_mark_keep(&kept, items + texts.count);
    if (!codec_encode(t->codec, &image, IMAGE_PNG, 0, &texts, &file, err))
        goto done;
    text = base64_encode(file.data, file.size);
    if (!text)
        err_set(err, ERR_INTERNAL, "no memory for a picture");
done:
    image_file_free(&file);
    image_texts_free(&kept);
    pictor_image_free(&image);
    cJSON *json = text ? cJSON_CreateString(text) : NULL;
    free(text);
    return json;
}

static bool postprocess_next(void *ctx, const atomic_bool *gone)
{
    struct upscaling *t = ctx;
    t->gone = gone;
    t->again = false;
    if (enlarge_waits(t->codec, t->first.network ? &t->first : &t->second, gone))
        return true;
    cJSON *json = postprocess(t, t->pictures[t->done].data, t->pictures[t->done].size);
    if (!json && t->again && !atomic_load(gone)) {
        nanosleep(&(const struct timespec){.tv_nsec = ENLARGE_AGAIN_MS * 1000000}, NULL);
        return true;
    }
    t->done++;
    return cJSON_AddItemToArray(t->images, json) && t->done < t->count;
}

static void reply_extras(struct http_request *req, void *ctx)
{
    struct upscaling *t = ctx;
    if (t->unreadable) {
        sdapi_reply_exception(req, 500, "Invalid encoded image");
        return;
    }
    if (cJSON_GetArraySize(t->images) < t->count) {
        if (t->err.code == ERR_NONE)
            err_set(&t->err, ERR_INTERNAL, "no memory for a picture");
        sdapi_reply_err(req, &t->err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    struct pyjson html = {0};
    pyjson_puts(&html, "<p>");
    pyjson_puts(&html, t->infotext.text);
    pyjson_puts(&html, "</p>");
    cJSON_AddStringToObject(json, "html_info", html.text);
    free(html.text);
    if (t->batch) {
        cJSON_AddItemToObject(json, "images", t->images);
        t->images = NULL;
    } else {
        cJSON_AddItemToObject(json, "image", cJSON_DetachItemFromArray(t->images, 0));
    }
    sdapi_reply_json(req, json);
}

/* The texts of imageList in `out` (at most `max`); false: replied. */
static bool list_images(struct http_request *req, const cJSON *list, const char **out, int max,
                        int *count)
{
    cJSON *fault = NULL;
    const cJSON *item;
    *count = 0;
    if (!list)
        fault = sdapi_reply_fault("imageList", "field required", "value_error.missing");
    else if (!cJSON_IsArray(list))
        fault = sdapi_reply_fault("imageList", "value is not a valid list", "type_error.list");
    else if (cJSON_GetArraySize(list) > max)
        fault = sdapi_reply_fault("imageList", "too many pictures", "value_error");
    if (fault)
        list = NULL;
    cJSON_ArrayForEach(item, list) {
        const char *data = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "data"));
        if (!data || !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(item, "name"))) {
            fault = sdapi_reply_fault("imageList", "data and name required", "value_error.missing");
            break;
        }
        out[(*count)++] = data;
    }
    if (fault)
        sdapi_reply_unprocessable(req, fault);
    return !fault;
}

static void extras(struct http_request *req, bool batch)
{
    const char *texts[BATCH_MAX];
    int count = 1;
    cJSON *body = sdapi_reply_body(req);
    struct upscaling *t = calloc(1, sizeof *t);
    if (body && !t)
        sdapi_reply_crash(req, "MemoryError", "out of memory");
    if (!body || !t || !read_extras(req, body, &t->x) ||
        !upscaler_of(req, t->x.upscaler_1, &t->first) ||
        !upscaler_of(req, t->x.upscaler_2, &t->second))
        goto fail;
    texts[0] = t->x.image;
    if (batch && !list_images(req, t->x.list, texts, BATCH_MAX, &count))
        goto fail;
    for (int i = 0; i < count; i++) {
        if (!sdapi_picture_read(req, texts[i], &t->pictures[i].data, &t->pictures[i].size))
            goto fail;
        t->count++;
    }
    cJSON_Delete(body);
    t->settings = http_app(req)->settings;
    t->codec = http_app(req)->codec;
    t->files = registry_files(http_app(req)->registry, FOLDERS_UPSCALER);
    t->batch = batch;
    t->images = cJSON_CreateArray();
    extras_infotext(&t->x, &t->first, &t->second, &t->infotext);
    if (count == 0) {
        reply_extras(req, t);
        task_free(t);
        return;
    }
    http_work(req, postprocess_next, reply_extras, t, task_free);
    return;

fail:
    cJSON_Delete(body);
    if (t)
        task_free(t);
}

void sdapi_picture_extras(struct http_request *req)
{
    extras(req, false);
}

void sdapi_picture_extras_batch(struct http_request *req)
{
    extras(req, true);
}
