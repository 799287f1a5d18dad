#include "server/api/sdapi/sdapi_ignored.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "engine/base/log.h"
#include "engine/pictor.h"
#include "server/api/sdapi/sdapi_models.h"
#include "server/api/sdapi/sdapi_options.h"
#include "server/api/app.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/embeddings.h"
#include "server/job/intake.h"
#include "server/job/job.h"
#include "server/job/loras.h"
#include "server/job/notes.h"
#include "server/job/styles.h"
#include "server/job/vaes.h"
#include "server/job/variants.h"

#define LIST_SIZE 2000 /* bytes; the rest of a longer list becomes "..." */
#define NAME_SIZE 120  /* of one name in it */

struct list {
    char text[LIST_SIZE];
    size_t used;
    bool full;
    bool once; /* what is there already is not added */
};

static void add(struct list *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct list *list, const char *fmt, ...)
{
    char name[NAME_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    json_text_mend(name); /* it may be cut within a character */
    if (list->full || (list->once && strstr(list->text, name)))
        return;
    list->full = list->used + strlen(name) + sizeof ", , ..." > sizeof list->text;
    list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s",
                                   list->used ? ", " : "", list->full ? "..." : name);
}

/* What says nothing: clients send all fields of all servers with their neutral values. */
static bool is_empty(const cJSON *value)
{
    return cJSON_IsNull(value) || cJSON_IsFalse(value) ||
           (cJSON_IsString(value) &&
            (!*value->valuestring || strcasecmp(value->valuestring, "None") == 0)) ||
           ((cJSON_IsArray(value) || cJSON_IsObject(value)) && !value->child);
}

static bool is_given(const char *text)
{
    return text && *text;
}

static void add_unknown_fields(struct list *list, const struct sdapi_request *r, const cJSON *body)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, body)
        if (!is_empty(item) && !sdapi_request_knows(r->kind, item->string))
            add(list, "%s", item->string);
}

static void add_options(struct list *list, const struct app *app, const struct sdapi_request *r,
                        const cJSON *options, bool upstream)
{
    const cJSON *item =
        cJSON_GetObjectItemCaseSensitive(r->override_settings, "sd_model_checkpoint");
    struct sdapi_model model;
    if (cJSON_IsString(item) && !is_empty(item) &&
        !sdapi_models_find(app, item->valuestring, &model))
        add(list, "sd_model_checkpoint %s", item->valuestring);
    cJSON_ArrayForEach(item, r->override_settings)
        if (!is_empty(item) && !sdapi_options_known(item->string))
            add(list, "%s", item->string);
    const char *vae = sdapi_options_text(options, "sd_vae");
    struct vaes_choice choice;
    struct err err;
    if (*vae && strcasecmp(vae, "Automatic") != 0 && strcasecmp(vae, "None") != 0 &&
        (upstream ||
         !vaes_choose(registry_files(app->registry, FOLDERS_VAE), "", vae, &choice, &err)))
        add(list, "sd_vae %s", vae);
}

/* Also says so, in the log, when the folder cannot be read. */
static bool is_known_lora(struct files *loras, const char *tag)
{
    char name[LORA_TAGS_NAME], path[PATH_MAX];
    const char *from = strchr(tag, ':') + 1;
    size_t n = strcspn(from, ":>");
    if (!lora_tags_is_lora(tag) || n >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)n, from);
    struct err err;
    bool known = files_find(loras, name, path, &err);
    if (!known && err.code != ERR_NOT_FOUND)
        log_err(LOG_WARN, "loras_not_read", &err, " ");
    return known;
}

/* Tags but those of LoRAs that there are. */
static void add_networks(struct list *list, struct files *loras, const char *prompt, bool upstream)
{
    size_t size;
    for (const char *at = prompt; (at = lora_tags_next(at, &size)); at += size)
        if (upstream || !is_known_lora(loras, at))
            add(list, "%.*s", (int)(size < NAME_SIZE ? size : NAME_SIZE), at);
}

/* Those that the prompts name and the model cannot have, and why. */
static void add_embeddings(struct list *list, const struct app *app, const struct job_params *p)
{
    struct embeddings_list named;
    struct intake_model model;
    struct err err;
    if (!intake_model(app->registry, p->model, &model, &err) ||
        !embeddings_find(registry_files(app->registry, FOLDERS_EMBEDDING), model.text_widths, p,
                         &named, NULL, &err))
        return;
    for (size_t i = 0; i < named.count; i++)
        if (*named.at[i].why)
            add(list, "embedding %.40s (%s)", named.at[i].name, named.at[i].why);
    embeddings_list_free(&named);
}

/* Of each picture's prompts; those of one that does not choose are all alike. */
static void add_prompts(struct list *list, const struct app *app, const struct job_params *p)
{
    struct variants variants;
    struct err err;
    if (!variants_read(p, &variants, &err))
        return;
    for (size_t i = 0; i < variants.count; i++) {
        struct job_params one;
        variants_view(&variants, i, p, &one);
        list->once = i > 0;
        add_networks(list, registry_files(app->registry, FOLDERS_LORA), one.prompt, false);
        add_embeddings(list, app, &one);
    }
    list->once = false;
    variants_free(&variants);
}

/* Those that there are not. */
static void add_styles(struct list *list, const struct app *app, const struct sdapi_request *r)
{
    struct styles styles = {0};
    struct err err;
    const cJSON *name;
    if (cJSON_GetArraySize(r->styles) > 0 && !styles_read(app->settings->styles, &styles, &err))
        log_err(LOG_WARN, "styles_not_read", &err, " ");
    cJSON_ArrayForEach(name, r->styles)
        if (!is_empty(name) && !styles_find(&styles, name->valuestring))
            add(list, "style %s", name->valuestring);
    styles_free(&styles);
}

/* Names that the lists do not have, where others stand in for them. */
static void add_samplers(struct list *list, const struct sdapi_request *r)
{
    const struct pictor_scheduler_info *named;
    const char *first = is_given(r->sampler_name) ? r->sampler_name : r->sampler_index;
    const char *samplers[] = {first, r->enable_hr ? r->hr_sampler_name : NULL};
    const char *schedulers[] = {r->scheduler, r->enable_hr ? r->hr_scheduler : NULL};
    for (int i = 0; i < 2; i++) {
        if (is_given(samplers[i]) && strcasecmp(samplers[i], "Use same sampler") != 0 &&
            !pictor_sampler_find(samplers[i], &named))
            add(list, "sampler %s", samplers[i]);
        if (is_given(schedulers[i]) && strcasecmp(schedulers[i], "Use same scheduler") != 0 &&
            !pictor_scheduler_find(schedulers[i]))
            add(list, "scheduler %s", schedulers[i]);
    }
}

/* What the WebUI calls fields of jobs that may say nothing to one, and the value that clients send
 * with every request. */
static const struct named {
    const char *field, *here;
    double neutral;
} named[] = {
    {"negative_prompt", "negative_prompt", NAN},
    {"hires_negative_prompt", "hr_negative_prompt", NAN},
    {"guidance", "cfg_scale", NAN},
    {"seed", "seed", NAN},
    {"steps", "steps", NAN},
    {"sampler", "sampler_name", NAN},
    {"scheduler", "scheduler", NAN},
    {"image_guidance", "image_cfg_scale", NAN},
    {"subseed_strength", "subseed_strength", 0},
    {"clip_skip", "clip_skip", 1},
    {"tiling", "tiling", 0},
    {"eta", "eta", NAN},
    {"fit", "resize_mode", 0},
    {"mask_invert", "inpainting_mask_invert", 0},
    {"mask_only_area", "inpaint_full_res", 1},
    {"mask_padding", "inpaint_full_res_padding", 0},
    {"mask_blur", "mask_blur", 4},
    {"mask_blur", "mask_blur_x", 4},
    {"mask_blur_y", "mask_blur_y", 4},
    {"fill", "inpainting_fill", 0},
    {"noise_multiplier", "initial_noise_multiplier", 1},
    {"refiner_at", "refiner_switch_at", NAN},
};
#define NAMED (sizeof named / sizeof *named)

/* Whether the body says something of it that not every client says. */
static bool is_said(const cJSON *body, const struct named *n)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(body, n->here);
    if (!item || cJSON_IsNull(item) || (cJSON_IsString(item) && is_empty(item)))
        return false;
    double value = cJSON_IsNumber(item) ? item->valuedouble : cJSON_IsTrue(item);
    return cJSON_IsString(item) || value != n->neutral;
}

/* The line "field: why" of the notes; NULL: there is none. *size is how long the reason is. */
static const char *note_of(const char *notes, const char *field, size_t *size)
{
    size_t length = strlen(field);
    for (size_t n; notes && *notes; notes += n + (notes[n] == '\n')) {
        n = strcspn(notes, "\n");
        if (n > length + 2 && strncmp(notes, field, length) == 0 && notes[length] == ':') {
            *size = n - length - 2;
            return notes + length + 2;
        }
    }
    return NULL;
}

static void add_notes(struct list *list, const cJSON *body, const struct job_params *p)
{
    for (size_t i = 0; i < NAMED; i++) {
        const struct job_field *f = job_field_find(&job_table, named[i].field);
        size_t size = 0;
        const char *why = note_of(p->notes, named[i].field, &size);
        if (!why && f && !job_field_applies(f, p)) { /* not even taken over into the job */
            why = notes_part(f);
            size = strlen(why);
        }
        /* The WebUI's own guidance is one that its clients mean. */
        bool meant = size > 0 && strcmp(named[i].field, "guidance") == 0;
        if (why && (meant || is_said(body, &named[i])))
            add(list, "%s (%.*s)", named[i].here, (int)size, why);
    }
}

bool sdapi_ignored_note(const struct intake_model *model, const struct sdapi_request *r,
                        struct job_params *p, struct err *err)
{
    bool given[JOB_TABLE_MAX], seeded = !r->seed.negative;
    notes_given(p, given);
    for (size_t i = 0; i < job_table.count; i++) {
        size_t k = 0; /* the WebUI's other fields have no notes */
        while (k < NAMED && strcmp(named[k].field, job_table.fields[i].name) != 0)
            k++;
        given[i] = given[i] && k < NAMED;
    }
    return notes_add(model, given, p, err) && (!seeded || notes_seed(model, p, err));
}

char *sdapi_ignored(const struct app *app, const struct sdapi_request *r, const struct cJSON *body,
                    const struct cJSON *options, const struct job_params *params, bool upstream)
{
    struct list *list = calloc(1, sizeof *list);
    if (!list)
        return NULL;
    add_styles(list, app, r);
    add_samplers(list, r);
    if (upstream) /* whose prompt has no tags any more */
        add_networks(list, registry_files(app->registry, FOLDERS_LORA), r->prompt, true);
    else
        add_prompts(list, app, params);
    /* Without a model that could (/face-restorers is empty) the WebUI changes nothing, either. */
    if (sdapi_request_flag(r->restore_faces))
        add(list, "restore_faces");
    /* The WebUI takes these from its settings alone, whatever a request says. */
    if (r->s_churn > 0)
        add(list, "s_churn");
    if (r->s_noise > 0 && r->s_noise != 1)
        add(list, "s_noise");
    if (!isnan(r->distilled_cfg_scale) && !params->guidance_told)
        add(list, "distilled_cfg_scale");
    add_notes(list, body, params);
    if (r->firstpass_image)
        add(list, "firstpass_image");
    if (r->latent_mask && *r->latent_mask)
        add(list, "latent_mask");
    add_options(list, app, r, options, upstream);
    add_unknown_fields(list, r, body);
    char *text = strdup(list->text);
    free(list);
    return text;
}
