/* sdapi_picture.c: see sdapi_picture.h. The work is done on the server's thread: it is bounded by
 * the limits on pixels and count, and takes less than a denoising step. */
#include "server/sdapi_picture.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/io/image.h"
#include "server/app.h"
#include "server/base64.h"
#include "server/http.h"
#include "server/infotext.h"
#include "server/intake.h"
#include "server/json_fields.h"
#include "server/pyjson.h"
#include "server/sdapi_reply.h"
#include "server/settings.h"

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
        !image_probe(bytes, *size, &header, &err)) {
        free(bytes);
        sdapi_reply_exception(req, 500, "Invalid encoded image");
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

/* ---- png-info ---- */

void sdapi_picture_info(struct http_request *req)
{
    cJSON *items = NULL, *parameters = NULL, *json = NULL, *body = sdapi_reply_body(req);
    struct image_texts texts = {0};
    struct infotext infotext;
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
    if (!image_texts_read(data, size, &texts, &err)) {
        sdapi_reply_err(req, &err, NULL);
        goto done;
    }
    const char *text = image_texts_get(&texts, "parameters");
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
    free(data);
    cJSON_Delete(body);
}

/* ---- extras ---- */

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

enum upscaler { UPSCALER_NONE, UPSCALER_LANCZOS, UPSCALER_NEAREST };

static bool upscaler_of(struct http_request *req, const char *name, enum upscaler *out)
{
    static const char *const names[] = {"None", "Lanczos", "Nearest"};
    for (int i = 0; i < 3; i++) {
        if (strcasecmp(name, names[i]) == 0) {
            *out = (enum upscaler)i;
            return true;
        }
    }
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

static bool upscale(const struct pictor_image *in, enum upscaler upscaler, int width, int height,
                    struct pictor_image *out, struct err *err)
{
    return image_resize(in, width, height,
                        upscaler == UPSCALER_NEAREST ? IMAGE_NEAREST : IMAGE_LANCZOS, out, err);
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
static bool resize(const struct extras *x, const struct settings *settings, enum upscaler first,
                   enum upscaler second, struct pictor_image *image, struct err *err)
{
    struct pictor_image a = {0}, b = {0};
    double width, height;
    target_size(x, image, &width, &height);
    if (width < 1 || height < 1 || width > settings->max_side || height > settings->max_side ||
        width * height > settings->max_pixels)
        return err_set(err, ERR_TOO_LARGE,
                       "the result must be at most %d pixels and %d on a side, got %.0fx%.0f",
                       settings->max_pixels, settings->max_side, width, height);
    if (!upscale(image, first, (int)width, (int)height, &a, err))
        goto fail;
    if (second != UPSCALER_NONE && x->visibility_2 > 0) {
        if (!upscale(image, second, (int)width, (int)height, &b, err))
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

static void extras_infotext(const struct extras *x, enum upscaler first, enum upscaler second,
                            struct pyjson *out)
{
    char scale[PYJSON_FLOAT_SIZE];
    pyjson_puts(out, "");
    if (first == UPSCALER_NONE)
        return;
    if (x->resize_mode == 0)
        pyjson_printf(out, "Postprocess upscale by: %s", pyjson_float(scale, x->scale));
    else
        pyjson_printf(out, "Postprocess upscale to: %dx%d", x->width, x->height);
    pyjson_printf(out, ", Postprocess upscaler: %s",
                  first == UPSCALER_LANCZOS ? "Lanczos" : "Nearest");
    if (second != UPSCALER_NONE && x->visibility_2 > 0)
        pyjson_printf(out, ", Postprocess upscaler 2: %s",
                      second == UPSCALER_LANCZOS ? "Lanczos" : "Nearest");
}

/* One picture in, its base64 out (malloc'd); NULL: replied. */
static char *postprocess(struct http_request *req, const struct extras *x, enum upscaler first,
                         enum upscaler second, const char *text, char *infotext)
{
    struct image_texts kept = {0};
    struct pictor_image image = {0};
    struct image_file file = {0};
    struct err err = {.code = ERR_INTERNAL, .msg = "no memory for a picture"};
    char *result = NULL;
    void *data;
    size_t size;
    if (!sdapi_picture_read(req, text, &data, &size))
        return NULL;
    const struct settings *settings = http_app(req)->settings;
    if (!intake_picture(settings, data, size, &image, &err) ||
        (first != UPSCALER_NONE && !resize(x, settings, first, second, &image, &err)))
        goto done;
    struct image_text items[2];
    struct image_texts texts = {items, 0};
    if (*infotext)
        items[texts.count++] = (struct image_text){"postprocessing", infotext};
    if (image_texts_read(data, size, &kept, &err) && image_texts_get(&kept, "parameters"))
        items[texts.count++] =
            (struct image_text){"parameters", (char *)image_texts_get(&kept, "parameters")};
    if (!image_encode_png(&image, &texts, &file, &err))
        goto done;
    result = base64_encode(file.data, file.size);
done:
    if (!result)
        sdapi_reply_err(req, &err, NULL);
    image_file_free(&file);
    image_texts_free(&kept);
    pictor_image_free(&image);
    free(data);
    return result;
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

#define BATCH_MAX 16

static void extras(struct http_request *req, bool batch)
{
    struct extras x;
    enum upscaler first, second;
    const char *texts[BATCH_MAX];
    int count = 1;
    struct pyjson infotext = {0};
    cJSON *images = NULL, *body = sdapi_reply_body(req);
    if (!body || !read_extras(req, body, &x) || !upscaler_of(req, x.upscaler_1, &first) ||
        !upscaler_of(req, x.upscaler_2, &second))
        goto done;
    texts[0] = x.image;
    if (batch && !list_images(req, x.list, texts, BATCH_MAX, &count))
        goto done;
    extras_infotext(&x, first, second, &infotext);
    images = cJSON_CreateArray();
    for (int i = 0; i < count; i++) {
        char *text = postprocess(req, &x, first, second, texts[i], infotext.text);
        if (!text)
            goto done;
        cJSON_AddItemToArray(images, cJSON_CreateString(text));
        free(text);
    }
    cJSON *json = cJSON_CreateObject();
    struct pyjson html = {0};
    pyjson_puts(&html, "<p>");
    pyjson_puts(&html, infotext.text);
    pyjson_puts(&html, "</p>");
    cJSON_AddStringToObject(json, "html_info", html.text);
    free(html.text);
    if (batch) {
        cJSON_AddItemToObject(json, "images", images);
        images = NULL;
    } else {
        cJSON_AddItemToObject(json, "image", cJSON_DetachItemFromArray(images, 0));
    }
    sdapi_reply_json(req, json);
done:
    free(infotext.text);
    cJSON_Delete(images);
    cJSON_Delete(body);
}

void sdapi_picture_extras(struct http_request *req)
{
    extras(req, false);
}

void sdapi_picture_extras_batch(struct http_request *req)
{
    extras(req, true);
}
