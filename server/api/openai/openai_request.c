/* openai_request.c: reads JSON and forms.
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

#include "server/api/app.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/http/multipart.h"
#include "server/job/companions.h"
#include "server/job/intake.h"
#include "server/job/job_tags.h"
#include "server/job/lora_list.h"
#include "server/job/notes.h"
#include "server/job/relay.h"
#include "server/job/styles.h"

#define PROMPT_MAX 32000 /* code points, as gpt-image has it */
#define COUNT_MAX 10
#define SIDE_STEP 16
#define SIDE_MIN 64
#define MEGAPIXEL 1048576.0
#define LONGEST_WORD 40 /* in a field about pictures: a longer text is a picture */

/* ---- fields ---- */

struct fields {
    const char *prompt, *model, *size, *quality, *output_format, *background, *moderation;
    const char *response_format, *style, *user, *safety_identifier, *complexity, *input_fidelity;
    const char *negative_prompt, *sampler, *scheduler, *refiner;
    int n, output_compression, partial_images, steps, num_inference_steps, clip_skip;
    struct json_whole seed;
    double guidance_scale, strength, refiner_at;
    double eta, churn, churn_low, churn_high, noise_scale;
    double sigma_min, sigma_max, rho, beta_alpha, beta_beta;
    bool stream, prompt_comments, compose;
    const char *composed_from;
    bool deployed; /* an Azure path names the model */
    cJSON *image, *images, *mask, *markup, *loras, *styles, *controls, *tags;
};

static const char *const qualities[] = {"auto", "low", "medium",   "high", "xhigh",
                                        "max",  "hd",  "standard", NULL};
static const char *const backgrounds[] = {"transparent", "opaque", "auto", NULL};
static const char *const moderations[] = {"low", "auto", NULL};
static const char *const response_formats[] = {"url", "b64_json", NULL};
static const char *const styles[] = {"vivid", "natural", NULL};
static const char *const complexities[] = {"low", "medium", "high", NULL};
static const char *const fidelities[] = {"high", "low", NULL};

/* What the table has from here to the pictures is pictor's own. */
#define FIRST_OWN "seed"
#define FIRST_PICTURE "image"
#define FIELD(name, kind) #name, JSON_FIELD_##kind, .offset = offsetof(struct fields, name)

static const struct json_field table[] = {
    {FIELD(prompt, STRING), .least = 1, .most = PROMPT_MAX, .required = true},
    {FIELD(model, STRING), .least = 0, .most = 200},
    {FIELD(n, INT), .least = 1, .most = COUNT_MAX, .number = 1},
    {FIELD(size, STRING), .text = "auto"},
    {FIELD(quality, STRING), .text = "auto", .words = qualities},
    {FIELD(output_format, STRING), .text = "png", .words = image_formats},
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
    {FIELD(seed, WHOLE), .least = -1, .number = -1},
    {FIELD(steps, INT), .number = JSON_FIELD_NO_INT},
    {FIELD(num_inference_steps, INT), .number = JSON_FIELD_NO_INT},
    {FIELD(guidance_scale, DOUBLE), .number = NAN},
    {FIELD(negative_prompt, STRING)},
    {FIELD(sampler, STRING)},
    {FIELD(scheduler, STRING)},
    {FIELD(strength, DOUBLE), .number = NAN},
    {FIELD(clip_skip, INT), .number = JSON_FIELD_NO_INT},
    {FIELD(loras, RAW)},
    {FIELD(styles, RAW)},
    {FIELD(prompt_comments, BOOL)},
    {FIELD(compose, BOOL)},
    {FIELD(composed_from, STRING)},
    {FIELD(controls, RAW)},
    {FIELD(tags, RAW)},
    {FIELD(refiner, STRING), .least = 0, .most = 200},
    {FIELD(refiner_at, DOUBLE), .number = NAN},
    {FIELD(eta, DOUBLE), .number = NAN},
    {FIELD(churn, DOUBLE), .number = NAN},
    {FIELD(churn_low, DOUBLE), .number = NAN},
    {FIELD(churn_high, DOUBLE), .number = NAN},
    {FIELD(noise_scale, DOUBLE), .number = NAN},
    {FIELD(sigma_min, DOUBLE), .number = NAN},
    {FIELD(sigma_max, DOUBLE), .number = NAN},
    {FIELD(rho, DOUBLE), .number = NAN},
    {FIELD(beta_alpha, DOUBLE), .number = NAN},
    {FIELD(beta_beta, DOUBLE), .number = NAN},
    /* pictures in JSON edits */
    {FIELD(image, RAW)},
    {FIELD(images, RAW)},
    {FIELD(mask, RAW)},
    {FIELD(markup, RAW)},
};

struct cJSON *openai_request_schema(const struct settings *settings)
{
    return json_fields_schema(table, sizeof table / sizeof *table);
}

bool openai_request_is_own(const char *name)
{
    bool own = false;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        own = (own || strcmp(table[i].name, FIRST_OWN) == 0) &&
              strcmp(table[i].name, FIRST_PICTURE) != 0;
        if (strcmp(table[i].name, name) == 0)
            return own;
    }
    return false;
}

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

static int side_of(double side, int step, int most)
{
    int steps = (int)(side / step + 0.5);
    while (steps * step > most)
        steps--;
    return steps * step < SIDE_MIN ? SIDE_MIN : steps * step;
}

/* The picture's own size, in the steps that the model can paint. A larger picture than a megapixel,
 * or than one and a half times what the model is made for, becomes smaller: beyond that models
 * repeat themselves, and a camera's picture would take hours. */
static void size_of_picture(const struct settings *s, const struct intake_model *model,
                            const struct openai_inputs *in, struct job_params *p)
{
    double most = fmax(1.5 * model->width * model->height, MEGAPIXEL);
    most = fmin(most, s->max_pixels);
    double pixels = (double)in->width * in->height, longest = fmax(in->width, in->height);
    double scale = pixels > most ? sqrt(most / pixels) : 1;
    scale = longest * scale > s->max_side ? s->max_side / longest : scale;
    int step = model->upstream ? SIDE_STEP : 8;
    p->width = side_of(in->width * scale, step, s->max_side);
    p->height = side_of(in->height * scale, step, s->max_side);
    while ((double)p->width * p->height > s->max_pixels && p->width > SIDE_MIN)
        p->width -= step; /* both were rounded up */
}

/* ---- what nobody knows ---- */

/* A picture that would be dropped may be the very mask that protects another. */
static bool unknown_picture(const char *name, struct openai_fault *f)
{
    return openai_fault(f, 400, "unknown_parameter", name,
                        "Unknown parameter: '%.60s'. Pictures are taken from 'image' and 'mask'.",
                        name);
}

/* By its name and looks: "mask_url": "https://...", "reference_images": [...]. */
static bool is_picture(const cJSON *item)
{
    static const char *const names[] = {"image",     "mask",    "markup",      "init_image",
                                        "reference", "control", "input_image", "ref_image",
                                        "source",    "picture", "init_images", "url"};
    const char *text = cJSON_GetStringValue(item);
    if (text && strncasecmp(text, "data:", 5) == 0)
        return true;
    bool named = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        named = named || strncasecmp(item->string, names[i], strlen(names[i])) == 0;
    return named && (item->child ||
                     (text && (strncasecmp(text, "http", 4) == 0 || strlen(text) > LONGEST_WORD)));
}

void openai_request_ignore(struct openai_request *out, const char *name)
{
    size_t used = strlen(out->ignored);
    if (used + strlen(name) + sizeof ", " > sizeof out->ignored)
        return;
    snprintf(out->ignored + used, sizeof out->ignored - used, "%s%s", used ? ", " : "", name);
    for (char *at = out->ignored + used; *at; at++) /* it goes into a header */
        if (*at < ' ' || *at > '~')
            *at = '?';
}

static bool check_unknown(const cJSON *object, struct openai_request *out, struct openai_fault *f)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        bool known = false;
        for (size_t i = 0; i < sizeof table / sizeof *table && !known; i++)
            known = strcmp(table[i].name, item->string) == 0;
        if (known || cJSON_IsNull(item))
            continue;
        if (is_picture(item))
            return unknown_picture(item->string, f);
        openai_request_ignore(out, item->string);
    }
    return true;
}

/* ---- forms ---- */

static bool text_part(const struct multipart_part *part, cJSON *object, struct openai_fault *f)
{
    if (cJSON_GetObjectItemCaseSensitive(object, part->name) && !strchr(part->name, '['))
        return openai_fault(f, 400, "invalid_value", NULL, "The form has '%.60s' twice.",
                            part->name);
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

/* The text parts as an object (owned), the files into `pictures`. NULL: `f` says why. */
static cJSON *read_form(struct http_request *req, struct openai_pictures *pictures,
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
        if (openai_pictures_is_part(part->name))
            ok = openai_pictures_part(pictures, part, f);
        else if (!part->filename)
            ok = text_part(part, object, f);
        else if (part->size > 0) /* an empty one holds nothing that could be missed */
            ok = unknown_picture(part->name, f);
    }
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
                     const struct intake_model *model, const struct openai_inputs *inputs,
                     struct job_params *p, struct openai_fault *f)
{
    const char *at = in->size;
    if (strcmp(at, "auto") == 0 && inputs->init) {
        size_of_picture(s, model, inputs, p);
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

static bool find_model(const struct app *app, const struct fields *in, struct intake_model *out,
                       struct openai_fault *f)
{
    struct registry_model found;
    struct err err;
    if (openai_find_model(app, in->model, &found, &err)) {
        intake_model_of(&found, out);
        return true;
    }
    if (err.code != ERR_NOT_FOUND)
        return openai_fault(f, http_error_status(err.code), NULL, "model", "%s", err.msg);
    if (in->deployed)
        return openai_fault(f, 404, "DeploymentNotFound", NULL,
                            "There is no deployment '%.100s': a deployment is named as the model "
                            "that paints.",
                            in->model);
    return openai_fault(f, 404, "model_not_found", "model", "The model '%.100s' does not exist.",
                        in->model ? in->model : "");
}

/* The pictures, if the request has any. */
static bool make_inputs(const struct openai_from *from, const struct fields *in,
                        enum openai_kind kind, const struct intake_model *model,
                        struct openai_pictures *pictures, bool form, struct openai_request *out,
                        struct openai_fault *f)
{
    if (!form && !openai_pictures_json(from->app, from->visible_key, pictures, in->image,
                                       in->images, in->mask, in->markup, f))
        return false;
    const char *name = form ? "image" : "images";
    bool beside = pictures->mask.data || pictures->markup.data;
    if (pictures->count == 0 && (kind != OPENAI_GENERATION || beside))
        return openai_fault(f, 400, "missing_required_parameter", name,
                            "Missing required parameter: '%s'.", name);
    if (model->references > 0 && pictures->count > model->references)
        return openai_fault(f, 400, "array_above_max_length", name,
                            "Invalid '%s': the model '%.100s' is shown at most %d pictures, got "
                            "%d.",
                            name, model->name, model->references, pictures->count);
    if (pictures->count > 1 && model->upstream && !model->takes_more)
        return openai_fault(f, 400, "array_above_max_length", name,
                            "Invalid '%s': one picture can be sent on to the model '%.100s', got "
                            "%d.",
                            name, model->name, pictures->count);
    out->input_images = pictures->count;
    return pictures->count == 0 ||
           openai_pictures_inputs(from->app, pictures, kind == OPENAI_EDIT,
                                  model->upstream || model->takes_more, &out->inputs, f);
}

/* A form has a list as its text. *parsed is what to free. */
static bool read_list(const char *name, const cJSON **list, cJSON **parsed, struct err *err)
{
    const char *text = cJSON_GetStringValue(*list);
    *parsed = NULL;
    if (!text)
        return true;
    *list = NULL;
    if (*text && !(*parsed = json_text_parse(text, strlen(text), 4, err)))
        return err_prefix(err, "%s", name);
    *list = *parsed;
    return true;
}

static bool add_loras(const struct app *app, const cJSON *list, bool upstream, struct job_params *p,
                      struct openai_fault *f)
{
    struct err err;
    cJSON *parsed;
    bool done = read_list("loras", &list, &parsed, &err);
    if (done && upstream && cJSON_GetArraySize(list) > 0)
        done = err_set(&err, ERR_INVALID, "loras: models of other servers take none");
    done =
        done && lora_list_add(list, registry_files(app->registry, FOLDERS_LORA), &p->prompt, &err);
    cJSON_Delete(parsed);
    return done || openai_fault(f, http_error_status(err.code), "invalid_value", "loras",
                                "Invalid value: %s.", err.msg);
}

static bool read_words(const struct app *app, const struct fields *in, struct job_params *p,
                       struct openai_fault *f)
{
    struct err err;
    cJSON *parsed;
    const cJSON *list = in->styles;
    bool done = read_list("styles", &list, &parsed, &err) &&
                styles_prompts(app->settings, list, in->prompt_comments, p, &err);
    cJSON_Delete(parsed);
    return done || openai_fault(f, http_error_status(err.code), "invalid_value", "styles",
                                "Invalid value: %s.", err.msg);
}

/* What samplers and schedules are told, where the request says it. */
static void set_sampling(const struct fields *in, struct job_params *p)
{
    const struct {
        double given, *to;
    } all[] = {
        {in->eta, &p->eta},
        {in->churn, &p->churn},
        {in->churn_low, &p->churn_low},
        {in->churn_high, &p->churn_high},
        {in->noise_scale, &p->noise_scale},
        {in->sigma_min, &p->sigma_min},
        {in->sigma_max, &p->sigma_max},
        {in->rho, &p->rho},
        {in->beta_alpha, &p->beta_alpha},
        {in->beta_beta, &p->beta_beta},
        {in->refiner_at, &p->refiner_at},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!isnan(all[i].given))
            *all[i].to = all[i].given;
}

static bool make_job(const struct app *app, const struct fields *in,
                     const struct intake_model *model, struct openai_request *out,
                     struct openai_fault *f)
{
    struct job_params *p = &out->params;
    struct err err;
    const char *param = NULL;
    if (!set_size(app->settings, in, model, &out->inputs, p, f))
        return false;
    if (strcmp(in->background, "transparent") == 0 && !model->upstream)
        return openai_fault(f, 400, "invalid_value", "background",
                            "Transparent background is not supported by the model '%.100s'.",
                            model->name);
    p->model = strdup(model->name);
    if (in->compose) /* who could has done it before (server/api/composing.h) */
        return openai_fault(f, 400, "invalid_value", "compose",
                            "Invalid value: 'compose' wants a prompt, and makes no variations.");
    p->composed_from =
        in->composed_from && *in->composed_from ? strdup(in->composed_from) : NULL;
    p->prompt = strdup(in->prompt ? in->prompt : "");
    p->negative_prompt = strdup(in->negative_prompt ? in->negative_prompt : "");
    p->sampler = in->sampler ? strdup(in->sampler) : NULL;
    p->scheduler = in->scheduler ? strdup(in->scheduler) : NULL;
    p->refiner = in->refiner && *in->refiner ? strdup(in->refiner) : NULL;
    set_sampling(in, p);
    p->format = image_format_of(in->output_format);
    p->dialect = strdup("openai");
    if (!p->model || !p->prompt || !p->negative_prompt || !p->dialect)
        return no_memory(f);
    if (!read_words(app, in, p, f))
        return false;
    /* Prose may say AND, [a|b] or 16:9; the weights that were always read here are none of it. */
    if (!pictor_prompt_is_simple(p->prompt) || !pictor_prompt_is_simple(p->negative_prompt))
        p->syntax = PICTOR_SYNTAX_WEIGHTS;
    if (!add_loras(app, in->loras, model->upstream, p, f))
        return false;
    p->steps = in->steps != JSON_FIELD_NO_INT ? in->steps : in->num_inference_steps;
    p->guidance = in->guidance_scale;
    p->count = in->n;
    p->quality = in->output_compression;
    p->strength = in->strength;
    if (in->clip_skip != JSON_FIELD_NO_INT)
        p->clip_skip = in->clip_skip;
    p->fit = PICTOR_FIT_CROP;
    p->has_init = out->inputs.init != NULL;
    p->has_mask = out->inputs.mask != NULL;
    p->more_images = out->inputs.more_count;
    if (out->inputs.clear) /* what is transparent has no colours to begin with */
        p->fill = PICTOR_FILL_BLUR;
    p->seed = in->seed.magnitude;
    if ((in->seed.negative && !intake_seed(&p->seed, &err)) || !intake_seed(&p->subseed, &err))
        return openai_fault_own(f, &err);
    if (!intake_complete(model, app->settings, p, &param, &err) ||
        !intake_files(app->registry, model, p, &param, &err) ||
        !companions_check(app->registry, model, p, &param, &err) ||
        (!in->seed.negative && !notes_seed(model, p, &err)))
        return openai_fault(f, err.code == ERR_INTERNAL ? 500 : 400,
                            param && strstr(param, "prompt") && err.code == ERR_TOO_LARGE
                                ? "string_above_max_length"
                                : "invalid_value",
                            param_of(param), "Invalid value: %s.", err.msg);
    if (in->stream && in->partial_images > 0)
        p->preview_every =
            p->steps > in->partial_images + 1 ? p->steps / (in->partial_images + 1) : 1;
    return true;
}

static bool make_tags(const cJSON *list, struct openai_request *out, struct openai_fault *f)
{
    struct err err;
    cJSON *parsed;
    bool done = read_list("tags", &list, &parsed, &err) && job_tags_read(list, &out->tags, &err);
    cJSON_Delete(parsed);
    return done || openai_fault(f, http_error_status(err.code), "invalid_value", "tags",
                                "Invalid value: %s.", err.msg);
}

/* pictor's own, in JSON. */
static bool make_controls(const struct openai_from *from, const struct fields *in,
                          const struct intake_model *model, struct openai_request *out,
                          struct openai_fault *f)
{
    struct err err;
    if (controls_given_read(from->app, from->visible_key, in->controls, model->upstream,
                            &out->params, &out->controls, &err))
        return true;
    return err.code == ERR_INVALID
               ? openai_fault(f, 400, "invalid_value", "controls", "Invalid value: %s.", err.msg)
               : openai_fault(f, http_error_status(err.code), NULL, "controls", "%s", err.msg);
}

/* What an upstream is asked beside the job. */
static bool make_relay(const cJSON *object, enum openai_kind kind, bool stream,
                       struct job_params *p,
                       struct openai_fault *f)
{
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(object, "output_format");
    struct err err;
    p->any_format = !format || cJSON_IsNull(format);
    if (relay_make(object, kind == OPENAI_VARIATION, stream, &p->relay, &err))
        return true;
    return err.code == ERR_INVALID
               ? openai_fault(f, 400, "string_above_max_length", NULL, "Invalid value: %s.",
                              err.msg)
               : openai_fault_own(f, &err);
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

/* What was said and checked and changes nothing, beside what nobody knows. */
static void note_ignored(const struct fields *in, const cJSON *object, bool relayed,
                         struct openai_request *out)
{
    if (!relayed && strcmp(in->quality, "auto") != 0 && strcmp(in->quality, "standard") != 0)
        openai_request_ignore(out, "quality");
    if (!relayed && in->style && strcmp(in->style, "vivid") != 0)
        openai_request_ignore(out, "style");
    if (!relayed && in->complexity)
        openai_request_ignore(out, "complexity");
    if (!relayed && in->input_fidelity && strcmp(in->input_fidelity, "low") != 0)
        openai_request_ignore(out, "input_fidelity");
    for (const char *at = out->params.notes; at && *at; at += *at == '\n') {
        char name[40];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ":"), at);
        const char *here = strcmp(name, "guidance") == 0 ? "guidance_scale" : name;
        bool other = strcmp(here, "quality") == 0; /* of a file; OpenAI has its own */
        if (!other && cJSON_GetObjectItemCaseSensitive(object, here))
            openai_request_ignore(out, here);
        at += strcspn(at, "\n");
    }
}

static bool fill(const struct openai_from *from, enum openai_kind kind, cJSON *object, bool form,
                 struct openai_pictures *pictures, struct openai_request *out,
                 struct openai_fault *f)
{
    const struct app *app = from->app;
    struct fields in;
    struct intake_model model;
    struct json_problem problem;
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(object, "prompt");
    bool wordless = kind == OPENAI_VARIATION && (!prompt || cJSON_IsNull(prompt) ||
                                                 (cJSON_IsString(prompt) && !*prompt->valuestring));
    if (wordless) { /* which all others must not be */
        cJSON_DeleteItemFromObjectCaseSensitive(object, "prompt");
        cJSON_AddStringToObject(object, "prompt", " ");
    }
    if (!json_fields_parse(table, sizeof table / sizeof *table, object,
                           form ? JSON_FIELDS_COERCE : 0, &in, &problem))
        return field_fault(&problem, f);
    if (wordless)
        in.prompt = "";
    if (*from->deployment) /* of Azure: whatever the body says */
        in.model = from->deployment;
    in.deployed = *from->deployment;
    if (!check_unknown(object, out, f) || !find_model(app, &in, &model, f) ||
        !make_inputs(from, &in, kind, &model, pictures, form, out, f) ||
        !make_job(app, &in, &model, out, f) || !make_controls(from, &in, &model, out, f) ||
        !make_tags(in.tags, out, f) || !make_answer(&in, kind, out, f) ||
        (model.upstream && !make_relay(object, kind, in.stream, &out->params, f)))
        return false;
    out->upstream = model.upstream;
    note_ignored(&in, object, model.upstream, out);
    return true;
}

struct openai_from openai_request_from(const struct http_request *req)
{
    return (struct openai_from){http_app(req), http_key_id(req), http_visible_key(req),
                                http_param(req, "deployment")};
}

bool openai_request_make(const struct openai_from *from, enum openai_kind kind,
                         struct cJSON *object, struct openai_request *out, struct openai_fault *f)
{
    struct openai_pictures pictures = {0};
    *out = (struct openai_request){0};
    job_params_init(&out->params);
    bool ok = fill(from, kind, object, false, &pictures, out, f);
    openai_pictures_free(&pictures);
    if (!ok)
        openai_request_free(out);
    return ok;
}

struct cJSON *openai_request_json(struct http_request *req, struct openai_fault *f)
{
    if (!http_header(req, "Content-Type") || http_content_type_is(req, "application/json"))
        return read_json(req, f);
    unsupported_type(req, "'application/json'", f);
    return NULL;
}

bool openai_request_read(struct http_request *req, enum openai_kind kind,
                         struct openai_request *out, struct openai_fault *f)
{
    struct openai_pictures pictures = {0};
    *out = (struct openai_request){0};
    job_params_init(&out->params);
    bool form = kind != OPENAI_GENERATION && http_content_type_is(req, "multipart/form-data");
    if (!form && http_header(req, "Content-Type") && !http_content_type_is(req, "application/json"))
        return unsupported_type(
            req, kind == OPENAI_GENERATION ? "'application/json'" : "'multipart/form-data'", f);
    cJSON *object = form ? read_form(req, &pictures, f) : read_json(req, f);
    struct openai_from from = openai_request_from(req);
    bool ok = object && fill(&from, kind, object, form, &pictures, out, f);
    openai_pictures_free(&pictures);
    cJSON_Delete(object);
    if (!ok)
        openai_request_free(out);
    return ok;
}

void openai_request_free(struct openai_request *r)
{
    job_params_free(&r->params);
    openai_pictures_inputs_free(&r->inputs);
    controls_given_free(&r->controls);
    free(r->safety_identifier);
    free(r->tags);
    *r = (struct openai_request){0};
}
