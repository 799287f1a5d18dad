/* sdapi_generate.c: what the answer needs of the request is made before the job is submitted and
 * waits beside the suspended connection; the parsed body is let go. */
#include "server/api/sdapi/sdapi_generate.h"

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
#include "server/api/sdapi/sdapi_request.h"
#include "server/api/app.h"
#include "server/api/extended.h"
#include "server/api/job_wait.h"
#include "server/http/http.h"
#include "server/job/controls.h"
#include "server/job/companions.h"
#include "server/job/intake.h"
#include "server/job/lora_list.h"
#include "server/job/lora_tags.h"
#include "server/job/vaes.h"
#include "server/job/variants.h"
#include "server/queue/queue.h"

/* ---- the answer ---- */

struct generation {
    cJSON *echo, *styles;
    char *ignored;
    int batch_size;
    bool send_images;
    struct sdapi_model model;
};

static void waiting_free(void *ctx)
{
    struct generation *w = ctx;
    cJSON_Delete(w->echo);
    cJSON_Delete(w->styles);
    free(w->ignored);
    free(w);
}

/* Every stored picture of the job as base64, read when the client reads the answer. */
static cJSON *image_list(struct http_request *req, const struct job *job, struct err *err)
{
    cJSON *images = cJSON_CreateArray();
    for (size_t i = 0; i < job->image_count; i++) {
        char *path = queue_image_path(http_app(req)->queue, &job->images[i], err);
        if (!path)
            goto fail;
        cJSON *item = http_reply_base64(req, path, job->images[i].bytes);
        if (!item || !cJSON_AddItemToArray(images, item)) {
            err_set(err, ERR_INTERNAL, "no memory for pictures");
            goto fail;
        }
    }
    return images;
fail:
    cJSON_Delete(images);
    return NULL;
}

static void reply_done(struct http_request *req, const struct job *job, struct generation *w)
{
    struct err err = {.code = ERR_INTERNAL, .msg = "no memory for the answer"};
    struct registry_model now;
    /* The hash of a file that nobody had used was not known when the request came. */
    bool known = registry_resolve(http_app(req)->registry, w->model.name, &now, NULL);
    struct sdapi_reply_model model = {w->model.stem, known ? now.sha256 : w->model.sha256};
    cJSON *images = w->send_images ? image_list(req, job, &err) : cJSON_CreateArray();
    char *info =
        images ? sdapi_reply_info(job, w->batch_size, w->styles, w->ignored, &model) : NULL;
    cJSON *body = info ? cJSON_CreateObject() : NULL;
    if (!body) {
        cJSON_Delete(images);
        free(info);
        sdapi_reply_err(req, &err, NULL);
        return;
    }
    cJSON_AddItemToObject(body, "images", images);
    cJSON_AddItemToObject(body, "parameters", w->echo);
    w->echo = NULL;
    cJSON_AddStringToObject(body, "info", info);
    free(info);
    sdapi_reply_json(req, body);
}

/* What an upstream said, as it said it. */
static void reply_refusal(struct http_request *req, const struct job *job)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", job->refusal.retry_after);
    if (job->refusal.retry_after >= 0)
        http_reply_header(req, "Retry-After", seconds);
    sdapi_reply_exception(req, refusal_status(&job->refusal), job->error_message);
}

static void reply_final(struct http_request *req, const struct job *job, void *ctx)
{
    if (job->state == JOB_DONE) {
        reply_done(req, job, ctx);
        return;
    }
    struct err err = {.code = ERR_CANCELLED, .msg = "the job was cancelled"};
    if (job->state == JOB_FAILED && job->refusal.status) {
        reply_refusal(req, job);
        return;
    }
    if (job->state == JOB_FAILED) {
        err.code = job->error;
        snprintf(err.msg, sizeof err.msg, "%s", job->error_message);
    }
    sdapi_reply_err(req, &err, NULL);
}

/* ---- the request ---- */

/* Decodes one picture into `input`, or replies and returns false. */
static bool read_input(struct http_request *req, const char *name, const char *text,
                       struct job_input *input)
{
    void *data;
    if (!sdapi_picture_read(req, text, &data, &input->size))
        return false;
    input->name = name;
    input->data = data;
    if (sdapi_picture_check(req, data, input->size))
        return true;
    free(data);
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

/* Takes `ignored`. */
static struct generation *waiting_new(const struct sdapi_request *r, char *ignored,
                                      const struct sdapi_model *model)
{
    struct generation *w = calloc(1, sizeof *w);
    if (!w || !ignored) {
        free(ignored);
        free(w);
        return NULL;
    }
    w->ignored = ignored;
    w->echo = sdapi_request_echo(r);
    w->styles = r->styles ? cJSON_Duplicate(r->styles, true) : NULL;
    w->batch_size = r->batch_size;
    w->send_images = r->send_images;
    w->model = *model;
    return w;
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

/* Accepts the job and waits for it. Takes what `larger` holds. */
static void submit(struct http_request *req, const struct sdapi_request *r, const cJSON *body,
                   const cJSON *options, const struct job_params *params,
                   const struct sdapi_model *model, struct extended *larger)
{
    const struct app *app = http_app(req);
    struct job_input inputs[2 + CONTROLS_INPUTS] = {{0}};
    const char *leading[CONTROLS_INPUTS];
    size_t count = 0;
    sdapi_control_pictures(r, leading);
    char id[JOB_ID_SIZE];
    struct err err;
    struct generation *w = NULL;
    if (larger->init) {
        inputs[count++] = (struct job_input){"init", larger->init, larger->init_size};
        inputs[count++] = (struct job_input){"mask", larger->mask, larger->mask_size};
        *larger = (struct extended){0};
    } else if (params->has_init) {
        const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(r->init_images, 0));
        if (!read_input(req, "init", text, &inputs[count]))
            goto done;
        count++;
    }
    if (params->has_mask && count < 2) {
        if (!read_input(req, "mask", r->mask, &inputs[count]))
            goto done;
        count++;
    }
    for (size_t i = 0; i < CONTROLS_INPUTS; i++) {
        if (!leading[i])
            continue;
        if (!read_input(req, controls_input(i), leading[i], &inputs[count]))
            goto done;
        count++;
    }
    w = waiting_new(r, sdapi_ignored(app, r, body, options, params, model->upstream), model);
    if (!w || !w->echo) {
        sdapi_reply_crash(req, "MemoryError", "out of memory");
        goto done;
    }
    bool keep = r->override_settings && !r->override_settings_restore_afterwards;
    if ((keep && !sdapi_options_save(app, http_key_id(req), options, &err)) ||
        !queue_submit(app->queue, http_key_id(req), 0, true, params, inputs, count, id, &err)) {
        sdapi_reply_err(req, &err, NULL);
        goto done;
    }
    job_wait(req, id, false, reply_final, w, waiting_free);
    w = NULL;
done:
    if (w)
        waiting_free(w);
    for (size_t i = 0; i < count; i++)
        free((void *)inputs[i].data);
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
        settle_vae(http_app(req), &model, params, &err) &&
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
    if (param && strcmp(param, companions_field(COMPANIONS_REFINER)) == 0)
        param = "refiner_checkpoint";
    if (param && strcmp(param, companions_field(COMPANIONS_HIRES)) == 0)
        param = "hr_checkpoint_name";
    sdapi_reply_err(req, &err, param);
    return false;
}

static void generate(struct http_request *req, enum sdapi_request_kind kind)
{
    const struct app *app = http_app(req);
    struct sdapi_request r;
    struct sdapi_model model;
    struct sdapi_fault fault;
    struct job_params params;
    struct extended larger = {0};
    cJSON *detail, *options = NULL, *body = sdapi_reply_body(req);
    if (!body)
        return;
    if (!sdapi_request_parse(kind, body, &r, &detail)) {
        sdapi_reply_unprocessable(req, detail);
        goto done;
    }
    options = effective_options(req, &r);
    if (!options)
        goto done;
    const char *wanted = sdapi_options_text(options, "sd_model_checkpoint");
    /* A checkpoint that was chosen and then removed: the default paints. */
    if (!sdapi_models_find(app, wanted, &model) && !sdapi_models_find(app, "", &model)) {
        sdapi_reply_crash(req, "RuntimeError", "no checkpoint");
        goto done;
    }
    if (!sdapi_job_make(&r, options, model.name, app->settings, &params, &fault)) {
        reply_fault(req, &fault);
        goto done;
    }
    if (check_prompts(req, &r, &params) && outpaint(req, &r, &params, &larger))
        submit(req, &r, body, options, &params, &model, &larger);
    job_params_free(&params);
done:
    cJSON_Delete(options);
    cJSON_Delete(body);
}

void sdapi_generate_txt2img(struct http_request *req)
{
    generate(req, SDAPI_TXT2IMG);
}

void sdapi_generate_img2img(struct http_request *req)
{
    generate(req, SDAPI_IMG2IMG);
}
