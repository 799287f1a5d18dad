#include "server/paint/upstream_sdapi.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/base/base64.h"
#include "server/base/json_number.h"
#include "server/base/json_text.h"
#include "server/job/job.h"
#include "server/paint/upstream_request.h"

#define STEPS_MOST 10000

static void add_text(cJSON *json, const char *name, const char *text)
{
    if (text && *text)
        cJSON_AddStringToObject(json, name, text);
}

static void add_real(cJSON *json, const char *name, double value)
{
    if (!isnan(value))
        cJSON_AddNumberToObject(json, name, value);
}

/* By its label, as the WebUI names it; "automatic" is the server's own choice. */
static void add_scheduler(cJSON *json, const char *name, const char *scheduler)
{
    const struct pictor_scheduler_info *s = scheduler ? pictor_scheduler_find(scheduler) : NULL;
    if (s)
        cJSON_AddStringToObject(json, name, s->label);
}

static void add_file(cJSON *json, const char *name, bool list, const void *data, size_t size)
{
    char *text = base64_encode(data, size);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    free(text);
    cJSON *to = item && list ? cJSON_AddArrayToObject(json, name) : NULL;
    if (to)
        cJSON_AddItemToArray(to, item);
    else if (item)
        cJSON_AddItemToObject(json, name, item);
}

static void add_hires(cJSON *json, const struct job_params *p)
{
    if (!p->hires_width || !p->hires_height)
        return;
    cJSON_AddTrueToObject(json, "enable_hr");
    cJSON_AddNumberToObject(json, "hr_resize_x", p->hires_width);
    cJSON_AddNumberToObject(json, "hr_resize_y", p->hires_height);
    cJSON_AddNumberToObject(json, "hr_second_pass_steps", p->hires_steps);
    add_text(json, "hr_upscaler", p->hires_upscaler);
    add_text(json, "hr_checkpoint_name", p->hires_model);
    add_text(json, "hr_sampler_name", p->hires_sampler);
    add_scheduler(json, "hr_scheduler", p->hires_scheduler);
    add_text(json, "hr_prompt", p->hires_prompt);
    add_text(json, "hr_negative_prompt", p->hires_negative_prompt);
    add_real(json, "denoising_strength", p->hires_strength);
}

static void add_picture(cJSON *json, const struct job_params *p, const void *init, size_t init_size,
                        const void *mask, size_t mask_size)
{
    add_file(json, "init_images", true, init, init_size);
    add_real(json, "denoising_strength", p->strength);
    cJSON_AddNumberToObject(json, "resize_mode", p->fit); /* the enumeration is the WebUI's */
    if (mask_size == 0)
        return;
    add_file(json, "mask", false, mask, mask_size);
    cJSON_AddNumberToObject(json, "mask_blur_x", p->mask_blur);
    cJSON_AddNumberToObject(json, "mask_blur_y",
                            isnan(p->mask_blur_y) ? p->mask_blur : p->mask_blur_y);
    cJSON_AddNumberToObject(json, "mask_blur", p->mask_blur); /* of servers that know one */
    cJSON_AddNumberToObject(json, "inpainting_fill", p->fill); /* and so is this one */
    cJSON_AddNumberToObject(json, "inpainting_mask_invert", p->mask_invert);
    cJSON_AddBoolToObject(json, "inpaint_full_res", p->mask_only_area);
    cJSON_AddNumberToObject(json, "inpaint_full_res_padding", p->mask_padding);
}

static void add_settings(cJSON *json, const struct job_params *p, const char *model)
{
    cJSON *settings = cJSON_AddObjectToObject(json, "override_settings");
    cJSON_AddStringToObject(settings, "sd_model_checkpoint", model);
    if (p->clip_skip > 1)
        cJSON_AddNumberToObject(settings, "CLIP_stop_at_last_layers", p->clip_skip);
    /* Loading the model from before again would take longer than the picture. */
    cJSON_AddFalseToObject(json, "override_settings_restore_afterwards");
}

bool upstream_sdapi_make(struct upstream_request *r, const struct job_params *p, int index,
                         const char *model, const void *init, size_t init_size, const void *mask,
                         size_t mask_size, struct err *err)
{
    cJSON *json = cJSON_CreateObject();
    *r = (struct upstream_request){.path =
                                       init_size ? "/sdapi/v1/img2img" : "/sdapi/v1/txt2img"};
    cJSON_AddStringToObject(json, "prompt", p->prompt ? p->prompt : "");
    add_text(json, "negative_prompt", p->negative_prompt);
    cJSON_AddNumberToObject(json, "width", p->width);
    cJSON_AddNumberToObject(json, "height", p->height);
    cJSON_AddItemToObject(json, "seed", json_number_item(job_seed(p, index)));
    if (p->subseed_strength > 0) {
        cJSON_AddItemToObject(json, "subseed", json_number_item(job_subseed(p, index)));
        cJSON_AddNumberToObject(json, "subseed_strength", p->subseed_strength);
    }
    if (p->steps != JOB_UNSET)
        cJSON_AddNumberToObject(json, "steps", p->steps);
    add_real(json, "cfg_scale", p->guidance);
    add_text(json, "sampler_name", p->sampler);
    add_scheduler(json, "scheduler", p->scheduler);
    add_real(json, "eta", p->eta);
    if (p->tiling)
        cJSON_AddTrueToObject(json, "tiling");
    cJSON_AddNumberToObject(json, "batch_size", 1);
    cJSON_AddNumberToObject(json, "n_iter", 1);
    cJSON_AddTrueToObject(json, "send_images");
    cJSON_AddFalseToObject(json, "save_images");
    add_settings(json, p, model);
    if (init_size > 0)
        add_picture(json, p, init, init_size, mask, mask_size);
    else
        add_hires(json, p);
    r->json = json_text_print(json);
    bool whole = init_size == 0 || cJSON_GetObjectItemCaseSensitive(json, "init_images");
    whole = whole && (mask_size == 0 || cJSON_GetObjectItemCaseSensitive(json, "mask"));
    cJSON_Delete(json);
    if (r->json && whole)
        return true;
    upstream_request_free(r);
    return err_set(err, ERR_INTERNAL, "no memory for a request");
}

struct cJSON *upstream_sdapi_answer(struct cJSON *answer)
{
    const cJSON *images = cJSON_GetObjectItemCaseSensitive(answer, "images"), *image;
    cJSON *json = answer ? cJSON_CreateObject() : NULL;
    cJSON *data = json ? cJSON_AddArrayToObject(json, "data") : NULL;
    cJSON_ArrayForEach(image, images) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "b64_json",
                                cJSON_IsString(image) ? image->valuestring : "");
        cJSON_AddItemToArray(data, item);
        break; /* one was asked for; what follows is a grid or a module's view of a picture */
    }
    cJSON_Delete(answer);
    return json;
}

bool upstream_sdapi_progress(const struct cJSON *answer, struct job_progress *progress,
                             const char **preview)
{
    const cJSON *share = cJSON_GetObjectItemCaseSensitive(answer, "progress");
    const cJSON *left = cJSON_GetObjectItemCaseSensitive(answer, "eta_relative");
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(answer, "state");
    double step = json_number_in(state, "sampling_step", 0);
    double steps = json_number_in(state, "sampling_steps", 0);
    *preview = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "current_image"));
    if (!cJSON_IsNumber(share) || !(share->valuedouble > 0 && share->valuedouble <= 1))
        return false;
    if (!(steps >= 1 && steps <= STEPS_MOST)) { /* servers that only say how much is done */
        steps = 100;
        step = floor(share->valuedouble * 100);
    }
    progress->steps = (int)steps;
    progress->step = step >= 0 && step <= steps ? (int)step : 0;
    bool known = cJSON_IsNumber(left) && left->valuedouble > 0 && left->valuedouble < 86400;
    progress->eta_seconds = known ? left->valuedouble : -1;
    return true;
}
