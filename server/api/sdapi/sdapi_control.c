/* sdapi_control.c: a unit is an object with its extension's names; several clients send it whole,
 * with neutral values, and switched off by `enabled`. */
#include "server/api/sdapi/sdapi_control.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/io/image.h"
#include "engine/io/image_detect.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/sdapi/sdapi_picture.h"
#include "server/api/app.h"
#include "server/base/base64.h"
#include "server/base/json_number.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/job/controls.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/registry.h"
#include "server/worker/codec.h"

static const cJSON *units_of(const struct sdapi_request *r)
{
    const cJSON *script;
    cJSON_ArrayForEach(script, r->alwayson_scripts)
        if (strcasecmp(script->string, "controlnet") == 0)
            return cJSON_GetObjectItemCaseSensitive(script, "args");
    return NULL;
}

static const char *text_of(const cJSON *unit, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(unit, key));
    return text ? text : "";
}

/* Not switched off. */
static bool is_on(const cJSON *unit)
{
    const cJSON *enabled = cJSON_GetObjectItemCaseSensitive(unit, "enabled");
    bool off = cJSON_IsFalse(enabled) || (cJSON_IsNumber(enabled) && enabled->valuedouble == 0) ||
               (cJSON_IsString(enabled) && strcasecmp(enabled->valuestring, "false") == 0);
    return cJSON_IsObject(unit) && !off;
}

/* A text of the unit, or of its member `image`, if that is an object. */
static const char *inner(const cJSON *unit, const char *key)
{
    const cJSON *image = cJSON_GetObjectItemCaseSensitive(unit, "image");
    return cJSON_IsObject(image) ? text_of(image, key) : "";
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    return *a ? a : *b ? b : c;
}

static const char *own_picture(const cJSON *unit)
{
    return first_of(text_of(unit, "image"), inner(unit, "image"), text_of(unit, "input_image"));
}

static bool inpaints(const cJSON *unit)
{
    return image_detect_inpaints(text_of(unit, "module"));
}

/* Of a unit of a request, in base64; "": none. Without a picture of its own it has img2img's, and
 * with that the mask, where it inpaints. */
static const char *picture_of(const struct sdapi_request *r, const cJSON *unit,
                              enum controls_part part)
{
    const char *own = own_picture(unit);
    const char *init = cJSON_GetStringValue(cJSON_GetArrayItem(r->init_images, 0));
    if (part == CONTROLS_PICTURE)
        return first_of(own, init ? init : "", "");
    if (part == CONTROLS_REGION)
        return text_of(unit, "effective_region_mask");
    const char *mask =
        first_of(text_of(unit, "mask"), text_of(unit, "mask_image"), inner(unit, "mask"));
    return first_of(mask, inpaints(unit) && !*own && r->mask ? r->mask : "", "");
}

void sdapi_control_pictures(const struct sdapi_request *r, const char *out[CONTROLS_INPUTS])
{
    const cJSON *unit, *units = units_of(r);
    size_t count = 0;
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        out[i] = NULL;
    cJSON_ArrayForEach(unit, units)
        if (is_on(unit) && count < PICTOR_CONTROLS_MAX) {
            for (int part = 0; part < CONTROLS_PARTS; part++) {
                const char *text = picture_of(r, unit, (enum controls_part)part);
                out[(size_t)part * PICTOR_CONTROLS_MAX + count] = *text ? text : NULL;
            }
            count++;
        }
}

/* 0..2, or the words that the extension has for them. */
static bool fit_of(const cJSON *unit, int *fit, struct err *err)
{
    static const struct {
        const char *word;
        int fit;
    } words[] = {{"", PICTOR_FIT_CROP},
                 {"Crop and Resize", PICTOR_FIT_CROP},
                 {"Inner Fit (Scale to Fit)", PICTOR_FIT_CROP},
                 {"Scale to Fit (Inner Fit)", PICTOR_FIT_CROP},
                 {"Just Resize", PICTOR_FIT_STRETCH},
                 {"Resize and Fill", PICTOR_FIT_PAD},
                 {"Outer Fit (Shrink to Fit)", PICTOR_FIT_PAD},
                 {"Envelope (Outer Fit)", PICTOR_FIT_PAD}};
    const char *word = text_of(unit, "resize_mode");
    double number = json_number_in(unit, "resize_mode", 1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i].word, word) == 0) {
            *fit = *word ? words[i].fit : (int)number;
            return (number >= 0 && number <= 2) ||
                   err_set(err, ERR_INVALID, "controlnet: resize_mode must be 0..2, got %g",
                           number);
        }
    return err_set(err, ERR_INVALID, "controlnet: resize_mode '%.40s' is unknown", word);
}

/* What would change the picture and is not done here: the extension's neutral values are fine. */
static bool check_others(const cJSON *unit, struct err *err)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(unit, "advanced_weighting");
    bool neutral = !v || cJSON_IsNull(v) || (cJSON_IsString(v) && !*v->valuestring) ||
                   ((cJSON_IsArray(v) || cJSON_IsObject(v)) && !v->child);
    if (!neutral)
        return err_set(err, ERR_INVALID,
                       "controlnet: advanced_weighting is not done by this server");
    const cJSON *hr = cJSON_GetObjectItemCaseSensitive(unit, "hr_option");
    bool both = !hr || cJSON_IsNull(hr) || (cJSON_IsNumber(hr) && hr->valuedouble == 0) ||
                (cJSON_IsString(hr) &&
                 (!*hr->valuestring || strcasecmp(hr->valuestring, "Both") == 0));
    return both || err_set(err, ERR_INVALID, "controlnet: hr_option can only be Both here");
}

/* 0..2, or the words that the extension has for them. */
static bool say_of(const cJSON *unit, int *say, struct err *err)
{
    static const char *const words[] = {
        [PICTOR_SAY_BALANCED] = "Balanced",
        [PICTOR_SAY_PROMPT] = "My prompt is more important",
        [PICTOR_SAY_CONTROL] = "ControlNet is more important",
    };
    const char *word = text_of(unit, "control_mode");
    double number = json_number_in(unit, "control_mode", 0);
    for (int i = 0; i <= PICTOR_SAY_CONTROL; i++)
        if (*word ? strcasecmp(words[i], word) == 0 : number == i) {
            *say = i;
            return true;
        }
    return *word ? err_set(err, ERR_INVALID, "controlnet: control_mode '%.40s' is unknown", word)
                 : err_set(err, ERR_INVALID, "controlnet: control_mode must be 0..2, got %g",
                           number);
}

/* -1 is sent for "the usual one", which is the picture's own here. */
static bool side_of(const cJSON *unit, int *side, struct err *err)
{
    const cJSON *perfect = cJSON_GetObjectItemCaseSensitive(unit, "pixel_perfect");
    double wanted = json_number_in(unit, "processor_res", 0);
    *side = CONTROLS_PERFECT;
    if (cJSON_IsTrue(perfect) || (cJSON_IsNumber(perfect) && perfect->valuedouble == 1))
        return true;
    if (wanted > CONTROLS_SIDE_MAX || (wanted > 0 && wanted < 64))
        return err_set(err, ERR_INVALID, "controlnet: processor_res must be 64..%d, got %g",
                       CONTROLS_SIDE_MAX, wanted);
    *side = wanted > 0 ? (int)wanted : 0;
    return true;
}

static bool make_unit(const struct sdapi_request *r, const cJSON *unit, struct controls_unit *out,
                      struct err *err)
{
    double a = json_number_in(unit, "threshold_a", NAN);
    double b = json_number_in(unit, "threshold_b", NAN);
    const char *module = text_of(unit, "module"), *model = text_of(unit, "model");
    *out = (struct controls_unit){
        .a = a >= 0 ? a : NAN, /* -1 and 64 are sent for "the usual" */
        .b = b >= 0 ? b : NAN,
        .weight = json_number_in(unit, "weight", 1),
        .start = json_number_in(unit, "guidance_start", 0),
        .end = json_number_in(unit, "guidance_end", 1),
        .hidden = *picture_of(r, unit, CONTROLS_HIDDEN),
        .region = *picture_of(r, unit, CONTROLS_REGION),
    };
    if (!*model || strcasecmp(model, "None") == 0)
        return err_set(err, ERR_INVALID, "controlnet: a unit that is enabled wants a model");
    if (strlen(model) >= sizeof out->model || strlen(module) >= sizeof out->module)
        return err_set(err, ERR_INVALID, "controlnet: a name of a model or module is too long");
    strcpy(out->model, model);
    strcpy(out->module, module);
    if (strncasecmp(module, "inpaint_only", 12) == 0 && !r->mask)
        return err_set(err, ERR_INVALID,
                       "controlnet: inpaint_only keeps what img2img's mask leaves, and there is "
                       "none; inpaint_global_harmonious does without");
    return fit_of(unit, &out->fit, err) && say_of(unit, &out->say, err) &&
           side_of(unit, &out->side, err) && check_others(unit, err);
}

bool sdapi_control_make(const struct app *app, const struct sdapi_request *r, bool upstream,
                        struct job_params *p, struct err *err)
{
    struct controls c = {.count = 0};
    const char *pictures[CONTROLS_INPUTS];
    const cJSON *unit, *units = units_of(r);
    cJSON_ArrayForEach(unit, units) {
        if (!cJSON_IsObject(unit) && !cJSON_IsBool(unit) && !cJSON_IsNull(unit))
            return err_set(err, ERR_INVALID, "controlnet: args must be units");
        if (!is_on(unit))
            continue;
        if (c.count == PICTOR_CONTROLS_MAX)
            return err_set(err, ERR_INVALID, "controlnet: wanted at most %d units",
                           PICTOR_CONTROLS_MAX);
        if (!make_unit(r, unit, &c.at[c.count++], err))
            return false;
    }
    if (c.count == 0)
        return true;
    if (upstream)
        return err_set(err, ERR_INVALID, "controlnet: models of other servers take none");
    sdapi_control_pictures(r, pictures);
    for (size_t i = 0; i < c.count; i++)
        if (!pictures[i])
            return err_set(err, ERR_INVALID, "controlnet: unit %zu wants a picture", i);
    if (!controls_check(&c, registry_files(app->registry, FOLDERS_CONTROLNET), err))
        return false;
    free(p->controls);
    p->controls = controls_write(&c);
    return p->controls || err_set(err, ERR_INTERNAL, "no memory for ControlNets");
}

/* ---- lists ---- */

void sdapi_control_version(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "version", 3); /* whose units these are */
    sdapi_reply_json(req, json);
}

/* False: replied. */
static bool add_models(struct http_request *req, cJSON *list)
{
    struct registry_table table;
    struct err err;
    if (!files_list(registry_files(http_app(req)->registry, FOLDERS_CONTROLNET), &table, &err)) {
        sdapi_reply_err(req, &err, NULL);
        return false;
    }
    for (size_t i = 0; i < table.count; i++)
        if (table.entries[i].same == i)
            cJSON_AddItemToArray(list, cJSON_CreateString(files_stem(&table.entries[i])));
    registry_scan_free(&table);
    return true;
}

static void add_modules(cJSON *list)
{
    const char *name;
    for (int i = 0; (name = image_detect_name(i)); i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(name));
}

void sdapi_control_models(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    if (add_models(req, cJSON_AddArrayToObject(json, "model_list")))
        sdapi_reply_json(req, json);
    else
        cJSON_Delete(json);
}

/* One type with everything: what a model was trained for its file does not say. */
void sdapi_control_types(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *all = cJSON_AddObjectToObject(cJSON_AddObjectToObject(json, "control_types"), "All");
    add_modules(cJSON_AddArrayToObject(all, "module_list"));
    cJSON *models = cJSON_AddArrayToObject(all, "model_list");
    cJSON_AddItemToArray(models, cJSON_CreateString("None"));
    cJSON_AddStringToObject(all, "default_option", "none");
    cJSON_AddStringToObject(all, "default_model", "None");
    if (add_models(req, models))
        sdapi_reply_json(req, json);
    else
        cJSON_Delete(json);
}

void sdapi_control_settings(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "control_net_unit_count", PICTOR_CONTROLS_MAX);
    sdapi_reply_json(req, json);
}

void sdapi_control_modules(struct http_request *req)
{
    cJSON *json = cJSON_CreateObject();
    add_modules(cJSON_AddArrayToObject(json, "module_list"));
    cJSON_AddObjectToObject(json, "module_detail");
    sdapi_reply_json(req, json);
}

/* ---- modules by themselves ---- */

struct detection {
    const struct app *app;
    char *module;
    double a, b;
    int side;
    struct {
        void *data;
        size_t size;
    } pictures[PICTOR_CONTROLS_MAX];
    int count, done;
    cJSON *images;
    struct err err;
};

static void detection_free(void *ctx)
{
    struct detection *d = ctx;
    for (int i = 0; i < d->count; i++)
        free(d->pictures[i].data);
    cJSON_Delete(d->images);
    free(d->module);
    free(d);
}

/* What the module makes of one picture, as base64 of a PNG; NULL: d->err. */
static char *detect(struct detection *d, const void *data, size_t size)
{
    struct pictor_image image = {0}, out = {0};
    struct image_file file = {0};
    size_t pixels = (size_t)d->app->settings->max_pixels;
    char *text = NULL;
    if (codec_decode(d->app->codec, data, size, pixels, &image, &d->err) &&
        image_detect(d->module, &image, d->a, d->b, d->side, &out, &d->err) &&
        codec_encode(d->app->codec, &out, IMAGE_PNG, 0, NULL, &file, &d->err) &&
        !(text = base64_encode(file.data, file.size)))
        err_set(&d->err, ERR_INTERNAL, "no memory for a picture");
    image_file_free(&file);
    pictor_image_free(&image);
    pictor_image_free(&out);
    return text;
}

static bool detect_next(void *ctx, const atomic_bool *gone)
{
    struct detection *d = ctx;
    char *text = detect(d, d->pictures[d->done].data, d->pictures[d->done].size);
    bool added = text && cJSON_AddItemToArray(d->images, cJSON_CreateString(text));
    free(text);
    return added && ++d->done < d->count;
}

static void reply_images(struct http_request *req, cJSON *images, const char *info)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "images", images);
    cJSON_AddStringToObject(json, "info", info);
    sdapi_reply_json(req, json);
}

static void reply_detection(struct http_request *req, void *ctx)
{
    struct detection *d = ctx;
    if (cJSON_GetArraySize(d->images) < d->count) {
        if (d->err.code == ERR_NONE)
            err_set(&d->err, ERR_INTERNAL, "no memory for a picture");
        sdapi_reply_err(req, &d->err, "controlnet_module");
        return;
    }
    reply_images(req, d->images, "Success");
    d->images = NULL;
}

/* NULL: no memory. */
static struct detection *detection_new(const struct app *app, const cJSON *body)
{
    double a = json_number_in(body, "controlnet_threshold_a", NAN);
    double b = json_number_in(body, "controlnet_threshold_b", NAN);
    struct detection *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->app = app;
    d->a = a >= 0 ? a : NAN;
    d->b = b >= 0 ? b : NAN;
    double side = json_number_in(body, "controlnet_processor_res", 0);
    d->side = side >= 64 && side <= CONTROLS_SIDE_MAX ? (int)side : 0;
    d->module = strdup(text_of(body, "controlnet_module"));
    d->images = cJSON_CreateArray();
    if (d->module && d->images)
        return d;
    detection_free(d);
    return NULL;
}

void sdapi_control_detect(struct http_request *req)
{
    cJSON *body = sdapi_reply_body(req);
    if (!body)
        return;
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(body, "controlnet_input_images"), *item;
    if (!given) /* as the Python package webuiapi has it */
        given = cJSON_GetObjectItemCaseSensitive(body, "controlnet_images");
    struct detection *d = NULL;
    struct err err;
    if (cJSON_GetArraySize(given) == 0) {
        reply_images(req, cJSON_CreateArray(), "No image selected");
    } else if (cJSON_GetArraySize(given) > PICTOR_CONTROLS_MAX) {
        err_set(&err, ERR_INVALID, "wanted at most %d pictures, got %d", PICTOR_CONTROLS_MAX,
                cJSON_GetArraySize(given));
        sdapi_reply_err(req, &err, "controlnet_input_images");
    } else if (!(d = detection_new(http_app(req), body))) {
        err_set(&err, ERR_INTERNAL, "no memory for a request");
        sdapi_reply_err(req, &err, NULL);
    }
    bool read = d;
    cJSON_ArrayForEach(item, given)
        if (read && (read = sdapi_picture_read(req, cJSON_GetStringValue(item),
                                               &d->pictures[d->count].data,
                                               &d->pictures[d->count].size)))
            d->count++;
    cJSON_Delete(body);
    if (read)
        http_work(req, detect_next, reply_detection, d, detection_free);
    else if (d)
        detection_free(d);
}
