/* sdapi_request.c: the table becomes two arrays: what json_fields needs, and the finer kinds (list,
 * object, nullable boolean) that are checked and echoed here. */
#include "server/api/sdapi/sdapi_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server/api/sdapi/sdapi_reply.h"
#include "server/base/json_text.h"
#include "server/base/pyjson.h"
#include "server/job/infotext.h"

enum kind {
    KIND_STRING,
    KIND_INT,
    KIND_WHOLE,
    KIND_DOUBLE,
    KIND_BOOL,
    KIND_FLAG,
    KIND_LIST,
    KIND_DICT,
    KIND_ANY
};

#define AT(member) .name = #member, .offset = offsetof(struct sdapi_request, member)
#define FIELD_STRING(member, value) {AT(member), .type = JSON_FIELD_STRING, .text = (value)},
#define FIELD_INT(member, value) {AT(member), .type = JSON_FIELD_INT, .number = (value)},
#define FIELD_WHOLE(member, value) {AT(member), .type = JSON_FIELD_WHOLE, .number = (value)},
#define FIELD_DOUBLE(member, value) {AT(member), .type = JSON_FIELD_DOUBLE, .number = (value)},
#define FIELD_BOOL(member, value) {AT(member), .type = JSON_FIELD_BOOL, .number = (value)},
#define FIELD_FLAG(member, value) {AT(member), .type = JSON_FIELD_RAW, .text = (value)},
#define FIELD_LIST FIELD_FLAG
#define FIELD_DICT FIELD_FLAG
#define FIELD_ANY FIELD_FLAG
#define FIELD(type, member, value) FIELD_##type(member, value)
#define KIND(type, member, value) KIND_##type,

#define TXT2IMG_FIELDS(X)                                                                          \
    SDAPI_REQUEST_COMMON(X, NAN)                                                                   \
    SDAPI_REQUEST_TXT2IMG(X) SDAPI_REQUEST_TASK(X) SDAPI_REQUEST_TAIL(X) SDAPI_REQUEST_ALIASES(X)
#define IMG2IMG_FIELDS(X)                                                                          \
    SDAPI_REQUEST_COMMON(X, 0.75)                                                                  \
    SDAPI_REQUEST_IMG2IMG(X)                                                                       \
    SDAPI_REQUEST_TASK(X) SDAPI_REQUEST_INCLUDE(X) SDAPI_REQUEST_TAIL(X) SDAPI_REQUEST_ALIASES(X)

/* How many there are; they are the last of both tables. */
#define ONE_MORE(type, member, value) +1
enum { ALIASES = 0 SDAPI_REQUEST_ALIASES(ONE_MORE) };

static const struct json_field txt2img_fields[] = {TXT2IMG_FIELDS(FIELD)};
static const enum kind txt2img_kinds[] = {TXT2IMG_FIELDS(KIND)};
static const struct json_field img2img_fields[] = {IMG2IMG_FIELDS(FIELD)};
static const enum kind img2img_kinds[] = {IMG2IMG_FIELDS(KIND)};

struct field_table {
    const struct json_field *fields;
    const enum kind *kinds;
    size_t count;
};

static struct field_table table_of(enum sdapi_request_kind kind)
{
    if (kind == SDAPI_TXT2IMG)
        return (struct field_table){txt2img_fields, txt2img_kinds,
                                    sizeof txt2img_kinds / sizeof *txt2img_kinds};
    return (struct field_table){img2img_fields, img2img_kinds,
                                sizeof img2img_kinds / sizeof *img2img_kinds};
}

bool sdapi_request_knows(enum sdapi_request_kind kind, const char *name)
{
    struct field_table table = table_of(kind);
    for (size_t i = 0; i < table.count; i++)
        if (strcmp(table.fields[i].name, name) == 0)
            return true;
    return false;
}

/* ---- "infotext" ---- */

/* Which pair of an infotext answers for which field, and for which option. */
static const char *const from_infotext[][2] = {
    {"Steps", "steps"},
    {"Sampler", "sampler_name"},
    {"Schedule type", "scheduler"},
    {"CFG scale", "cfg_scale"},
    {"Distilled CFG Scale", "distilled_cfg_scale"},
    {"Seed", "seed"},
    {"Size-1", "width"},
    {"Size-2", "height"},
    {"Batch size", "batch_size"},
    {"Variation seed", "subseed"},
    {"Variation seed strength", "subseed_strength"},
    {"Denoising strength", "denoising_strength"},
    {"Hires upscale", "hr_scale"},
    {"Hires steps", "hr_second_pass_steps"},
    {"Hires upscaler", "hr_upscaler"},
    {"Hires resize-1", "hr_resize_x"},
    {"Hires resize-2", "hr_resize_y"},
    {"Hires checkpoint", "hr_checkpoint_name"},
    {"Hires sampler", "hr_sampler_name"},
    {"Hires schedule type", "hr_scheduler"},
    {"Hires prompt", "hr_prompt"},
    {"Hires negative prompt", "hr_negative_prompt"},
    {"Refiner", "refiner_checkpoint"},
    {"Refiner switch at", "refiner_switch_at"},
    {"Seed resize from-1", "seed_resize_from_w"},
    {"Seed resize from-2", "seed_resize_from_h"},
};
static const char *const options_from_infotext[][2] = {
    {"Clip skip", "CLIP_stop_at_last_layers"},
    {"ENSD", "eta_noise_seed_delta"},
    {"RNG", "randn_source"},
    {"Eta", "eta_ancestral"},
    {"Eta DDIM", "eta_ddim"},
    {"Token merging ratio", "token_merging_ratio"},
    {"NGMS", "s_min_uncond"},
    {"NGMS all steps", "s_min_uncond_all"},
    {"Emphasis", "emphasis"},
    {"Schedule min sigma", "sigma_min"},
    {"Schedule max sigma", "sigma_max"},
    {"Schedule rho", "rho"},
    {"Beta schedule alpha", "beta_dist_alpha"},
    {"Beta schedule beta", "beta_dist_beta"},
    {"VAE", "sd_vae"},
    {"Tiling", "tiling"},
    {"Sigma churn", "s_churn"},
    {"Sigma tmin", "s_tmin"},
    {"Sigma tmax", "s_tmax"},
    {"Sigma noise", "s_noise"},
    {"Discard penultimate sigma", "always_discard_next_to_last_sigma"},
    {"SGM noise multiplier", "sgm_noise_multiplier"},
    {"UniPC variant", "uni_pc_variant"},
    {"UniPC skip type", "uni_pc_skip_type"},
    {"UniPC order", "uni_pc_order"},
    {"UniPC lower order final", "uni_pc_lower_order_final"},
    {"Skip Early CFG", "skip_early_cond"},
    {"Pad conds", "pad_cond_uncond"},
    {"Pad conds v0", "pad_cond_uncond_v0"},
    {"Token merging ratio hr", "token_merging_ratio_hr"},
    {"Noise multiplier", "initial_noise_multiplier"},
    {"Extra noise", "img2img_extra_noise"},
    {"Conditional mask weight", "inpainting_mask_weight"},
    {"Noise Schedule", "sd_noise_schedule"},
    {"Downcast alphas_cumprod", "use_downcasted_alpha_bar"},
    {"Old prompt editing timelines", "use_old_scheduling"},
    {"Refiner switch by sampling steps", "refiner_switch_by_sample_steps"},
    {"Hires refiner", "hires_fix_refiner_pass"},
};

static void add_missing(cJSON *object, const char *name, const char *value)
{
    if (value && !cJSON_GetObjectItemCaseSensitive(object, name))
        cJSON_AddStringToObject(object, name, value);
}

/* Fields that the body does not have are taken from its infotext, as text: they are coerced like
 * any other. */
static bool add_infotext(cJSON *body)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(body, "infotext");
    if (!cJSON_IsString(text) || !*text->valuestring)
        return true;
    struct infotext t;
    if (!infotext_read(&t, text->valuestring))
        return false;
    add_missing(body, "prompt", t.prompt);
    add_missing(body, "negative_prompt", t.negative_prompt);
    for (size_t i = 0; i < sizeof from_infotext / sizeof *from_infotext; i++)
        add_missing(body, from_infotext[i][1], infotext_get(&t, from_infotext[i][0]));
    if (infotext_get(&t, "Denoising strength") &&
        (infotext_get(&t, "Hires upscale") || infotext_get(&t, "Hires upscaler") ||
         infotext_get(&t, "Hires resize-1")))
        add_missing(body, "enable_hr", "true");
    if (infotext_get(&t, "Face restoration"))
        add_missing(body, "restore_faces", "true");

    cJSON *options = cJSON_GetObjectItemCaseSensitive(body, "override_settings");
    for (size_t i = 0; i < sizeof options_from_infotext / sizeof *options_from_infotext; i++) {
        const char *value = infotext_get(&t, options_from_infotext[i][0]);
        if (!value)
            continue;
        if (!cJSON_IsObject(options)) {
            cJSON_DeleteItemFromObjectCaseSensitive(body, "override_settings");
            options = cJSON_AddObjectToObject(body, "override_settings");
        }
        add_missing(options, options_from_infotext[i][1], value);
    }
    infotext_free(&t);
    return true;
}

/* ---- parsing ---- */

/* A nullable boolean becomes a cJSON boolean, by the words of json_fields. */
static bool coerce_flag(cJSON *value)
{
    static const struct json_field field = {.name = "value", .type = JSON_FIELD_BOOL};
    cJSON *object = cJSON_CreateObject();
    struct json_problem problem;
    bool flag = false;
    bool ok = cJSON_AddItemReferenceToObject(object, "value", value) &&
              json_fields_parse(&field, 1, object, JSON_FIELDS_COERCE, &flag, &problem);
    cJSON_Delete(object);
    if (!ok)
        return false;
    if (cJSON_IsString(value))
        cJSON_free(value->valuestring);
    value->valuestring = NULL;
    value->type = flag ? cJSON_True : cJSON_False;
    return true;
}

/* styles is a list of strings; the other lists hold anything. */
static bool is_text_list(const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
        if (!cJSON_IsString(item))
            return false;
    return true;
}

static cJSON *check_kind(const struct json_field *field, enum kind kind, cJSON *value)
{
    switch (kind) {
    case KIND_FLAG:
        if (!coerce_flag(value))
            return sdapi_reply_fault(field->name, "value could not be parsed to a boolean",
                                     "type_error.bool");
        return NULL;
    case KIND_LIST:
        if (!cJSON_IsArray(value))
            return sdapi_reply_fault(field->name, "value is not a valid list", "type_error.list");
        if (strcmp(field->name, "styles") == 0 && !is_text_list(value))
            return sdapi_reply_fault(field->name, "str type expected", "type_error.str");
        return NULL;
    case KIND_DICT:
        if (cJSON_IsArray(value) && !value->child)
            value->type = (value->type & ~cJSON_Array) | cJSON_Object;
        if (!cJSON_IsObject(value))
            return sdapi_reply_fault(field->name, "value is not a valid dict", "type_error.dict");
        return NULL;
    case KIND_ANY:
    case KIND_STRING:
    case KIND_INT:
    case KIND_WHOLE:
    case KIND_DOUBLE:
    case KIND_BOOL:
        return NULL;
    }
    return NULL;
}

bool sdapi_request_parse(enum sdapi_request_kind kind, struct cJSON *body,
                         struct sdapi_request *out, struct cJSON **detail)
{
    struct field_table table = table_of(kind);
    struct json_problem problem;
    *out = (struct sdapi_request){.kind = kind};
    *detail = NULL;
    if (cJSON_IsObject(body) && !add_infotext(body))
        return false;
    if (!json_fields_parse(table.fields, table.count, body, JSON_FIELDS_COERCE, out, &problem)) {
        *detail = sdapi_reply_problem(&problem);
        return false;
    }
    for (size_t i = 0; i < table.count; i++) {
        if (table.fields[i].type != JSON_FIELD_RAW)
            continue;
        cJSON *value;
        memcpy(&value, (char *)out + table.fields[i].offset, sizeof value);
        if (value && (*detail = check_kind(&table.fields[i], table.kinds[i], value)))
            return false;
    }
    return true;
}

bool sdapi_request_flag(const struct cJSON *flag)
{
    return cJSON_IsTrue(flag);
}

/* ---- the schema ---- */

static cJSON *schema_of(enum sdapi_request_kind kind)
{
    struct field_table table = table_of(kind);
    cJSON *schema = json_fields_schema(table.fields, table.count);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (size_t i = 0; properties && i < table.count; i++) {
        const char *type = table.kinds[i] == KIND_FLAG   ? "boolean"
                           : table.kinds[i] == KIND_LIST ? "array"
                           : table.kinds[i] == KIND_DICT ? "object"
                                                         : NULL;
        cJSON *item = cJSON_GetObjectItemCaseSensitive(properties, table.fields[i].name);
        if (type && item) {
            cJSON_DeleteItemFromObjectCaseSensitive(item, "type");
            cJSON_AddStringToObject(item, "type", type);
        }
    }
    return schema;
}

struct cJSON *sdapi_request_schema_txt2img(const struct settings *settings)
{
    return schema_of(SDAPI_TXT2IMG);
}

struct cJSON *sdapi_request_schema_img2img(const struct settings *settings)
{
    return schema_of(SDAPI_IMG2IMG);
}

/* ---- the echo ---- */

static cJSON *echo_value(const struct json_field *field, enum kind kind,
                         const struct sdapi_request *request)
{
    const void *at = (const char *)request + field->offset;
    switch (kind) {
    case KIND_STRING: {
        const char *text = *(const char *const *)at;
        return text ? cJSON_CreateString(text) : cJSON_CreateNull();
    }
    case KIND_INT: {
        int number = *(const int *)at;
        return number == JSON_FIELD_NO_INT ? cJSON_CreateNull() : cJSON_CreateNumber(number);
    }
    case KIND_WHOLE:
        return json_number_signed(*(const struct json_whole *)at);
    case KIND_DOUBLE:
        return pyjson_float_item(*(const double *)at);
    case KIND_BOOL:
        return cJSON_CreateBool(*(const bool *)at);
    case KIND_FLAG:
    case KIND_LIST:
    case KIND_DICT:
    case KIND_ANY: {
        const cJSON *value = *(const cJSON *const *)at;
        return value ? cJSON_Duplicate(value, true) : json_text_constant(field->text);
    }
    }
    return NULL;
}

struct cJSON *sdapi_request_echo(const struct sdapi_request *request)
{
    struct field_table table = table_of(request->kind);
    cJSON *echo = cJSON_CreateObject();
    if (!echo)
        return NULL;
    bool hide = request->kind == SDAPI_IMG2IMG && !request->include_init_images;
    for (size_t i = 0; i < table.count - ALIASES; i++) {
        const struct json_field *field = &table.fields[i];
        size_t at = field->offset;
        bool hidden = hide && (at == offsetof(struct sdapi_request, init_images) ||
                               at == offsetof(struct sdapi_request, mask));
        cJSON *value = hidden ? cJSON_CreateNull() : echo_value(field, table.kinds[i], request);
        if (!value || !cJSON_AddItemToObjectCS(echo, field->name, value)) {
            cJSON_Delete(value);
            cJSON_Delete(echo);
            return NULL;
        }
    }
    return echo;
}
