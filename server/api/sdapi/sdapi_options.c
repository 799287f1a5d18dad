/* sdapi_options.c: one table: every option's name and default (whose JSON type is the option's
 * type), and whether another value than the default can be honoured. */
#include "server/api/sdapi/sdapi_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/app.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/job/job.h"
#include "server/store/store.h"

enum rule {
    FREE, /* any value: used, or of no effect on a picture made here */
    ONLY, /* another value would paint another picture, and pictor cannot: refused */
    READ  /* follows from others; setting it is ignored */
};

struct option {
    const char *name, *fallback; /* JSON; a number with a point is a float, null a nullable text */
    enum rule rule;
};

static const struct option options_table[] = {
    {"samples_save", "true", FREE},
    {"samples_format", "\"png\"", FREE},
    {"jpeg_quality", "80", FREE},
    {"webp_lossless", "false", ONLY},
    {"enable_pnginfo", "true", ONLY},
    {"save_txt", "false", FREE},
    {"grid_save", "false", FREE},
    {"return_grid", "true", FREE},
    {"grid_only_if_multiple", "true", FREE},
    {"n_rows", "-1", FREE},
    {"sd_model_checkpoint", "null", FREE},
    {"sd_checkpoint_hash", "\"\"", READ},
    {"sd_vae", "\"Automatic\"", FREE},
    {"CLIP_stop_at_last_layers", "1", FREE},
    {"sdxl_clip_l_skip", "false", FREE},
    {"randn_source", "\"GPU\"", FREE},
    {"eta_noise_seed_delta", "0", FREE},
    {"eta_ddim", "0.0", FREE},
    {"eta_ancestral", "1.0", FREE},
    {"ddim_discretize", "\"uniform\"", ONLY},
    {"s_churn", "0.0", FREE},
    {"s_tmin", "0.0", FREE},
    {"s_tmax", "0.0", FREE},
    {"s_noise", "1.0", FREE},
    {"s_min_uncond", "0.0", FREE},
    {"s_min_uncond_all", "false", FREE},
    {"sigma_min", "0.0", FREE},
    {"sigma_max", "0.0", FREE},
    {"rho", "0.0", FREE},
    {"always_discard_next_to_last_sigma", "false", FREE},
    {"sgm_noise_multiplier", "false", FREE},
    {"uni_pc_variant", "\"bh1\"", ONLY},
    {"uni_pc_skip_type", "\"time_uniform\"", ONLY},
    {"uni_pc_order", "3", ONLY},
    {"uni_pc_lower_order_final", "true", ONLY},
    {"sd_noise_schedule", "\"Default\"", FREE},
    {"skip_early_cond", "0.0", FREE},
    {"beta_dist_alpha", "0.6", FREE},
    {"beta_dist_beta", "0.6", FREE},
    {"emphasis", "\"Original\"", FREE},
    {"comma_padding_backtrack", "20", FREE},
    {"enable_prompt_comments", "true", FREE},
    {"enable_quantization", "false", ONLY},
    {"upcast_attn", "false", FREE},
    {"tiling", "false", FREE},
    {"inpainting_mask_weight", "1.0", FREE},
    {"initial_noise_multiplier", "1.0", FREE},
    {"img2img_extra_noise", "0.0", ONLY},
    {"img2img_color_correction", "false", FREE},
    {"img2img_fix_steps", "false", ONLY},
    {"img2img_background_color", "\"#ffffff\"", ONLY},
    {"upscaler_for_img2img", "null", ONLY},
    {"return_mask", "false", ONLY},
    {"return_mask_composite", "false", ONLY},
    {"overlay_inpaint", "true", ONLY},
    {"pad_cond_uncond", "false", ONLY},
    {"pad_cond_uncond_v0", "false", ONLY},
    {"batch_cond_uncond", "true", FREE},
    {"use_old_emphasis_implementation", "false", ONLY},
    {"use_old_karras_scheduler_sigmas", "false", ONLY},
    {"no_dpmpp_sde_batch_determinism", "false", ONLY},
    {"use_old_hires_fix_width_height", "false", ONLY},
    {"use_old_scheduling", "false", FREE},
    {"use_downcasted_alpha_bar", "false", ONLY},
    {"refiner_switch_by_sample_steps", "false", FREE},
    {"hires_fix_refiner_pass", "\"second pass\"", FREE},
    {"hires_fix_use_firstpass_conds", "false", FREE},
    {"auto_backcompat", "true", FREE},
    {"face_restoration", "false", ONLY},
    {"face_restoration_model", "\"CodeFormer\"", FREE},
    {"code_former_weight", "0.5", FREE},
    {"sd_hypernetwork", "\"None\"", ONLY},
    {"sd_lora", "\"None\"", ONLY},
    {"extra_networks_default_multiplier", "1.0", FREE},
    {"live_previews_enable", "true", FREE},
    {"show_progress_every_n_steps", "10", FREE},
    {"show_progress_type", "\"Approx NN\"", FREE},
    {"live_preview_content", "\"Prompt\"", FREE},
    {"live_previews_image_format", "\"png\"", FREE},
    {"live_preview_fast_interrupt", "false", FREE},
    {"show_progress_grid", "true", FREE},
    {"infotext_styles", "\"Apply if any\"", FREE},
    {"infotext_skip_pasting", "[]", FREE},
    {"add_model_name_to_info", "true", FREE},
    {"add_model_hash_to_info", "true", FREE},
    {"add_vae_name_to_info", "true", FREE},
    {"add_vae_hash_to_info", "true", FREE},
    {"add_version_to_infotext", "true", FREE},
    {"add_user_name_to_info", "false", FREE},
    {"textual_inversion_add_hashes_to_infotext", "true", FREE},
    {"lora_add_hashes_to_infotext", "true", FREE},
    {"save_images_before_highres_fix", "false", FREE},
    {"save_incomplete_images", "false", FREE},
    {"save_init_img", "false", FREE},
    {"send_seed", "true", FREE},
    {"send_size", "true", FREE},
    {"token_merging_ratio", "0.0", FREE},
    {"token_merging_ratio_img2img", "0.0", FREE},
    {"token_merging_ratio_hr", "0.0", ONLY},
    {"sdxl_crop_top", "0", FREE},
    {"sdxl_crop_left", "0", FREE},
    {"sdxl_refiner_low_aesthetic_score", "2.5", FREE},
    {"sdxl_refiner_high_aesthetic_score", "6.0", FREE},
    {"sd3_enable_t5", "false", FREE},
};
#define OPTION_COUNT (sizeof options_table / sizeof *options_table)

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strcmp(options_table[i].name, name) == 0)
            return &options_table[i];
    return NULL;
}

const char *sdapi_options_name(int index)
{
    return index >= 0 && (size_t)index < OPTION_COUNT ? options_table[index].name : NULL;
}

struct cJSON *sdapi_options_schema(const struct settings *settings)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        cJSON *item = cJSON_AddObjectToObject(properties, options_table[i].name);
        cJSON *fallback = json_text_constant(options_table[i].fallback);
        const char *type = cJSON_IsBool(fallback)     ? "boolean"
                           : cJSON_IsNumber(fallback) ? "number"
                           : cJSON_IsArray(fallback)  ? "array"
                                                      : "string";
        if (!cJSON_IsNull(fallback))
            cJSON_AddStringToObject(item, "type", type);
        cJSON_AddItemToObject(item, "default", fallback);
    }
    return schema;
}

bool sdapi_options_known(const char *name)
{
    return find(name) != NULL;
}

static cJSON *defaults(void)
{
    cJSON *options = cJSON_CreateObject();
    for (size_t i = 0; options && i < OPTION_COUNT; i++)
        if (!cJSON_AddItemToObjectCS(options, options_table[i].name,
                                     json_text_constant(options_table[i].fallback))) {
            cJSON_Delete(options);
            options = NULL;
        }
    return options;
}

/* ---- values ---- */

static const cJSON *get(const cJSON *options, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(options, name);
}

const char *sdapi_options_text(const struct cJSON *options, const char *name)
{
    const char *text = cJSON_GetStringValue(get(options, name));
    return text ? text : "";
}

double sdapi_options_number(const struct cJSON *options, const char *name)
{
    const cJSON *value = get(options, name);
    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

bool sdapi_options_flag(const struct cJSON *options, const char *name)
{
    return cJSON_IsTrue(get(options, name));
}

static bool is_none(const char *text)
{
    return !*text || strcmp(text, "None") == 0;
}

static bool is_list_of_texts(const cJSON *value)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, value)
        if (!cJSON_IsString(item))
            return false;
    return cJSON_IsArray(value);
}

/* The value in the option's own type, owned; NULL when it cannot be. Clients send whole numbers as
 * floats, and text for anything. */
static cJSON *coerce(const struct option *option, const cJSON *value)
{
    cJSON *fallback = json_text_constant(option->fallback);
    if (cJSON_IsArray(fallback)) {
        cJSON_Delete(fallback);
        return is_list_of_texts(value) ? cJSON_Duplicate(value, true) : NULL;
    }
    struct json_field field = {.name = "value", .type = JSON_FIELD_STRING};
    if (cJSON_IsBool(fallback))
        field.type = JSON_FIELD_BOOL;
    else if (cJSON_IsNumber(fallback))
        field.type = strchr(option->fallback, '.') ? JSON_FIELD_DOUBLE : JSON_FIELD_INT;
    bool nullable = cJSON_IsNull(fallback);
    cJSON_Delete(fallback);

    union {
        const char *text;
        int whole;
        double number;
        bool flag;
    } out;
    struct json_problem problem;
    cJSON *object = cJSON_CreateObject(), *typed = NULL;
    cJSON_AddItemToObject(object, "value", cJSON_Duplicate(value, true));
    if (!json_fields_parse(&field, 1, object, JSON_FIELDS_COERCE, &out, &problem))
        goto done;
    if (field.type == JSON_FIELD_BOOL)
        typed = cJSON_CreateBool(out.flag);
    else if (field.type == JSON_FIELD_INT)
        typed = cJSON_CreateNumber(out.whole);
    else if (field.type == JSON_FIELD_DOUBLE)
        typed = cJSON_CreateNumber(out.number);
    else
        typed = nullable && is_none(out.text) ? cJSON_CreateNull() : cJSON_CreateString(out.text);
done:
    cJSON_Delete(object);
    return typed;
}

static bool is_default(const struct option *option, const cJSON *value)
{
    cJSON *fallback = json_text_constant(option->fallback);
    bool same = cJSON_Compare(value, fallback, true) ||
                (cJSON_IsString(value) && cJSON_IsString(fallback) && is_none(value->valuestring) &&
                 is_none(fallback->valuestring));
    cJSON_Delete(fallback);
    return same;
}

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(*words, text) == 0)
            return true;
    return false;
}

static bool check(const struct option *option, const cJSON *value, struct err *err)
{
    static const char *const formats[] = {"png", "jpg", "jpeg", "webp", NULL};
    static const char *const sources[] = {"GPU", "NV", "CPU", NULL};
    static const char *const emphases[] = {"Original", "No norm", "Ignore", "None", NULL};
    static const struct {
        const char *name;
        double most;
    } ranges[] = {
        {"s_min_uncond", 1000},
        {"token_merging_ratio", 0.9},
        {"token_merging_ratio_img2img", 0.9},
        {"comma_padding_backtrack", 74},
        {"initial_noise_multiplier", 1.5},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (strcmp(option->name, ranges[i].name) == 0 &&
            !(value->valuedouble >= 0 && value->valuedouble <= ranges[i].most))
            return err_set(err, ERR_INVALID, "option %s must be 0..%g, got %g", option->name,
                           ranges[i].most, value->valuedouble);
    if (option->rule == ONLY && !is_default(option, value))
        return err_set(err, ERR_UNSUPPORTED, "option %s can only be %s here", option->name,
                       option->fallback);
    if (strcmp(option->name, "samples_format") == 0 && !is_word(value->valuestring, formats))
        return err_set(err, ERR_INVALID, "Invalid image format");
    if (strcmp(option->name, "randn_source") == 0 && !is_word(value->valuestring, sources))
        return err_set(err, ERR_INVALID,
                       "option randn_source must be GPU, NV or CPU, got \"%.40s\"",
                       value->valuestring);
    if (strcmp(option->name, "emphasis") == 0 && !is_word(value->valuestring, emphases))
        return err_set(err, ERR_INVALID,
                       "option emphasis must be Original, No norm, Ignore or None, got \"%.40s\"",
                       value->valuestring);
    return true;
}

bool sdapi_options_apply(const struct app *app, struct cJSON *options, const struct cJSON *changes,
                         const char **name, struct err *err)
{
    const cJSON *change;
    cJSON_ArrayForEach(change, changes) {
        const struct option *option = find(change->string);
        if (!option || option->rule == READ || cJSON_IsNull(change))
            continue;
        if (name)
            *name = option->name;
        cJSON *value = coerce(option, change);
        if (!value)
            return err_set(err, ERR_INVALID, "option %s must be of the type of %s", option->name,
                           option->fallback);
        if (strcmp(option->name, "sd_model_checkpoint") == 0) {
            struct sdapi_model model;
            bool known =
                cJSON_IsString(value) && sdapi_models_find(app, value->valuestring, &model);
            cJSON_Delete(value);
            if (!known)
                continue;
            value = cJSON_CreateString(model.name);
        }
        if (!check(option, value, err)) {
            cJSON_Delete(value);
            return false;
        }
        if (!cJSON_ReplaceItemInObjectCaseSensitive(options, option->name, value)) {
            cJSON_Delete(value);
            return err_set(err, ERR_INTERNAL, "no memory for options");
        }
    }
    if (name)
        *name = NULL;
    return true;
}

/* ---- the store ---- */

#define OPTION_NAME_SIZE (sizeof "sdapi:" + JOB_ID_SIZE)

static void store_name(char name[OPTION_NAME_SIZE], const char *key_id)
{
    snprintf(name, OPTION_NAME_SIZE, "sdapi:%s", key_id);
}

struct cJSON *sdapi_options_load(const struct app *app, const char *key_id, struct err *err)
{
    char name[OPTION_NAME_SIZE], *text;
    store_name(name, key_id);
    if (!store_option_get(app->store, name, &text, err))
        return NULL;
    cJSON *options = defaults();
    if (!options)
        err_set(err, ERR_INTERNAL, "no memory for options");
    if (options && text) {
        struct err why;
        cJSON *saved = json_text_parse(text, strlen(text), 4, &why);
        /* What an older or newer version saved may not be valid here; the defaults then stand. */
        if (!cJSON_IsObject(saved) || !sdapi_options_apply(app, options, saved, NULL, &why))
            log_event(LOG_WARN, "sdapi_options_damaged", "name=%s", name);
        cJSON_Delete(saved);
    }
    free(text);
    return options;
}

bool sdapi_options_save(const struct app *app, const char *key_id, const struct cJSON *options,
                        struct err *err)
{
    cJSON *changed = cJSON_CreateObject();
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const cJSON *value = get(options, options_table[i].name);
        if (value && options_table[i].rule != READ && !is_default(&options_table[i], value))
            cJSON_AddItemToObjectCS(changed, options_table[i].name, cJSON_Duplicate(value, true));
    }
    char *text = json_text_print(changed);
    cJSON_Delete(changed);
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for options");
    char name[OPTION_NAME_SIZE];
    store_name(name, key_id);
    bool ok = store_option_set(app->store, name, text, err);
    cJSON_free(text);
    return ok;
}

/* ---- handlers ---- */

void sdapi_options_get(struct http_request *req)
{
    const struct app *app = http_app(req);
    struct err err;
    cJSON *options = sdapi_options_load(app, http_key_id(req), &err);
    if (!options) {
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    struct sdapi_model model;
    if (sdapi_models_find(app, sdapi_options_text(options, "sd_model_checkpoint"), &model)) {
        cJSON_ReplaceItemInObjectCaseSensitive(options, "sd_model_checkpoint",
                                               cJSON_CreateString(model.title));
        cJSON_ReplaceItemInObjectCaseSensitive(options, "sd_checkpoint_hash",
                                               cJSON_CreateString(model.sha256));
    }
    sdapi_reply_json(req, options);
}

/* Clients tell a wrong checkpoint by this error of the WebUI's. */
static bool checkpoint_is_known(struct http_request *req, const cJSON *changes)
{
    const char *wanted = cJSON_GetStringValue(get(changes, "sd_model_checkpoint"));
    if (!wanted || is_none(wanted))
        return true;
    struct sdapi_model model;
    if (sdapi_models_find(http_app(req), wanted, &model))
        return true;
    char message[256];
    snprintf(message, sizeof message, "model '%.200s' not found", wanted);
    sdapi_reply_crash(req, "RuntimeError", message);
    return false;
}

void sdapi_options_set(struct http_request *req)
{
    const struct app *app = http_app(req);
    cJSON *options = NULL, *changes = sdapi_reply_body(req);
    if (!changes)
        return;
    struct err err;
    const char *name = NULL;
    if (checkpoint_is_known(req, changes)) {
        options = sdapi_options_load(app, http_key_id(req), &err);
        if (options && sdapi_options_apply(app, options, changes, &name, &err) &&
            sdapi_options_save(app, http_key_id(req), options, &err))
            sdapi_reply_null(req);
        else
            sdapi_reply_err(req, &err, name);
    }
    cJSON_Delete(options);
    cJSON_Delete(changes);
}
