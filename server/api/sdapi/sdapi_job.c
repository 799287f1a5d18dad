/* sdapi_job.c: the WebUI's fields into those of a job; refuses what would paint something else. */
#include "server/api/sdapi/sdapi_job.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_script.h"
#include "server/job/comments.h"
#include "server/job/lora_tags.h"
#include "server/base/settings.h"
#include "server/job/intake.h"
#include "server/job/styles.h"

static bool refuse(struct sdapi_fault *fault, int status, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool refuse(struct sdapi_fault *fault, int status, const char *param, const char *fmt, ...)
{
    *fault = (struct sdapi_fault){.status = status, .param = param};
    va_list args;
    va_start(args, fmt);
    vsnprintf(fault->message, sizeof fault->message, fmt, args);
    va_end(args);
    return false;
}

static bool no_memory(struct sdapi_fault *fault)
{
    refuse(fault, 500, NULL, "out of memory");
    fault->crash = "MemoryError";
    return false;
}

static bool has(const char *text)
{
    return text && *text;
}

/* ---- prompts ---- */

/* How the options want prompts to be read. */
static void make_reading(const cJSON *options, struct job_params *p)
{
    const struct job_field *emphasis = job_field_find(&job_table, "emphasis");
    const char *word = sdapi_options_text(options, "emphasis");
    for (int i = 0; emphasis->labels[i]; i++)
        if (strcmp(emphasis->labels[i], word) == 0)
            p->emphasis = i;
    p->comma_backtrack = (int)sdapi_options_number(options, "comma_padding_backtrack");
    p->old_editing = sdapi_options_flag(options, "use_old_scheduling");
}

/* Those that there are; sdapi_ignored names the others. */
static bool add_styles(const cJSON *names, const struct settings *settings, struct job_params *p,
                       struct sdapi_fault *fault)
{
    struct styles styles;
    struct err err;
    const cJSON *name;
    bool ok = true;
    if (cJSON_GetArraySize(names) == 0)
        return true;
    if (cJSON_GetArraySize(names) > STYLES_MOST)
        return refuse(fault, 422, "styles", "wanted at most %d styles, got %d", STYLES_MOST,
                      cJSON_GetArraySize(names));
    if (!styles_read(settings->styles, &styles, &err))
        return refuse(fault, err.code == ERR_INTERNAL ? 500 : 503, NULL, "%s", err.msg);
    cJSON_ArrayForEach(name, names) {
        const struct style *style = styles_find(&styles, name->valuestring);
        if (ok && style &&
            !styles_add(style, settings->max_prompt_bytes, &p->prompt, &p->negative_prompt, &err))
            ok = refuse(fault, err.code == ERR_INTERNAL ? 500 : 422, "styles", "%s", err.msg);
    }
    styles_free(&styles);
    return ok;
}

static bool strip_comments(char **prompt)
{
    char *text = comments_strip(*prompt);
    free(*prompt);
    *prompt = text;
    return text;
}

static bool make_prompts(const struct sdapi_request *r, const cJSON *options,
                         const struct settings *settings, struct job_params *p,
                         struct sdapi_fault *fault)
{
    p->prompt = strdup(r->prompt);
    p->negative_prompt = strdup(r->negative_prompt);
    if (!p->prompt || !p->negative_prompt)
        return no_memory(fault);
    if (!add_styles(r->styles, settings, p, fault))
        return false;
    if (sdapi_options_flag(options, "enable_prompt_comments") &&
        (!strip_comments(&p->prompt) || !strip_comments(&p->negative_prompt)))
        return no_memory(fault);
    make_reading(options, p);
    return true;
}

/* ---- what is refused ---- */

static bool is_false(const cJSON *value)
{
    return cJSON_IsFalse(value) || cJSON_IsNull(value) ||
           (cJSON_IsNumber(value) && value->valuedouble == 0) ||
           (cJSON_IsString(value) && strcasecmp(value->valuestring, "false") == 0);
}

/* A unit of ControlNet that is not enabled; one of ADetailer without a model, or whose tab is off.
 */
static bool is_off_unit(const cJSON *unit)
{
    const cJSON *enabled = cJSON_GetObjectItemCaseSensitive(unit, "enabled");
    const cJSON *tab = cJSON_GetObjectItemCaseSensitive(unit, "ad_tab_enable");
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(unit, "ad_model");
    return (enabled && is_false(enabled)) || (tab && is_false(tab)) ||
           (cJSON_IsString(model) &&
            (!*model->valuestring || strcasecmp(model->valuestring, "None") == 0));
}

/* Args that switch a script off: none, a first one that is false, or units that all are off beside
 * nothing but flags. */
static bool is_off(const cJSON *script)
{
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(script, "args"), *arg;
    const cJSON *first = cJSON_IsArray(args) || cJSON_IsObject(args) ? args->child : NULL;
    if (!first || cJSON_IsFalse(first) || cJSON_IsNull(first))
        return true;
    int units = 0;
    cJSON_ArrayForEach(arg, args) {
        if (cJSON_IsObject(arg) ? !is_off_unit(arg) : !cJSON_IsBool(arg) && !cJSON_IsNull(arg))
            return false;
        units += cJSON_IsObject(arg);
    }
    return units > 0;
}

static bool check_scripts(const struct sdapi_request *r, struct sdapi_fault *fault)
{
    if (sdapi_script_of(r) == SDAPI_SCRIPT_UNKNOWN)
        return refuse(fault, 422, NULL, "Script '%.100s' not found", r->script_name);
    const cJSON *script;
    cJSON_ArrayForEach(script, r->alwayson_scripts) {
        /* These two of the WebUI only draw its page. */
        bool page =
            strcasecmp(script->string, "seed") == 0 || strcasecmp(script->string, "sampler") == 0;
        bool control = strcasecmp(script->string, "controlnet") == 0; /* sdapi_control.c's */
        if (!page && !control && !is_off(script) && strcasecmp(script->string, "ADetailer") == 0)
            return refuse(fault, 422, NULL,
                          "Script 'ADetailer' not found: this server has no network that finds "
                          "faces; leave it out, or switch it off");
        if (!page && !control && !is_off(script))
            return refuse(fault, 422, NULL, "Script '%.100s' not found", script->string);
    }
    return true;
}

/* ---- sampling ---- */

/* Of these the WebUI's settings win over fields of the request that have the same names. */
static bool make_options(const cJSON *options, struct job_params *p, struct sdapi_fault *fault)
{
    p->churn = sdapi_options_number(options, "s_churn");
    p->churn_low = sdapi_options_number(options, "s_tmin");
    p->churn_high = sdapi_options_number(options, "s_tmax");
    double scale = sdapi_options_number(options, "s_noise");
    p->noise_scale = scale == 0 ? 1 : scale; /* 0 is the WebUI's "not given" */
    p->guidance_skip = sdapi_options_number(options, "skip_early_cond");
    p->discard_last = sdapi_options_flag(options, "always_discard_next_to_last_sigma");
    p->sgm_noise = sdapi_options_flag(options, "sgm_noise_multiplier");
    p->sigma_min = sdapi_options_number(options, "sigma_min");
    p->sigma_max = sdapi_options_number(options, "sigma_max");
    p->rho = sdapi_options_number(options, "rho");
    double alpha = sdapi_options_number(options, "beta_dist_alpha");
    double beta = sdapi_options_number(options, "beta_dist_beta");
    p->beta_alpha = alpha == 0 ? p->beta_alpha : alpha;
    p->beta_beta = beta == 0 ? p->beta_beta : beta;
    const char *levels = sdapi_options_text(options, "sd_noise_schedule");
    p->zero_terminal = strcmp(levels, "Zero Terminal SNR") == 0;
    return p->zero_terminal || !*levels || strcmp(levels, "Default") == 0 ||
           refuse(fault, 422, "override_settings",
                  "sd_noise_schedule must be \"Default\" or \"Zero Terminal SNR\", got "
                  "\"%.60s\"",
                  levels);
}

static bool make_sampling(const struct sdapi_request *r, const cJSON *options, struct job_params *p,
                          struct sdapi_fault *fault)
{
    const char *name = has(r->sampler_name) ? r->sampler_name : r->sampler_index;
    const struct pictor_scheduler_info *scheduler = NULL;
    const struct pictor_sampler_info *sampler = pictor_sampler_find(name, &scheduler);
    if (!sampler)
        sampler = pictor_sampler_find(SDAPI_JOB_SAMPLER, NULL);
    if (!scheduler && has(r->scheduler))
        scheduler = pictor_scheduler_find(r->scheduler);
    if (!scheduler)
        scheduler = pictor_scheduler_find("automatic");
    p->sampler = strdup(sampler->name);
    p->scheduler = strdup(scheduler->name);

    const char *option = sampler->eta_name && strcmp(sampler->eta_name, "Eta DDIM") == 0
                             ? "eta_ddim"
                             : "eta_ancestral";
    double eta = isnan(r->eta) ? sdapi_options_number(options, option) : r->eta;
    p->eta = !sampler->eta_name || eta == sampler->default_eta ? NAN : eta;
    p->steps = r->steps;
    p->guidance = r->cfg_scale;
    p->tiling = r->tiling ? sdapi_request_flag(r->tiling) : sdapi_options_flag(options, "tiling");
    if (r->seed_resize_from_w > 0 && r->seed_resize_from_h > 0) {
        p->seed_resize_width = r->seed_resize_from_w;
        p->seed_resize_height = r->seed_resize_from_h;
    }
    p->image_guidance =
        r->kind == SDAPI_IMG2IMG && !isnan(r->image_cfg_scale) ? r->image_cfg_scale : 1;
    p->rng = strcmp(sdapi_options_text(options, "randn_source"), "CPU") == 0 ? PICTOR_RNG_CPU
                                                                             : PICTOR_RNG_NV;
    double delta = sdapi_options_number(options, "eta_noise_seed_delta");
    if (!(delta >= 0 && delta <= INT_MAX))
        return refuse(fault, 422, "override_settings", "eta_noise_seed_delta must be 0..%d, got %g",
                      INT_MAX, delta);
    p->noise_seed_delta = (int)delta;
    p->mask_weight = sdapi_options_number(options, "inpainting_mask_weight");
    if (!(p->mask_weight >= 0 && p->mask_weight <= 1))
        return refuse(fault, 422, "override_settings",
                      "inpainting_mask_weight must be 0..1, got %g", p->mask_weight);
    bool overridden =
        cJSON_GetObjectItemCaseSensitive(r->override_settings, "CLIP_stop_at_last_layers");
    p->clip_skip = r->clip_skip >= 1 && !overridden
                       ? r->clip_skip
                       : (int)sdapi_options_number(options, "CLIP_stop_at_last_layers");
    return p->sampler && p->scheduler ? true : no_memory(fault);
}

/* What is 0 there is the WebUI's "not given", so the server's own settings stand (NAN). */
static void make_speed(const struct sdapi_request *r, const cJSON *options, struct job_params *p)
{
    double low =
        r->s_min_uncond > 0 ? r->s_min_uncond : sdapi_options_number(options, "s_min_uncond");
    double merging = sdapi_options_number(options, "token_merging_ratio_img2img");
    if (r->kind != SDAPI_IMG2IMG || !(merging > 0))
        merging = sdapi_options_number(options, "token_merging_ratio");
    p->guidance_low = low > 0 ? low : NAN;
    p->guidance_alternate = low > 0 && !sdapi_options_flag(options, "s_min_uncond_all");
    p->token_merging = merging > 0 ? merging : NAN;
}

/* Of which registry's models it names is looked up later (sdapi_generate.c). Without a share it is
 * the one that the WebUI's page shows. */
static bool make_refiner(const struct sdapi_request *r, const cJSON *options, struct job_params *p,
                         struct sdapi_fault *fault)
{
    const char *pass = sdapi_options_text(options, "hires_fix_refiner_pass");
    if (!has(r->refiner_checkpoint) || strcasecmp(r->refiner_checkpoint, "None") == 0)
        return true;
    if (!isnan(r->refiner_switch_at))
        p->refiner_at = r->refiner_switch_at;
    p->refiner_by_steps = sdapi_options_flag(options, "refiner_switch_by_sample_steps");
    if (strcmp(pass, "first pass") == 0)
        p->refiner_pass = PICTOR_REFINE_FIRST;
    else if (strcmp(pass, "both passes") == 0)
        p->refiner_pass = PICTOR_REFINE_BOTH;
    else if (*pass && strcmp(pass, "second pass") != 0)
        return refuse(fault, 422, "override_settings",
                      "hires_fix_refiner_pass must be \"first pass\", \"second pass\" or \"both "
                      "passes\", got \"%.60s\"",
                      pass);
    return (p->refiner = strdup(r->refiner_checkpoint)) || no_memory(fault);
}

static bool make_seed(struct json_whole wanted, uint64_t *out, struct sdapi_fault *fault)
{
    struct err err;
    *out = wanted.magnitude;
    return !wanted.negative || intake_seed(out, &err) || refuse(fault, 500, NULL, "%s", err.msg);
}

static bool make_count(const struct sdapi_request *r, struct job_params *p,
                       struct sdapi_fault *fault)
{
    if (r->batch_size < 1 || r->n_iter < 1)
        return refuse(fault, 422, r->batch_size < 1 ? "batch_size" : "n_iter",
                      "batch_size and n_iter must be at least 1, got %d and %d", r->batch_size,
                      r->n_iter);
    long long count = (long long)r->batch_size * r->n_iter;
    p->count = count < INT_MAX ? (int)count : INT_MAX;
    return make_seed(r->seed, &p->seed, fault) && make_seed(r->subseed, &p->subseed, fault);
}

/* Latents are an eighth of the picture: what is over is cut off, as the WebUI does. */
static int eighths(int side)
{
    return side - side % 8;
}

/* ---- txt2img ---- */

static bool is_same(const char *name, const char *same)
{
    return !has(name) || strcasecmp(name, same) == 0;
}

static bool copy(char **to, const char *text, struct sdapi_fault *fault)
{
    return (*to = strdup(text)) ? true : no_memory(fault);
}

/* Names and prompts of the second pass, where they are not those of the first. */
static bool make_hires_own(const struct sdapi_request *r, const cJSON *options,
                           const struct settings *settings, struct job_params *p,
                           struct sdapi_fault *fault)
{
    if (!is_same(r->hr_checkpoint_name, "Use same checkpoint") &&
        !copy(&p->hires_model, r->hr_checkpoint_name, fault))
        return false;
    const struct pictor_scheduler_info *scheduler = NULL;
    if (!is_same(r->hr_sampler_name, "Use same sampler")) {
        const struct pictor_sampler_info *sampler =
            pictor_sampler_find(r->hr_sampler_name, &scheduler);
        if (!sampler)
            sampler = pictor_sampler_find(SDAPI_JOB_SAMPLER, NULL);
        if (strcmp(sampler->name, p->sampler) != 0 &&
            !copy(&p->hires_sampler, sampler->name, fault))
            return false;
    }
    if (!scheduler && !is_same(r->hr_scheduler, "Use same scheduler") &&
        !(scheduler = pictor_scheduler_find(r->hr_scheduler)))
        scheduler = pictor_scheduler_find("automatic");
    if (scheduler && strcmp(scheduler->name, p->scheduler) != 0 &&
        !copy(&p->hires_scheduler, scheduler->name, fault))
        return false;

    struct sdapi_request second = *r;
    struct job_params words = {0};
    second.prompt = has(r->hr_prompt) ? r->hr_prompt : r->prompt;
    second.negative_prompt =
        has(r->hr_negative_prompt) ? r->hr_negative_prompt : r->negative_prompt;
    bool good = make_prompts(&second, options, settings, &words, fault);
    if (!good && fault->param && strcmp(fault->param, "styles") != 0)
        fault->param = strcmp(fault->param, "prompt") == 0 ? "hr_prompt" : "hr_negative_prompt";
    if (good && strcmp(words.prompt, p->prompt) != 0) {
        p->hires_prompt = words.prompt;
        words.prompt = NULL;
    }
    if (good && strcmp(words.negative_prompt, p->negative_prompt) != 0) {
        p->hires_negative_prompt = words.negative_prompt;
        words.negative_prompt = NULL;
    }
    free(words.prompt);
    free(words.negative_prompt);
    return good;
}

static bool make_upscaler(const char *name, struct job_params *p, struct sdapi_fault *fault)
{
    /* "None" is a plain resize, and the WebUI's is Lanczos. */
    const char *wanted = !name ? "Latent" : strcasecmp(name, "None") == 0 ? "Lanczos" : name;
    if (*wanted)
        return (p->hires_upscaler = strdup(wanted)) || no_memory(fault);
    refuse(fault, 500, NULL, "could not find upscaler named ");
    fault->crash = "Exception";
    return false;
}

static int side_of(double value)
{
    return (int)fmax(0, fmin(value, INT_MAX));
}

/* The target's side when the other one is given: keeps the ratio. */
static int proportional(int given, int side, int other)
{
    return other > 0 ? side_of((double)((long long)given * side / other)) : 0;
}

static bool make_hires(const struct sdapi_request *r, const cJSON *options,
                       const struct settings *settings, struct job_params *p,
                       struct sdapi_fault *fault)
{
    if (!r->enable_hr)
        return true;
    if (!make_hires_own(r, options, settings, p, fault) || !make_upscaler(r->hr_upscaler, p, fault))
        return false;
    int x = r->hr_resize_x, y = r->hr_resize_y, width = r->width, height = r->height;
    if (r->firstphase_width || r->firstphase_height) {
        x = width;
        y = height;
        width = r->firstphase_width;
        height = r->firstphase_height;
    } else if (!x && !y) {
        if (!(r->hr_scale > 0 && r->hr_scale <= 64))
            return refuse(fault, 422, "hr_scale", "hr_scale must be 0..64, got %g", r->hr_scale);
        x = side_of(width * r->hr_scale);
        y = side_of(height * r->hr_scale);
    } else if (x && y) {
        p->hires_crop = (long long)x * height != (long long)y * width;
    } else if (!y) {
        y = proportional(x, height, width);
    } else if (!x) {
        x = proportional(y, width, height);
    }
    p->width = eighths(width);
    p->height = eighths(height);
    p->hires_width = eighths(x);
    p->hires_height = eighths(y);
    if (p->hires_width <= 0 || p->hires_height <= 0)
        return refuse(fault, 422, "hr_resize_x", "the hires size must be positive, got %dx%d", x,
                      y);
    p->hires_steps = r->hr_second_pass_steps ? r->hr_second_pass_steps : r->hr_steps;
    p->hires_strength = isnan(r->denoising_strength) ? 0.7 : r->denoising_strength;
    return true;
}

/* ---- img2img ---- */

static bool make_painting_over(const struct sdapi_request *r, const cJSON *options,
                               struct job_params *p, struct sdapi_fault *fault)
{
    int count = cJSON_GetArraySize(r->init_images);
    if (!r->init_images)
        return refuse(fault, 404, NULL, "Init image not found");
    if (count == 0)
        return refuse(fault, 422, "init_images", "init_images must hold a picture");
    if (count > r->batch_size && count > 1) {
        refuse(fault, 500, NULL, "bad number of images passed: %d; expecting %d or less", count,
               r->batch_size);
        fault->crash = "RuntimeError";
        return false;
    }
    if (count > 1) /* then there are as many as pictures to begin from */
        p->count = r->n_iter < INT_MAX / count ? count * r->n_iter : INT_MAX;
    if (r->resize_mode < PICTOR_FIT_STRETCH || r->resize_mode > PICTOR_FIT_LATENT)
        return refuse(fault, 422, "resize_mode", "resize_mode must be 0..3, got %d",
                      r->resize_mode);
    p->noise_multiplier = isnan(r->initial_noise_multiplier)
                              ? sdapi_options_number(options, "initial_noise_multiplier")
                              : r->initial_noise_multiplier;
    p->colour_correction = sdapi_options_flag(options, "img2img_color_correction");
    p->has_init = true;
    p->fit = r->resize_mode;
    p->strength = r->denoising_strength;
    if (!has(r->mask))
        return true;

    p->has_mask = true;
    p->mask_soft = !r->mask_round;
    p->mask_blur = r->mask_blur == JSON_FIELD_NO_INT ? r->mask_blur_x : r->mask_blur;
    if (r->mask_blur == JSON_FIELD_NO_INT && r->mask_blur_x != r->mask_blur_y)
        p->mask_blur_y = r->mask_blur_y;
    p->mask_invert = r->inpainting_mask_invert != 0;
    p->mask_only_area = r->inpaint_full_res;
    p->mask_padding = r->inpaint_full_res_padding;
    if (r->inpainting_fill < PICTOR_FILL_BLUR || r->inpainting_fill > PICTOR_FILL_NOTHING)
        return refuse(fault, 422, "inpainting_fill", "inpainting_fill must be 0..3, got %d",
                      r->inpainting_fill);
    p->fill = r->inpainting_fill;
    return true;
}

/* ---- all of it ---- */

static bool make_output(const struct sdapi_request *r, const cJSON *options, const char *model,
                        struct job_params *p, struct sdapi_fault *fault)
{
    const char *format = sdapi_options_text(options, "samples_format");
    p->format = image_format_of(strcmp(format, "jpg") == 0 ? "jpeg" : format);
    p->quality = (int)sdapi_options_number(options, "jpeg_quality");
    if (sdapi_options_flag(options, "live_previews_enable"))
        p->preview_every = (int)sdapi_options_number(options, "show_progress_every_n_steps");
    if (p->preview_every < 0)
        p->preview_every = 0;
    p->dialect = strdup("sdapi");
    p->model = strdup(model);
    const char *vae = sdapi_options_text(options, "sd_vae");
    p->vae = has(vae) ? strdup(vae) : NULL;
    p->tag = has(r->force_task_id) ? strdup(r->force_task_id) : NULL;
    bool complete =
        p->dialect && p->model && (p->vae || !has(vae)) && (!has(r->force_task_id) || p->tag);
    return complete ? true : no_memory(fault);
}

/* The field of a request that a job's field comes from. */
static const char *request_name(const struct sdapi_request *r, const char *param)
{
    static const char *const names[][2] = {
        {"guidance", "cfg_scale"},
        {"image_guidance", "image_cfg_scale"},
        {"mask_weight", "override_settings"},
        {"count", "batch_size"},
        {"strength", "denoising_strength"},
        {"noise_multiplier", "initial_noise_multiplier"},
        {"mask_blur_y", "mask_blur_y"},
        {"hires_strength", "denoising_strength"},
        {"hires_width", "hr_resize_x"},
        {"hires_height", "hr_resize_y"},
        {"hires_steps", "hr_second_pass_steps"},
        {"hires_upscaler", "hr_upscaler"},
        {"hires_prompt", "hr_prompt"},
        {"hires_negative_prompt", "hr_negative_prompt"},
        {"hires_model", "hr_checkpoint_name"},
        {"refiner", "refiner_checkpoint"},
        {"refiner_at", "refiner_switch_at"},
        {"refiner_by_steps", "override_settings"},
        {"refiner_pass", "override_settings"},
        {"tag", "force_task_id"},
        {"fit", "resize_mode"},
        {"fill", "inpainting_fill"},
        {"mask_padding", "inpaint_full_res_padding"},
        {"clip_skip", "override_settings"},
        {"quality", "override_settings"},
        {"preview_every", "override_settings"},
        {"sampler", "sampler_name"},
        {"seed_resize_width", "seed_resize_from_w"},
        {"seed_resize_height", "seed_resize_from_h"},
        {"guidance_low", "s_min_uncond"},
        {"churn", "override_settings"},
        {"churn_low", "override_settings"},
        {"churn_high", "override_settings"},
        {"noise_scale", "override_settings"},
        {"sigma_min", "override_settings"},
        {"sigma_max", "override_settings"},
        {"rho", "override_settings"},
        {"beta_alpha", "override_settings"},
        {"beta_beta", "override_settings"},
        {"guidance_skip", "override_settings"},
        {"token_merging", "override_settings"},
    };
    for (size_t i = 0; param && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], param) == 0)
            return names[i][1];
    return param;
}

bool sdapi_job_make(const struct sdapi_request *r, const struct cJSON *options, const char *model,
                    const struct settings *settings, struct job_params *out,
                    struct sdapi_fault *fault)
{
    job_params_init(out);
    out->width = eighths(r->width);
    out->height = eighths(r->height);
    out->subseed_strength = r->subseed_strength;
    make_speed(r, options, out);
    const char *param = NULL;
    struct err err = {0};
    if (!check_scripts(r, fault) || !make_output(r, options, model, out, fault) ||
        !make_prompts(r, options, settings, out, fault) || !make_sampling(r, options, out, fault) ||
        !make_options(options, out, fault) || !make_refiner(r, options, out, fault) ||
        !make_count(r, out, fault))
        goto fail;
    if (r->kind == SDAPI_TXT2IMG ? !make_hires(r, options, settings, out, fault)
                                 : !make_painting_over(r, options, out, fault))
        goto fail;
    if (!job_params_check(out, settings, &param, &err)) {
        refuse(fault, err.code == ERR_INTERNAL ? 500 : 422, request_name(r, param), "%s", err.msg);
        goto fail;
    }
    return true;
fail:
    job_params_free(out);
    return false;
}
