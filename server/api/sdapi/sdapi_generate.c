/* sdapi_generate.c: what the answer needs of the request is made before the job is submitted and
 * waits beside the suspended connection; the parsed body is let go. */
#include "server/api/sdapi/sdapi_generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "server/api/sdapi/sdapi_control.h"
#include "server/api/sdapi/sdapi_ignored.h"
#include "server/api/sdapi/sdapi_job.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/sdapi/sdapi_outpaint.h"
#include "server/api/sdapi/sdapi_picture.h"
#include "server/api/sdapi/sdapi_reply.h"
#include "server/api/sdapi/sdapi_script.h"
#include "server/api/sdapi/sdapi_series.h"
#include "server/api/sdapi/sdapi_tiles.h"
#include "server/api/sdapi/sdapi_request.h"
#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/linked.h"
#include "server/api/extended.h"
#include "server/http/http.h"
#include "server/job/controls.h"
#include "server/job/companions.h"
#include "server/job/intake.h"
#include "server/job/job_tags.h"
#include "server/job/lora_list.h"
#include "server/job/lora_tags.h"
#include "server/job/relay.h"
#include "server/job/vaes.h"
#include "server/job/variants.h"

/* ---- the request ---- */

/* Reads one picture, or replies and returns false. */
static bool read_file(struct http_request *req, const char *text, struct sdapi_file *out)
{
    if (!sdapi_picture_read(req, text, &out->data, &out->size))
        return false;
    if (sdapi_picture_check(req, out->data, out->size))
        return true;
    free(out->data);
    *out = (struct sdapi_file){0};
    return false;
}

static void reply_fault(struct http_request *req, const struct sdapi_fault *fault)
{
    if (fault->crash)
        sdapi_reply_crash(req, fault->crash, fault->message);
    else if (fault->param && fault->status == 422)
        sdapi_reply_unprocessable(req,
                                  sdapi_reply_fault(fault->param, fault->message, "value_error"));
    else
        sdapi_reply_exception(req, fault->status, fault->message);
}

/* The options as this request has them; owned. NULL: replied. */
static cJSON *effective_options(struct http_request *req, const struct sdapi_request *r)
{
    const struct app *app = http_app(req);
    struct err err;
    const char *name = NULL;
    cJSON *options = sdapi_options_load(app, http_key_id(req), &err);
    if (options && (!r->override_settings ||
                    sdapi_options_apply(app, options, r->override_settings, &name, &err)))
        return options;
    cJSON_Delete(options);
    sdapi_reply_err(req, &err, name ? "override_settings" : NULL);
    return NULL;
}

/* In the place of the request's picture a larger one and a mask, where its script extends it;
 * false: replied. */
static bool outpaint(struct http_request *req, const struct sdapi_request *r,
                     struct job_params *params, struct extended *out)
{
    struct image_margins margins;
    struct sdapi_fault fault;
    struct err err;
    void *data;
    size_t size;
    if (!sdapi_outpaint_is(r))
        return true;
    if (!sdapi_outpaint_read(r, params, &margins, &fault)) {
        reply_fault(req, &fault);
        return false;
    }
    const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(r->init_images, 0));
    if (!sdapi_picture_read(req, text, &data, &size))
        return false;
    bool made = sdapi_picture_check(req, data, size);
    if (made && !(made = extended_make(http_app(req), data, size, margins, SDAPI_OUTPAINT_MULTIPLE,
                                       params, out, &err)))
        sdapi_reply_err(req, &err, "script_args");
    free(data);
    return made;
}

/* An upstream has none of our LoRAs: it gets the prompt's words alone. */
static bool drop_tags(struct job_params *p, struct err *err)
{
    struct lora_tags tags;
    char *words = lora_tags_take(p->prompt, &tags, err);
    if (!words)
        return false;
    free(p->prompt);
    p->prompt = words;
    return true;
}

/* Beside the tags of the prompt, as other servers that speak this API take them. */
static bool add_loras(const struct app *app, const struct sdapi_request *r, bool upstream,
                      struct job_params *p, const char **param, struct err *err)
{
    struct files *files = registry_files(app->registry, FOLDERS_LORA);
    const cJSON *list = cJSON_GetArraySize(r->loras) ? r->loras : r->lora;
    *param = list == r->loras ? "loras" : "lora";
    if (cJSON_GetArraySize(r->loras) && cJSON_GetArraySize(r->lora))
        return err_set(err, ERR_INVALID, "wanted one of lora and loras, got both");
    if (upstream && cJSON_GetArraySize(list))
        return err_set(err, ERR_INVALID, "loras: models of other servers take none");
    if (!lora_list_add(list, files, &p->prompt, err))
        return false;
    *param = NULL;
    return true;
}

/* What the option sd_vae comes to: a file's name, the checkpoint's own, or automatic, where there
 * is no such file (sdapi_ignored names it). */
static bool settle_vae(const struct app *app, const struct intake_model *model,
                       struct job_params *p, struct err *err)
{
    struct vaes_choice choice = {.name = ""};
    bool known = model->upstream || vaes_choose(registry_files(app->registry, FOLDERS_VAE),
                                                model->name, p->vae, &choice, err);
    if (!known && err->code != ERR_NOT_FOUND)
        return false;
    if (known && !model->upstream && !*choice.name && p->vae && strcasecmp(p->vae, "none") == 0)
        return true;
    free(p->vae);
    p->vae = *choice.name ? strdup(choice.name) : NULL;
    return true;
}

/* A checkpoint under any of the names that the WebUI's API has for it, as the registry's. */
static bool settle_checkpoint(const struct app *app, char **name, struct err *err)
{
    struct sdapi_model *model = *name ? malloc(sizeof *model) : NULL;
    if (!*name)
        return true;
    if (!model)
        return err_set(err, ERR_INTERNAL, "no memory for a checkpoint");
    bool found = sdapi_models_find(app, *name, model);
    if (!found)
        err_set(err, ERR_NOT_FOUND, "Could not find checkpoint with name %.150s", *name);
    char *settled = found ? strdup(model->name) : NULL;
    free(model);
    if (!settled)
        return found ? err_set(err, ERR_INTERNAL, "no memory for a checkpoint") : false;
    free(*name);
    *name = settled;
    return true;
}

/* Out of which the prompt was composed (server/api/composing.h), before this was read. */
static bool take_idea(const struct sdapi_request *r, struct job_params *p, struct err *err)
{
    if (r->compose)
        return err_set(err, ERR_INVALID, "compose: wanted a prompt in txt2img or img2img");
    if (!r->composed_from || !*r->composed_from)
        return true;
    free(p->composed_from);
    p->composed_from = strdup(r->composed_from);
    return p->composed_from || err_set(err, ERR_INTERNAL, "no memory for a job");
}

/* To a network that is told its guidance, the WebUI's CFG says nothing, whose 7 would spoil its
 * pictures: that it is told is Forge's distilled_cfg_scale, or the model's own. */
static bool settle_guidance(const struct intake_model *model, const struct sdapi_request *r,
                            struct job_params *p, const char **param, struct err *err)
{
    char why[120];
    double told = isnan(r->distilled_cfg_scale) ? model->guidance : r->distilled_cfg_scale;
    if (model->upstream || model->guide != PICTOR_GUIDE_TOLD)
        return intake_settle(model, p, err);
    if (!(told >= 0 && told <= 100)) {
        *param = "distilled_cfg_scale";
        return err_set(err, ERR_INVALID, "distilled_cfg_scale must be 0..100, got %g", told);
    }
    p->guidance = told;
    snprintf(why, sizeof why, "this model is told its guidance: distilled_cfg_scale, %g", told);
    return intake_settle(model, p, err) &&
           (r->cfg_scale == 1 || intake_note(p, "guidance", why, err));
}

/* What the WebUI's API calls a job's field. */
static const char *name_of(const char *param)
{
    static const char *const names[][2] = {{"sampler", "sampler_name"},
                                           {"hires_sampler", "hr_sampler_name"},
                                           {"hires_prompt", "hr_prompt"},
                                           {"hires_negative_prompt", "hr_negative_prompt"}};
    for (size_t i = 0; param && i < sizeof names / sizeof *names; i++)
        if (strcmp(param, names[i][0]) == 0)
            return names[i][1];
    return param;
}

/* Before it is queued; replies when the model could not read them. */
static bool check_prompts(struct http_request *req, const struct sdapi_request *r,
                          struct job_params *params)
{
    struct intake_model model;
    const char *param = NULL;
    struct err err, unknown = {.code = ERR_NONE};
    struct registry *registry = http_app(req)->registry;
    if (intake_model(registry, params->model, &model, &err) &&
        add_loras(http_app(req), r, model.upstream, params, &param, &err) &&
        variants_make(http_app(req)->settings, model.upstream, params, &param, &err) &&
        intake_prompts(&model, params, &param, &err) &&
        settle_guidance(&model, r, params, &param, &err) &&
        settle_vae(http_app(req), &model, params, &err) &&
        take_idea(r, params, &err) &&
        (!r->relay || relay_given(r->relay, model.upstream, &params->relay, &err)) &&
        sdapi_control_make(http_app(req), r, model.upstream, params, &err) &&
        intake_files(registry, &model, params, &param, &err) &&
        settle_checkpoint(http_app(req), &params->refiner, &unknown) &&
        settle_checkpoint(http_app(req), &params->hires_model, &unknown) &&
        companions_check(registry, &model, params, &param, &err) &&
        (!model.upstream || drop_tags(params, &err))) {
        if (model.upstream)
            params->mask_weight = JOB_NO_REAL;
        else
            intake_over(&model, params);
        if (sdapi_ignored_note(&model, r, params, &err))
            return true;
    }
    if (unknown.code == ERR_NOT_FOUND) {
        sdapi_reply_crash(req, "Exception", unknown.msg);
        return false;
    }
    if (unknown.code != ERR_NONE)
        err = unknown;
    if (err.code == ERR_INVALID && param && strcmp(param, "hires_upscaler") == 0) {
        char message[160];
        snprintf(message, sizeof message, "could not find upscaler named %.100s",
                 params->hires_upscaler);
        sdapi_reply_crash(req, "Exception", message);
        return false;
    }
    param = name_of(param);
    if (param && strcmp(param, companions_field(COMPANIONS_REFINER)) == 0)
        param = "refiner_checkpoint";
    if (param && strcmp(param, companions_field(COMPANIONS_HIRES)) == 0)
        param = "hr_checkpoint_name";
    sdapi_reply_err(req, &err, param);
    return false;
}

/* A request that has been checked, and what it comes to. */
struct prepared {
    struct sdapi_request r; /* borrows from its body */
    cJSON *options;
    struct sdapi_model model;
    struct job_params params;
};

/* False: replied, and nothing is held. */
static bool prepare(struct http_request *req, enum sdapi_request_kind kind, cJSON *body,
                    struct prepared *out)
{
    const struct app *app = http_app(req);
    struct sdapi_fault fault;
    cJSON *detail;
    *out = (struct prepared){.options = NULL};
    if (!sdapi_request_parse(kind, body, &out->r, &detail)) {
        sdapi_reply_unprocessable(req, detail);
        return false;
    }
    if (!(out->options = effective_options(req, &out->r)))
        return false;
    const char *wanted = sdapi_options_text(out->options, "sd_model_checkpoint");
    /* A checkpoint that was chosen and then removed: the default paints. */
    if (!sdapi_models_find(app, wanted, &out->model) && !sdapi_models_find(app, "", &out->model))
        sdapi_reply_crash(req, "RuntimeError", "no checkpoint");
    else if (!sdapi_job_make(&out->r, out->options, out->model.name, app->settings, &out->params,
                             &fault))
        reply_fault(req, &fault);
    else if (check_prompts(req, &out->r, &out->params))
        return true;
    else
        job_params_free(&out->params);
    cJSON_Delete(out->options);
    return false;
}

static void prepared_free(struct prepared *p)
{
    job_params_free(&p->params);
    cJSON_Delete(p->options);
}

/* All pictures of the request. False: replied. */
static bool read_pictures(struct http_request *req, const struct prepared *p,
                          struct extended *larger, struct sdapi_series *s)
{
    const struct sdapi_request *r = &p->r;
    const char *leading[CONTROLS_INPUTS];
    int count = cJSON_GetArraySize(r->init_images);
    if (larger->init) {
        s->inits[0] = (struct sdapi_file){larger->init, larger->init_size};
        s->mask = (struct sdapi_file){larger->mask, larger->mask_size};
        *larger = (struct extended){0};
    } else {
        for (int i = 0; p->params.has_init && i < count; i++)
            if (!read_file(req, cJSON_GetStringValue(cJSON_GetArrayItem(r->init_images, i)),
                           &s->inits[i]))
                return false;
        if (p->params.has_mask && !read_file(req, r->mask, &s->mask))
            return false;
    }
    sdapi_control_pictures(r, leading);
    for (size_t i = 0; i < CONTROLS_INPUTS; i++)
        if (leading[i] && !read_file(req, leading[i], &s->leading[i]))
            return false;
    return true;
}

/* A job for each picture that begins from another one: the seeds go on over all of them. */
static bool add_pictures(struct sdapi_series *s, const struct job_params *params, int inits,
                         struct err *err)
{
    for (int i = 0; i < params->count; i++) {
        struct job_params one;
        if (!job_params_copy(params, &one, err))
            return false;
        bool ok = !one.variants || variants_use(&one, i, err);
        free(one.variants);
        one.variants = NULL;
        one.seed = job_seed(params, i);
        one.subseed = job_subseed(params, i);
        one.count = 1;
        ok = ok && sdapi_series_add(s, &one, i % inits, err);
        job_params_free(&one);
        if (!ok)
            return false;
    }
    return true;
}

/* The WebUI's grid of a request that has its pictures saved. */
static void want_grid(struct sdapi_series *s, const struct prepared *p)
{
    int count = p->params.count, rows = (int)sdapi_options_number(p->options, "n_rows");
    if (!p->r.save_images || !sdapi_options_flag(p->options, "return_grid") ||
        (count < 2 && sdapi_options_flag(p->options, "grid_only_if_multiple")))
        return;
    rows = rows > 0 ? rows : rows == 0 ? p->r.batch_size : (int)lround(sqrt(count));
    s->sheet = SDAPI_SHEET_GRID;
    s->rows = rows < count ? rows : count;
    s->columns = (count + s->rows - 1) / s->rows;
}

/* What the request is answered with. False: replied. */
static bool begin_series(struct http_request *req, const struct prepared *p, const cJSON *body,
                         struct sdapi_series *s)
{
    const struct app *app = http_app(req);
    struct err err;
    if (!job_tags_read(p->r.tags, &s->tags, &err)) {
        sdapi_reply_err(req, &err, "tags");
        return false;
    }
    s->ignored = sdapi_ignored(app, &p->r, body, p->options, &p->params, p->model.upstream);
    s->echo = sdapi_request_echo(&p->r);
    s->styles = p->r.styles ? cJSON_Duplicate(p->r.styles, true) : NULL;
    int inits = cJSON_GetArraySize(p->r.init_images);
    s->batch_size = inits > 1 ? inits : p->r.batch_size;
    s->send_images = p->r.send_images;
    s->model = p->model;
    if (s->ignored && s->echo)
        return true;
    sdapi_reply_crash(req, "MemoryError", "out of memory");
    return false;
}

/* Those settings that the request wants to stay. */
static bool keep_options(struct http_request *req, const struct prepared *p, struct err *err)
{
    return !p->r.override_settings || p->r.override_settings_restore_afterwards ||
           sdapi_options_save(http_app(req), http_key_id(req), p->options, err);
}

/* The jobs of a script that makes several requests of one. False: replied. */
static bool add_cells(struct http_request *req, const struct prepared *p, const cJSON *body,
                      struct sdapi_series *s)
{
    struct sdapi_plan plan;
    struct sdapi_fault fault;
    struct err err;
    if (!sdapi_script_plan(http_app(req), &p->r, body, p->params.seed, p->params.subseed, &plan,
                           &fault)) {
        reply_fault(req, &fault);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < plan.count; i++) {
        struct prepared one;
        if (!(ok = prepare(req, p->r.kind, plan.cells[i].body, &one)))
            break;
        int init = plan.cells[i].from_last ? SDAPI_SERIES_LAST : s->inits[0].data ? 0 : -1;
        ok = sdapi_series_add(s, &one.params, init, &err);
        if (ok)
            s->runs[i].hidden = plan.cells[i].hidden;
        else
            sdapi_reply_err(req, &err, NULL);
        prepared_free(&one);
    }
    s->sheet = plan.grid ? SDAPI_SHEET_GRID : SDAPI_SHEET_NONE;
    s->columns = plan.columns;
    s->rows = plan.rows;
    s->deep = plan.deep;
    s->margin = plan.margin;
    memcpy(s->labels, plan.labels, sizeof s->labels);
    memset(plan.labels, 0, sizeof plan.labels);
    s->send_painted = plan.send_painted;
    s->send_sheets = plan.send_sheets;
    sdapi_script_plan_free(&plan);
    return ok;
}

/* The jobs of the request itself. False: replied. */
static bool add_runs(struct http_request *req, struct prepared *p, struct sdapi_series *s)
{
    struct err err;
    int inits = cJSON_GetArraySize(p->r.init_images);
    want_grid(s, p);
    if (inits > 1 ? add_pictures(s, &p->params, inits, &err)
                  : sdapi_series_add(s, &p->params, inits ? 0 : -1, &err))
        return true;
    sdapi_reply_err(req, &err, NULL);
    return false;
}

static void generate(struct http_request *req, enum sdapi_request_kind kind)
{
    struct prepared p;
    struct extended larger = {0};
    struct err err;
    cJSON *body = sdapi_reply_body(req);
    if (!body)
        return;
    if (!prepare(req, kind, body, &p)) {
        cJSON_Delete(body);
        return;
    }
    int inits = cJSON_GetArraySize(p.r.init_images);
    struct sdapi_series *s = NULL;
    if (inits > SDAPI_SERIES_RUNS) {
        err_set(&err, ERR_INVALID, "wanted at most %d pictures, got %d", SDAPI_SERIES_RUNS, inits);
        sdapi_reply_err(req, &err, "init_images");
        goto done;
    }
    if (!(s = sdapi_series_new(req))) {
        sdapi_reply_crash(req, "MemoryError", "out of memory");
        goto done;
    }
    if (!outpaint(req, &p.r, &p.params, &larger) || !begin_series(req, &p, body, s) ||
        !read_pictures(req, &p, &larger, s))
        goto done;
    enum sdapi_script script = sdapi_script_of(&p.r);
    bool cells = script == SDAPI_SCRIPT_XYZ || script == SDAPI_SCRIPT_MATRIX ||
                 script == SDAPI_SCRIPT_LOOPBACK;
    if (inits > 1 && (cells || script == SDAPI_SCRIPT_UPSCALE)) {
        err_set(&err, ERR_INVALID, "a script begins from one picture, got %d", inits);
        sdapi_reply_err(req, &err, "init_images");
        goto done;
    }
    if (cells && !add_cells(req, &p, body, s))
        goto done;
    if (!keep_options(req, &p, &err)) {
        sdapi_reply_err(req, &err, NULL);
        goto done;
    }
    if (script == SDAPI_SCRIPT_UPSCALE)
        sdapi_tiles_start(req, &p.r, &p.params, s);
    else if (cells || add_runs(req, &p, s))
        sdapi_series_start(req, s);
    else
        goto done;
    s = NULL;
done:
    sdapi_series_free(s);
    free(larger.init);
    free(larger.mask);
    prepared_free(&p);
    cJSON_Delete(body);
}

void sdapi_generate_txt2img(struct http_request *req)
{
    if (composing_begins(req, NULL, sdapi_generate_txt2img))
        return;
    generate(req, SDAPI_TXT2IMG);
}

void sdapi_generate_img2img(struct http_request *req)
{
    if (composing_begins(req, NULL, sdapi_generate_img2img) ||
        linked_begins(req, sdapi_generate_img2img))
        return;
    generate(req, SDAPI_IMG2IMG);
}
