/* native_job.c: A request has the fields of server/job/fields.h and a few more. They are parsed
 * straight into struct job_params, where strings first point into the JSON and are copied once all
 * is parsed. */
#include "server/api/native/native_job.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/extended.h"
#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/companions.h"
#include "server/job/controls_item.h"
#include "server/job/variants.h"
#include "server/job/intake.h"
#include "server/job/job_tags.h"
#include "server/job/lora_list.h"
#include "server/job/notes.h"
#include "server/job/styles.h"
#include "server/job/vaes.h"
#include "server/worker/codec.h"

_Static_assert(JOB_UNSET == JSON_FIELD_NO_INT, "what is not given is not set");

struct request {
    struct job_params p;
    int priority;
    const char *init_image, *mask;
    cJSON *controls, *extend, *loras, *styles, *images, *relay, *tags;
    bool prompt_comments, compose;
    bool blurred; /* mask_blur was given, */
    bool seeded;  /* and a seed that is no wish for any */
};

#define AT(member) .offset = offsetof(struct request, member)

/* What a request has besides the job's fields. */
static const struct json_field own_fields[] = {
    {"priority", .type = JSON_FIELD_INT, AT(priority), .least = -100, .most = 100},
    {"init_image", .type = JSON_FIELD_STRING, AT(init_image)},
    {"mask", .type = JSON_FIELD_STRING, AT(mask)},
    {"controls", .type = JSON_FIELD_RAW, AT(controls)},
    {"extend", .type = JSON_FIELD_RAW, AT(extend)},
    {"loras", .type = JSON_FIELD_RAW, AT(loras)},
    {"styles", .type = JSON_FIELD_RAW, AT(styles)},
    {"images", .type = JSON_FIELD_RAW, AT(images)},
    {"relay", .type = JSON_FIELD_RAW, AT(relay)},
    {"tags", .type = JSON_FIELD_RAW, AT(tags)},
    {"prompt_comments", .type = JSON_FIELD_BOOL, AT(prompt_comments)},
    {"compose", .type = JSON_FIELD_BOOL, AT(compose)},
};
#define OWN_COUNT (sizeof own_fields / sizeof *own_fields)

#define MARGIN(member)                                                                             \
    {                                                                                              \
        #member, .type = JSON_FIELD_INT, .offset = offsetof(struct image_margins, member)          \
    }
static const struct json_field margins[] = {MARGIN(left), MARGIN(right), MARGIN(up), MARGIN(down)};
#define MARGINS (sizeof margins / sizeof *margins)

/* Ranges are job_params_check's matter. */
static bool parse(struct request *r, cJSON *body, char param[64], struct err *err)
{
    struct json_field rows[JOB_TABLE_MAX + OWN_COUNT];
    struct json_problem problem;
    size_t count = job_field_rows(&job_table, rows);
    memcpy(rows + count, own_fields, sizeof own_fields);
    *r = (struct request){0};
    job_params_init(&r->p);
    if (!json_fields_parse(rows, count + OWN_COUNT, body, JSON_FIELDS_STRICT, r, &problem)) {
        snprintf(param, 64, "%s", problem.name);
        job_params_init(&r->p); /* its texts are the JSON's */
        return err_set(err, ERR_INVALID, "%s", problem.message);
    }
    const cJSON *blur = cJSON_GetObjectItemCaseSensitive(body, "mask_blur");
    r->blurred = blur && !cJSON_IsNull(blur);
    struct json_whole seed = {.negative = true};
    json_number_whole(cJSON_GetObjectItemCaseSensitive(body, "seed"), &seed);
    r->seeded = !seed.negative;
    if (r->compose) { /* who could has done it before (server/api/composing.h) */
        snprintf(param, 64, "compose");
        job_params_init(&r->p);
        return err_set(err, ERR_INVALID, "compose: nobody composes here, but POST /api/compose");
    }
    r->p.has_init = r->init_image != NULL;
    r->p.has_mask = r->mask != NULL;
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(body, "format");
    r->p.any_format = !format || cJSON_IsNull(format);
    if (!job_field_own(&job_table, &r->p, body, err))
        return false;
    r->p.dialect = strdup("native");
    return r->p.dialect || err_set(err, ERR_INTERNAL, "no memory for a job");
}

static bool read_picture(const struct app *app, const char *name, const char *text, uint8_t **data,
                         size_t *size, char param[64], struct err *err)
{
    struct pictor_image image;
    if (!text)
        return true;
    snprintf(param, 64, "%s", name);
    if (!base64_decode(text, strlen(text), data, size, err) ||
        !codec_decode(app->codec, *data, *size, intake_pixels_max(app->settings), &image, err))
        return err_prefix(err, "%s", name);
    pictor_image_free(&image);
    param[0] = '\0';
    return true;
}

/* `seeded`: the request names a seed. */
static bool complete(const struct app *app, struct job_params *p, bool seeded, char param[64],
                     struct err *err)
{
    struct intake_model model;
    if (!intake_model(app->registry, p->model, &model, err)) {
        snprintf(param, 64, "model");
        return false;
    }
    if (p->width == JOB_UNSET)
        p->width = model.width;
    if (p->height == JOB_UNSET)
        p->height = model.height;
    free(p->model);
    p->model = strdup(model.name);
    if (!p->model)
        return err_set(err, ERR_INTERNAL, "no memory for a job");
    const char *blamed = NULL;
    struct vaes_choice vae;
    if (intake_complete(&model, app->settings, p, &blamed, err) &&
        intake_files(app->registry, &model, p, &blamed, err) &&
        companions_check(app->registry, &model, p, &blamed, err) &&
        (!seeded || notes_seed(&model, p, err))) {
        if (model.upstream ||
            vaes_choose(registry_files(app->registry, FOLDERS_VAE), model.name, p->vae, &vae, err))
            return true;
        blamed = "vae";
        if (err->code == ERR_NOT_FOUND) /* it is no route that was not found */
            err->code = ERR_INVALID;
    }
    snprintf(param, 64, "%s", blamed ? blamed : "");
    return false;
}

static bool read_controls(const struct app *app, const char *key_id, const struct request *r,
                          struct native_job *out, char param[64], struct err *err)
{
    struct intake_model model;
    if (!intake_model(app->registry, out->params.model, &model, err))
        return false;
    if (controls_given_read(app, key_id, r->controls, model.upstream, &out->params, &out->controls,
                            err))
        return true;
    snprintf(param, 64, "controls");
    return false;
}

/* In the place of what came: a larger picture, and a mask for what is new. */
static bool extend(const struct app *app, const struct request *r, struct native_job *out,
                   char param[64], struct err *err)
{
    struct job_params *p = &out->params;
    struct image_margins m;
    struct json_problem problem;
    struct extended larger;
    if (!r->extend)
        return true;
    snprintf(param, 64, "extend");
    if (!json_fields_parse(margins, MARGINS, r->extend, JSON_FIELDS_STRICT, &m, &problem))
        return err_set(err, ERR_INVALID, "extend: %s", problem.message);
    if (!r->init_image || r->mask)
        return err_set(err, ERR_INVALID,
                       "extend: wanted an init_image and no mask, which it makes");
    if (p->mask_invert || p->mask_only_area)
        return err_set(
            err, ERR_INVALID,
            "extend: wanted no mask_invert and no mask_only_area, as its mask is all that "
            "is new and the whole picture is painted");
    if (p->width != JOB_UNSET || p->height != JOB_UNSET)
        return err_set(err, ERR_INVALID,
                       "extend: wanted no width and height, which are those of the init_image and "
                       "what it is extended by");
    if (isnan(p->strength))
        p->strength = EXTENDED_STRENGTH;
    if (!r->blurred)
        p->mask_blur = NAN;
    if (!extended_make(app, out->init.data, out->init.size, m, 8, p, &larger, err))
        return err_prefix(err, "extend");
    free(out->init.data);
    out->init = (struct native_picture){larger.init, larger.init_size};
    out->mask = (struct native_picture){larger.mask, larger.mask_size};
    param[0] = '\0';
    return true;
}

/* Pieces of prompts that have names, and what is not to be read. */
static bool read_words(const struct app *app, const struct request *r, struct job_params *p,
                       char param[64], struct err *err)
{
    if (styles_prompts(app->settings, r->styles, r->prompt_comments, p, err))
        return true;
    snprintf(param, 64, "styles");
    return false;
}

/* Behind the words of the prompt, before its length is looked at. */
static bool add_loras(const struct app *app, const cJSON *list, struct job_params *p,
                      char param[64], struct err *err)
{
    struct intake_model model;
    if (!list || (cJSON_IsArray(list) && !list->child))
        return true;
    snprintf(param, 64, "loras");
    if (intake_model(app->registry, p->model, &model, err) && model.upstream)
        return err_set(err, ERR_INVALID, "loras: models of other servers take none");
    if (!p->prompt && !(p->prompt = strdup("")))
        return err_set(err, ERR_INTERNAL, "no memory for a job");
    bool done = lora_list_add(list, registry_files(app->registry, FOLDERS_LORA), &p->prompt, err);
    if (done)
        param[0] = '\0';
    return done;
}

static bool read_images(const struct app *app, const struct request *r, struct native_job *out,
                        char param[64], struct err *err)
{
    struct intake_model model;
    const cJSON *item;
    int count = 0;
    if (!r->images || (cJSON_IsArray(r->images) && !r->images->child))
        return true;
    snprintf(param, 64, "images");
    if (!cJSON_IsArray(r->images) || cJSON_GetArraySize(r->images) > RELAY_IMAGES_MAX)
        return err_set(err, ERR_INVALID, "images: wanted a list of at most %d pictures",
                       RELAY_IMAGES_MAX);
    if (!intake_model(app->registry, out->params.model, &model, err))
        return false;
    if (!model.takes_more || !r->init_image)
        return err_set(err, ERR_INVALID,
                       model.takes_more
                           ? "images: wanted an init_image, which is the first of them"
                           : "images: the model %.100s takes one picture, as init_image",
                       model.name);
    cJSON_ArrayForEach(item, r->images) {
        struct native_picture *to = &out->more[count++];
        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "images: wanted texts, each a picture in base64");
        if (!read_picture(app, "images", item->valuestring, &to->data, &to->size, param, err))
            return false;
    }
    out->params.more_images = count;
    param[0] = '\0';
    return true;
}

static bool read_relay(const struct app *app, const struct request *r, struct native_job *out,
                       char param[64], struct err *err)
{
    struct intake_model model;
    if (!r->relay)
        return true;
    snprintf(param, 64, "relay");
    if (!intake_model(app->registry, out->params.model, &model, err) ||
        !relay_given(r->relay, model.upstream, &out->params.relay, err))
        return false;
    param[0] = '\0';
    return true;
}

static bool read_tags(const cJSON *list, struct native_job *out, char param[64], struct err *err)
{
    if (job_tags_read(list, &out->tags, err))
        return true;
    snprintf(param, 64, "tags");
    return false;
}

bool native_job_read(const struct app *app, const char *key_id, struct cJSON *body,
                     struct native_job *out, char param[64], struct err *err)
{
    struct request r;
    *out = (struct native_job){0};
    param[0] = '\0';
    bool ok = parse(&r, body, param, err);
    out->params = r.p;
    out->priority = r.priority;
    ok = ok &&
         read_picture(app, "init_image", r.init_image, &out->init.data, &out->init.size, param,
                      err) &&
         read_picture(app, "mask", r.mask, &out->mask.data, &out->mask.size, param, err) &&
         extend(app, &r, out, param, err) && read_words(app, &r, &out->params, param, err) &&
         add_loras(app, r.loras, &out->params, param, err) &&
         complete(app, &out->params, r.seeded, param, err) &&
         read_controls(app, key_id, &r, out, param, err) &&
         read_images(app, &r, out, param, err) && read_relay(app, &r, out, param, err) &&
         read_tags(r.tags, out, param, err);
    if (!ok)
        native_job_free(out);
    return ok;
}

size_t native_job_inputs(const struct native_job *job, struct job_input inputs[INPUTS_MAX])
{
    size_t count = 0;
    if (job->init.data)
        inputs[count++] = (struct job_input){"init", job->init.data, job->init.size};
    if (job->mask.data)
        inputs[count++] = (struct job_input){"mask", job->mask.data, job->mask.size};
    for (int i = 0; i < job->params.more_images; i++)
        inputs[count++] =
            (struct job_input){relay_input((size_t)i), job->more[i].data, job->more[i].size};
    return controls_given_inputs(&job->controls, inputs, count);
}

/* Of the fields that are no plain values. */
static cJSON *raw_schema(const char *name)
{
    return strcmp(name, "extend") == 0  ? json_fields_schema(margins, MARGINS)
           : strcmp(name, "loras") == 0 ? lora_list_schema()
           : strcmp(name, "relay") == 0 ? relay_schema()
           : strcmp(name, "tags") == 0  ? job_tags_schema()
           : strcmp(name, "styles") == 0 || strcmp(name, "images") == 0
               ? json_text_constant("{\"type\": \"array\", \"items\": {\"type\": \"string\"}}")
               : controls_item_schema();
}

struct cJSON *native_job_schema(const struct settings *settings)
{
    static const char *const docs[] = {
        "-100..100, higher first; above 0 it takes a key that may administer",
        "the picture to begin from: base64 or a data: URL of PNG, JPEG, WebP, GIF or BMP",
        "where to repaint: white; as init_image",
        "ControlNets that lead the picture, each with a picture to lead by",
        "pixels by which init_image grows to each side, painted anew; the size follows from it",
        "LoRAs, which become tags of the prompt",
        "named pieces of prompts, which are added to them",
        "further pictures for a model of another server, each as init_image, which comes first",
        "what else a model of another server is asked, in its own words",
        "tags of the job, as POST /api/marks gives them",
        "what stands behind a # in the prompts, to the end of its line, is left out",
        "the prompt is an idea, out of which a description is made that is painted",
    };
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(schema, "title", "A request for pictures");
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = job_field_schema(&job_table, settings);
    cJSON *own = json_fields_schema(own_fields, OWN_COUNT);
    cJSON *own_properties = cJSON_GetObjectItemCaseSensitive(own, "properties");
    for (size_t i = 0; i < OWN_COUNT; i++) {
        const char *name = own_fields[i].name;
        cJSON *property = cJSON_DetachItemFromObjectCaseSensitive(own_properties, name);
        if (own_fields[i].type == JSON_FIELD_RAW) {
            cJSON_Delete(property);
            property = raw_schema(name);
        }
        cJSON_AddStringToObject(property, "description", docs[i]);
        cJSON_AddStringToObject(property, "x-about", "request");
        cJSON_AddItemToObject(properties, name, property);
    }
    cJSON_Delete(own);
    cJSON_AddItemToObject(schema, "properties", properties);
    cJSON *required = cJSON_AddArrayToObject(schema, "required");
    cJSON_AddItemToArray(required, cJSON_CreateString("prompt"));
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

void native_job_free(struct native_job *job)
{
    job_params_free(&job->params);
    free(job->init.data);
    free(job->mask.data);
    for (size_t i = 0; i < RELAY_IMAGES_MAX; i++)
        free(job->more[i].data);
    controls_given_free(&job->controls);
    free(job->tags);
    *job = (struct native_job){0};
}

/* ---- to JSON ---- */

struct cJSON *native_job_params_to_json(const struct job_params *p)
{
    cJSON *json = job_params_to_json(p);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "notes"); /* the job has them, as a list */
    if (p->controls)
        cJSON_ReplaceItemInObjectCaseSensitive(json, "controls", controls_item_list(p->controls));
    struct variants variants;
    if (p->variants && variants_read(p, &variants, NULL))
        cJSON_ReplaceItemInObjectCaseSensitive(json, "variants", variants.list);
    return json;
}

static void add_time(cJSON *json, const char *name, int64_t ms)
{
    if (ms > 0)
        cJSON_AddNumberToObject(json, name, (double)ms);
    else
        cJSON_AddNullToObject(json, name);
}

struct cJSON *native_job_image_to_json(const struct job_image *image)
{
    char url[64];
    cJSON *json = cJSON_CreateObject();
    snprintf(url, sizeof url, "/api/images/%s", image->id);
    cJSON_AddStringToObject(json, "id", image->id);
    cJSON_AddNumberToObject(json, "index", image->index);
    cJSON_AddStringToObject(json, "url", url);
    cJSON_AddNumberToObject(json, "width", image->width);
    cJSON_AddNumberToObject(json, "height", image->height);
    cJSON_AddItemToObject(json, "seed", json_number_item(image->seed));
    cJSON_AddItemToObject(json, "subseed", json_number_item(image->subseed));
    cJSON_AddStringToObject(json, "format", image_formats[image->format]);
    cJSON_AddNumberToObject(json, "bytes", (double)image->bytes);
    cJSON_AddStringToObject(json, "infotext", image->infotext ? image->infotext : "");
    return json;
}

/* What people say of the job (`image_id` ""), or of a picture. */
static void add_marks(cJSON *json, const struct job *job, const char *image_id)
{
    bool favourite = false;
    cJSON *tags = cJSON_CreateArray();
    for (size_t i = 0; i < job->mark_count; i++) {
        if (strcmp(job->marks[i].image_id, image_id) != 0)
            continue;
        if (*job->marks[i].tag)
            cJSON_AddItemToArray(tags, cJSON_CreateString(job->marks[i].tag));
        else
            favourite = true;
    }
    cJSON_AddBoolToObject(json, "favourite", favourite);
    cJSON_AddItemToObject(json, "tags", tags);
}

struct cJSON *native_job_image_of(const struct job *job, const struct job_image *image)
{
    cJSON *json = native_job_image_to_json(image);
    add_marks(json, job, image->id);
    return json;
}

/* A line each. */
static void add_notes(cJSON *json, const char *notes)
{
    cJSON *list = cJSON_AddArrayToObject(json, "notes");
    for (size_t n; notes && *notes; notes += n + (notes[n] == '\n')) {
        n = strcspn(notes, "\n");
        char *line = strndup(notes, n);
        cJSON_AddItemToArray(list, cJSON_CreateString(line ? line : ""));
        free(line);
    }
}

struct cJSON *native_job_to_json(const struct job *job)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "id", job->id);
    cJSON_AddStringToObject(json, "state", job_state_name(job->state));
    cJSON_AddNumberToObject(json, "position", job->position);
    cJSON_AddNumberToObject(json, "priority", job->priority);
    cJSON_AddNumberToObject(json, "attempts", job->attempts);
    add_time(json, "created_at", job->created_ms);
    add_time(json, "started_at", job->started_ms);
    add_time(json, "finished_at", job->finished_ms);
    cJSON_AddItemToObject(json, "params", native_job_params_to_json(&job->params));

    cJSON *progress = cJSON_AddObjectToObject(json, "progress");
    cJSON_AddNumberToObject(progress, "image", job->progress.image);
    cJSON_AddNumberToObject(progress, "step", job->progress.step);
    cJSON_AddNumberToObject(progress, "steps", job->progress.steps);
    if (job->progress.eta_seconds >= 0)
        cJSON_AddNumberToObject(progress, "eta_seconds", job->progress.eta_seconds);
    else
        cJSON_AddNullToObject(progress, "eta_seconds");
    cJSON_AddNumberToObject(progress, "ahead", job_progress_ahead(&job->progress));

    cJSON *images = cJSON_AddArrayToObject(json, "images");
    for (size_t i = 0; i < job->image_count; i++)
        cJSON_AddItemToArray(images, native_job_image_of(job, &job->images[i]));
    bool composed = job->params.composed_from && *job->params.composed_from;
    cJSON_AddItemToObject(json, "revised_prompt",
                          composed ? cJSON_CreateString(job->params.prompt) : cJSON_CreateNull());
    cJSON *usage = job_usage(job);
    cJSON_AddItemToObject(json, "usage", usage ? usage : cJSON_CreateNull());
    add_notes(json, job->params.notes);
    if (job->state == JOB_FAILED) {
        cJSON *error = cJSON_AddObjectToObject(json, "error");
        cJSON_AddStringToObject(error, "code", err_name(job->error));
        cJSON_AddStringToObject(error, "message", job->error_message);
        cJSON *refusal = refusal_to_json(&job->refusal);
        if (refusal)
            cJSON_AddItemToObject(error, "upstream", refusal);
    } else {
        cJSON_AddNullToObject(json, "error");
    }
    add_marks(json, job, "");
    return json;
}
