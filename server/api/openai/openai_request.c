/* openai_request.c: see openai_request.h.
 *
 * A form becomes a JSON object of its text parts, and from there one table of fields reads both.
 * Pictures stay beside it. Fields that OpenAI's models know and a local one cannot use (user,
 * complexity, moderation, ...) are checked and otherwise ignored; unknown fields are ignored, since
 * newer clients send newer ones. */
#include "server/api/openai/openai_request.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/io/image.h"
#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/multipart.h"
#include "server/job/intake.h"
#include "server/worker/codec.h"

#define PROMPT_MAX 32000 /* code points, as gpt-image has it */
#define COUNT_MAX 10
#define IMAGES_MAX 16
#define SIDE_STEP 16
#define SIDE_MIN 64
#define INPUT_SIDE_MIN 16

/* ---- fields ---- */

struct fields {
    const char *prompt, *model, *size, *quality, *output_format, *background, *moderation;
    const char *response_format, *style, *user, *safety_identifier, *complexity, *input_fidelity;
    const char *negative_prompt, *sampler, *scheduler;
    int n, output_compression, partial_images, steps, num_inference_steps;
    struct json_whole seed;
    double guidance_scale, strength;
    bool stream;
    cJSON *image, *images, *mask;
};

static const char *const qualities[] = {"auto", "low", "medium",   "high", "xhigh",
                                        "max",  "hd",  "standard", NULL};
static const char *const formats[] = {"png", "jpeg", "webp", NULL};
static const char *const backgrounds[] = {"transparent", "opaque", "auto", NULL};
static const char *const moderations[] = {"low", "auto", NULL};
static const char *const response_formats[] = {"url", "b64_json", NULL};
static const char *const styles[] = {"vivid", "natural", NULL};
static const char *const complexities[] = {"low", "medium", "high", NULL};
static const char *const fidelities[] = {"high", "low", NULL};

#define FIELD(name, kind) #name, JSON_FIELD_##kind, .offset = offsetof(struct fields, name)

static const struct json_field table[] = {
    {FIELD(prompt, STRING), .least = 1, .most = PROMPT_MAX, .required = true},
    {FIELD(model, STRING), .least = 0, .most = 200},
    {FIELD(n, INT), .least = 1, .most = COUNT_MAX, .number = 1},
    {FIELD(size, STRING), .text = "auto"},
    {FIELD(quality, STRING), .text = "auto", .words = qualities},
    {FIELD(output_format, STRING), .text = "png", .words = formats},
    {FIELD(output_compression, INT), .least = 0, .most = 100, .number = 100},
    {FIELD(background, STRING), .text = "auto", .words = backgrounds},
    {FIELD(moderation, STRING), .words = moderations},
    {FIELD(stream, BOOL)},
    {FIELD(partial_images, INT), .least = 0, .most = 3},
    {FIELD(response_format, STRING), .words = response_formats},
    {FIELD(style, STRING), .words = styles},
    {FIELD(user, STRING)},
    {FIELD(safety_identifier, STRING)},
    {FIELD(complexity, STRING), .words = complexities},
    {FIELD(input_fidelity, STRING), .words = fidelities},
    /* pictor's own */
    {FIELD(seed, WHOLE), .least = -1, .number = -1},
    {FIELD(steps, INT), .number = JSON_FIELD_NO_INT},
    {FIELD(num_inference_steps, INT), .number = JSON_FIELD_NO_INT},
    {FIELD(guidance_scale, DOUBLE), .number = NAN},
    {FIELD(negative_prompt, STRING)},
    {FIELD(sampler, STRING)},
    {FIELD(scheduler, STRING)},
    {FIELD(strength, DOUBLE), .number = NAN},
    /* pictures in JSON edits */
    {FIELD(image, RAW)},
    {FIELD(images, RAW)},
    {FIELD(mask, RAW)},
};

static bool field_fault(const struct json_problem *p, struct openai_fault *f)
{
    bool number = p->field && p->field->type == JSON_FIELD_DOUBLE;
    const char *code = NULL, *param = p->field ? p->field->name : NULL;
    switch (p->fault) {
    case JSON_FAULT_NONE:
    case JSON_FAULT_NOT_OBJECT:
    case JSON_FAULT_UNKNOWN:
        break;
    case JSON_FAULT_MISSING:
        code = "missing_required_parameter";
        break;
    case JSON_FAULT_TYPE:
        code = "invalid_type";
        break;
    case JSON_FAULT_WORD:
        code = "invalid_value";
        break;
    case JSON_FAULT_TOO_SMALL:
        code = number ? "decimal_below_min_value" : "integer_below_min_value";
        break;
    case JSON_FAULT_TOO_LARGE:
        code = number ? "decimal_above_max_value" : "integer_above_max_value";
        break;
    case JSON_FAULT_TOO_SHORT:
        code = "empty_string";
        break;
    case JSON_FAULT_TOO_LONG:
        code = "string_above_max_length";
        break;
    case JSON_FAULT_MEMORY:
        return openai_fault(f, 500, NULL, NULL, "%s", p->message);
    }
    return openai_fault(f, 400, code, param, "%s", p->message);
}

/* ---- pictures ---- */

static bool no_memory(struct openai_fault *f)
{
    return openai_fault(f, 500, NULL, NULL, "out of memory");
}

static bool bad_picture(struct openai_fault *f, const char *param, const char *why)
{
    openai_fault(f, 400, "invalid_image_file", param,
                 "Invalid image file or mode for '%s', please check your image file: %s", param,
                 why);
    f->type = "image_generation_user_error";
    return false;
}

static bool picture_fault(const struct err *err, struct openai_fault *f, const char *param)
{
    if (err->code == ERR_BUSY)
        return openai_fault(f, 503, "server_busy", NULL, "%s", err->msg);
    return err->code == ERR_INTERNAL ? no_memory(f) : bad_picture(f, param, err->msg);
}

/* Whether the bytes are a picture that can be painted over; decoded to `out`. */
static bool decode(const struct app *app, const char *param, const uint8_t *data, size_t size,
                   struct pictor_image *out, struct openai_fault *f)
{
    struct err err;
    if (image_sniff(data, size) == IMAGE_NONE)
        return openai_fault(f, 400, "unsupported_file_mimetype", param,
                            "Invalid file '%s': unsupported mimetype. Supported file formats are "
                            "'image/jpeg', 'image/png', and 'image/webp'.",
                            param);
    if (!codec_decode(app->codec, data, size, intake_pixels_max(app->settings), out, &err))
        return picture_fault(&err, f, param);
    if (out->width >= INPUT_SIDE_MIN && out->height >= INPUT_SIDE_MIN)
        return true;
    char why[80];
    snprintf(why, sizeof why, "it must be at least %dx%d, but is %dx%d", INPUT_SIDE_MIN,
             INPUT_SIDE_MIN, out->width, out->height);
    pictor_image_free(out);
    return bad_picture(f, param, why);
}

/* OpenAI's masks are transparent where to repaint, a job's are white there. */
static bool convert_mask(const struct app *app, struct openai_request *out,
                         const struct pictor_image *init, struct openai_fault *f)
{
    struct pictor_image mask, white = {0};
    struct image_file file;
    struct err err;
    if (!decode(app, "mask", out->mask, out->mask_size, &mask, f))
        return false;
    bool ok = false;
    if (mask.channels != 4) {
        openai_fault(f, 400, "invalid_value", "mask",
                     "Invalid mask: it must have an alpha channel; what is transparent is "
                     "repainted.");
        goto done;
    }
    if (mask.width != init->width || mask.height != init->height) {
        openai_fault(f, 400, "invalid_value", "mask",
                     "Invalid mask: it must have the size of the image, %dx%d, but has %dx%d.",
                     init->width, init->height, mask.width, mask.height);
        goto done;
    }
    if (!image_new(&white, mask.width, mask.height, 1, &err)) {
        no_memory(f);
        goto done;
    }
    size_t pixels = (size_t)mask.width * (size_t)mask.height;
    for (size_t i = 0; i < pixels; i++)
        white.pixels[i] = 255 - mask.pixels[4 * i + 3];
    if (!codec_encode(app->codec, &white, IMAGE_PNG, 0, NULL, &file, &err)) {
        picture_fault(&err, f, "mask");
        goto done;
    }
    free(out->mask);
    out->mask = malloc(file.size);
    out->mask_size = file.size;
    ok = out->mask || no_memory(f);
    if (ok)
        memcpy(out->mask, file.data, file.size);
    image_file_free(&file);
done:
    pictor_image_free(&white);
    pictor_image_free(&mask);
    return ok;
}

/* The picture's own size in steps of 16, at most one and a half times the pixels the model is made
 * for: beyond that it repeats itself, and a camera's picture has fifty times as many. */
static void size_of_picture(const struct intake_model *model, const struct pictor_image *init,
                            struct job_params *p)
{
    double most = 1.5 * model->width * model->height;
    double pixels = (double)init->width * init->height;
    double scale = pixels > most ? sqrt(most / pixels) : 1;
    p->width = (int)(init->width * scale / SIDE_STEP + 0.5) * SIDE_STEP;
    p->height = (int)(init->height * scale / SIDE_STEP + 0.5) * SIDE_STEP;
    p->width = p->width < SIDE_MIN ? SIDE_MIN : p->width;
    p->height = p->height < SIDE_MIN ? SIDE_MIN : p->height;
}

/* ---- pictures in JSON ---- */

/* A string, or {"image_url": "data:..."}. */
static bool json_picture(const cJSON *item, const char *param, uint8_t **data, size_t *size,
                         struct openai_fault *f)
{
    struct err err;
    const cJSON *url = cJSON_GetObjectItemCaseSensitive(item, "image_url");
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "file_id");
    if (cJSON_IsObject(item) && id && !cJSON_IsNull(id))
        return openai_fault(f, 400, "invalid_value", param,
                            url ? "Give exactly one of 'image_url' and 'file_id' in '%s'."
                                : "'file_id' in '%s' is not supported here; send the picture "
                                  "itself as a data: URL in 'image_url'.",
                            param);
    if (cJSON_IsObject(item))
        item = url;
    if (!cJSON_IsString(item))
        return openai_fault(f, 400, "invalid_type", param,
                            "Invalid type for '%s': expected a data: URL or base64.", param);
    const char *text = item->valuestring + strspn(item->valuestring, " \t\r\n");
    if (strncasecmp(text, "http:", 5) == 0 || strncasecmp(text, "https:", 6) == 0)
        return openai_fault(f, 400, "invalid_value", param,
                            "'%s' must be a data: URL; this server does not fetch pictures.",
                            param);
    if (!base64_decode(text, strlen(text), data, size, &err))
        return openai_fault(f, 400, "invalid_value", param, "Invalid '%s': %s.", param, err.msg);
    return true;
}

static bool json_pictures(const struct fields *in, struct openai_request *out,
                          struct openai_fault *f)
{
    const cJSON *first = in->image;
    out->input_images = first != NULL;
    if (cJSON_IsArray(in->images)) {
        out->input_images = cJSON_GetArraySize(in->images);
        first = in->images->child;
    } else if (in->images) {
        return openai_fault(f, 400, "invalid_type", "images",
                            "Invalid type for 'images': expected an array.");
    }
    if (!first)
        return openai_fault(f, 400, "missing_required_parameter", "images",
                            "Missing required parameter: 'images'.");
    if (out->input_images > IMAGES_MAX)
        return openai_fault(f, 400, "array_above_max_length", "images",
                            "Invalid 'images': array too long. Expected an array with maximum "
                            "length %d, but got an array with length %d instead.",
                            IMAGES_MAX, out->input_images);
    return json_picture(first, in->images ? "images[0].image_url" : "image", &out->init,
                        &out->init_size, f) &&
           (!in->mask || json_picture(in->mask, "mask", &out->mask, &out->mask_size, f));
}

/* ---- forms ---- */

static bool is_image_name(const char *name)
{
    if (strncmp(name, "image", 5) != 0)
        return false;
    name += 5;
    if (*name == '\0')
        return true;
    if (*name++ != '[')
        return false;
    return strcmp(name + strspn(name, "0123456789"), "]") == 0;
}

static bool copy_part(const struct multipart_part *part, uint8_t **data, size_t *size,
                      struct openai_fault *f)
{
    *data = malloc(part->size + 1);
    *size = part->size;
    if (!*data)
        return no_memory(f);
    memcpy(*data, part->data, part->size);
    return true;
}

static bool file_part(const struct multipart_part *part, struct openai_request *out,
                      struct openai_fault *f)
{
    bool mask = strcmp(part->name, "mask") == 0;
    if (!part->filename)
        return openai_fault(f, 400, "invalid_type", mask ? "mask" : "image",
                            "Invalid type for '%s': expected %s, but got a string instead.",
                            mask ? "mask" : "image",
                            mask ? "a file" : "one of an array of files or file");
    if (mask) {
        if (out->mask)
            return openai_fault(f, 400, "invalid_value", "mask", "Only one mask may be given.");
        return copy_part(part, &out->mask, &out->mask_size, f);
    }
    if (++out->input_images > IMAGES_MAX)
        return openai_fault(f, 400, "array_above_max_length", "image",
                            "Invalid 'image': array too long. Expected an array with maximum "
                            "length %d.",
                            IMAGES_MAX);
    return out->init || copy_part(part, &out->init, &out->init_size, f);
}

static bool text_part(const struct multipart_part *part, cJSON *object, struct openai_fault *f)
{
    char *text = strndup(part->data, part->size);
    if (!text)
        return no_memory(f);
    bool ok = strlen(text) == part->size && json_text_is_utf8(text, part->size, NULL);
    if (ok)
        cJSON_AddStringToObject(object, part->name, text);
    free(text);
    return ok || openai_fault(f, 400, "invalid_value", NULL, "Invalid '%.60s': not UTF-8 text.",
                              part->name);
}

/* The text parts as an object (owned), the files into `out`. NULL: `f` says why. */
static cJSON *read_form(struct http_request *req, struct openai_request *out,
                        struct openai_fault *f)
{
    struct multipart form;
    struct err err;
    size_t size;
    const char *body = http_body(req, &size);
    if (!multipart_parse(&form, http_header(req, "Content-Type"), body, size, &err)) {
        openai_fault(f, 400, NULL, NULL, "We could not parse the form of your request: %s.",
                     err.msg);
        return NULL;
    }
    cJSON *object = cJSON_CreateObject();
    bool ok = object || no_memory(f);
    for (size_t i = 0; ok && i < form.count; i++) {
        const struct multipart_part *part = &form.parts[i];
        if (is_image_name(part->name) || strcmp(part->name, "mask") == 0)
            ok = file_part(part, out, f);
        else if (!part->filename)
            ok = text_part(part, object, f);
    }
    if (ok && !out->init)
        ok = openai_fault(f, 400, "missing_required_parameter", "image",
                          "Missing required parameter: 'image'.");
    multipart_free(&form);
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

static cJSON *read_json(struct http_request *req, struct openai_fault *f)
{
    struct err err;
    cJSON *json = http_json(req, &err);
    if (!json)
        openai_fault(f, 400, NULL, NULL, "We could not parse the JSON body of your request: %s.",
                     err.msg);
    return json;
}

static bool unsupported_type(struct http_request *req, const char *accepted, struct openai_fault *f)
{
    const char *type = http_header(req, "Content-Type");
    return openai_fault(f, 400, "unsupported_content_type", NULL,
                        "Unsupported content type: '%.80s'. This API method only accepts %s "
                        "requests, but you specified the header 'Content-Type: %.80s'. Please try "
                        "again with a supported content type.",
                        type, accepted, type);
}

/* ---- the job ---- */

static bool parse_side(const char **text, int *side)
{
    size_t digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > 5)
        return false;
    *side = atoi(*text);
    *text += digits;
    return true;
}

static bool set_size(const struct settings *s, const struct fields *in,
                     const struct intake_model *model, const struct pictor_image *init,
                     struct job_params *p, struct openai_fault *f)
{
    const char *at = in->size;
    if (strcmp(at, "auto") == 0 && init) {
        size_of_picture(model, init, p);
        return true;
    }
    if (strcmp(at, "auto") == 0) {
        p->width = model->width;
        p->height = model->height;
        return true;
    }
    if (!parse_side(&at, &p->width) || *at++ != 'x' || !parse_side(&at, &p->height) || *at)
        return openai_fault(f, 400, "invalid_value", "size",
                            "Invalid value: '%.40s'. Supported values are: 'auto' and "
                            "'WIDTHxHEIGHT', for example '512x512'.",
                            in->size);
    if (p->width % SIDE_STEP != 0 || p->height % SIDE_STEP != 0)
        return openai_fault(f, 400, "invalid_value", "size",
                            "Invalid size '%s'. Width and height must both be divisible by %d.",
                            in->size, SIDE_STEP);
    if (p->width < SIDE_MIN || p->height < SIDE_MIN)
        return openai_fault(f, 400, "invalid_value", "size",
                            "Invalid size '%s'. Width and height must be at least %d.", in->size,
                            SIDE_MIN);
    if (p->width > s->max_side || p->height > s->max_side)
        return openai_fault(f, 400, "invalid_value", "size",
                            "Invalid size '%s'. The longest edge must be less than or equal to "
                            "%d.",
                            in->size, s->max_side);
    if ((size_t)p->width * (size_t)p->height > (size_t)s->max_pixels)
        return openai_fault(f, 400, "invalid_value", "size",
                            "Invalid size '%s'. Width times height must be at most %d.", in->size,
                            s->max_pixels);
    return true;
}

/* The request's name of a job's field. */
static const char *param_of(const char *field)
{
    static const char *const names[][2] = {
        {"width", "size"},
        {"height", "size"},
        {"count", "n"},
        {"guidance", "guidance_scale"},
        {"quality", "output_compression"},
        {"tag", "user"},
    };
    for (size_t i = 0; field && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], field) == 0)
            return names[i][1];
    return field;
}

/* Everything but the pictures' bytes, which are in `out` already; `init` NULL: there are none. */
static bool make_job(const struct app *app, const struct fields *in,
                     const struct pictor_image *init, struct openai_request *out,
                     struct openai_fault *f)
{
    struct job_params *p = &out->params;
    struct registry_model found;
    struct intake_model model;
    struct err err;
    const char *param = NULL;
    if (!openai_find_model(app, in->model, &found, &err)) {
        if (err.code != ERR_NOT_FOUND)
            return openai_fault(f, 500, NULL, NULL, "%s", err.msg);
        return openai_fault(f, 404, "model_not_found", "model",
                            "The model '%.100s' does not exist.", in->model ? in->model : "");
    }
    intake_model_of(&found, &model);
    if (!set_size(app->settings, in, &model, init, p, f))
        return false;
    if (strcmp(in->background, "transparent") == 0)
        return openai_fault(f, 400, "invalid_value", "background",
                            "Transparent background is not supported by the model '%.100s'.",
                            model.name);
    p->model = strdup(model.name);
    p->prompt = strdup(in->prompt ? in->prompt : "");
    p->negative_prompt = strdup(in->negative_prompt ? in->negative_prompt : "");
    p->sampler = in->sampler ? strdup(in->sampler) : NULL;
    p->scheduler = in->scheduler ? strdup(in->scheduler) : NULL;
    p->format = strdup(in->output_format);
    p->dialect = strdup("openai");
    if (!p->model || !p->prompt || !p->negative_prompt || !p->format || !p->dialect)
        return no_memory(f);
    p->steps = in->steps != JSON_FIELD_NO_INT ? in->steps : in->num_inference_steps;
    p->guidance = in->guidance_scale;
    p->count = in->n;
    p->quality = in->output_compression;
    p->strength = in->strength;
    p->fit = PICTOR_FIT_CROP;
    p->has_init = out->init != NULL;
    p->has_mask = out->mask != NULL;
    p->seed = in->seed.magnitude;
    if ((in->seed.negative && !intake_seed(&p->seed, &err)) || !intake_seed(&p->subseed, &err))
        return openai_fault(f, 500, NULL, NULL, "%s", err.msg);
    if (!intake_complete(&model, app->settings, p, &param, &err))
        return openai_fault(f, err.code == ERR_INTERNAL ? 500 : 400, "invalid_value",
                            param_of(param), "Invalid value: %s.", err.msg);
    if (in->stream && in->partial_images > 0)
        p->preview_every =
            p->steps > in->partial_images + 1 ? p->steps / (in->partial_images + 1) : 1;
    return true;
}

static bool make_answer(const struct fields *in, enum openai_kind kind, struct openai_request *out,
                        struct openai_fault *f)
{
    const char *quality = in->quality;
    if (strcmp(quality, "auto") == 0 || strcmp(quality, "hd") == 0)
        quality = "high";
    else if (strcmp(quality, "standard") == 0)
        quality = "medium";
    snprintf(out->quality, sizeof out->quality, "%s", quality);
    bool links = kind == OPENAI_VARIATION || openai_answers_links(in->model); /* as OpenAI does */
    out->url = in->response_format ? strcmp(in->response_format, "url") == 0 : links;
    out->stream = in->stream;
    out->partial_images = in->partial_images;
    out->safety_identifier = in->safety_identifier ? strdup(in->safety_identifier) : NULL;
    return !in->safety_identifier || out->safety_identifier || no_memory(f);
}

static bool fill(struct http_request *req, enum openai_kind kind, cJSON *object, bool form,
                 struct openai_request *out, struct openai_fault *f)
{
    const struct app *app = http_app(req);
    struct fields in;
    struct json_problem problem;
    struct pictor_image init = {0};
    if (kind == OPENAI_VARIATION)
        cJSON_AddStringToObject(object, "prompt", " "); /* it has none */
    if (!json_fields_parse(table, sizeof table / sizeof *table, object,
                           form ? JSON_FIELDS_COERCE : 0, &in, &problem))
        return field_fault(&problem, f);
    if (kind == OPENAI_VARIATION)
        in.prompt = "";
    bool pictures = kind != OPENAI_GENERATION;
    bool ok = !pictures || form || json_pictures(&in, out, f);
    ok = ok && (!pictures || decode(app, "image", out->init, out->init_size, &init, f));
    ok = ok && (!out->mask || convert_mask(app, out, &init, f));
    ok = ok && make_job(app, &in, pictures ? &init : NULL, out, f);
    ok = ok && make_answer(&in, kind, out, f);
    pictor_image_free(&init);
    return ok;
}

bool openai_request_read(struct http_request *req, enum openai_kind kind,
                         struct openai_request *out, struct openai_fault *f)
{
    *out = (struct openai_request){0};
    job_params_init(&out->params);
    bool form = kind != OPENAI_GENERATION && http_content_type_is(req, "multipart/form-data");
    if (!form && http_header(req, "Content-Type") && !http_content_type_is(req, "application/json"))
        return unsupported_type(
            req, kind == OPENAI_GENERATION ? "'application/json'" : "'multipart/form-data'", f);
    cJSON *object = form ? read_form(req, out, f) : read_json(req, f);
    bool ok = object && fill(req, kind, object, form, out, f);
    cJSON_Delete(object);
    if (!ok)
        openai_request_free(out);
    return ok;
}

void openai_request_free(struct openai_request *r)
{
    job_params_free(&r->params);
    free(r->init);
    free(r->mask);
    free(r->safety_identifier);
    *r = (struct openai_request){0};
}
