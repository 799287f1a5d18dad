/* intake.c: fills requests from models and settings. */
#include "server/job/intake.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/settings.h"
#include "server/job/job.h"
#include "server/job/embeddings.h"
#include "server/job/folders.h"
#include "server/job/job_engine.h"
#include "server/job/lora_tags.h"
#include "server/job/notes.h"
#include "server/job/upscalers.h"
#include "server/job/variants.h"
#include "server/job/vocabularies.h"

/* Times max_pixels: by default photographs of 50 megapixels, as phones take them. */
#define PICTURE_FACTOR 12

static bool is_given(const char *text)
{
    return text && *text;
}

void intake_model_of(const struct registry_model *model, struct intake_model *out)
{
    /* What it is painted with when it does not say: SD 1.x is made for 512, upstreams for 1024. */
    bool upstream = model->kind == REGISTRY_UPSTREAM;
    struct job_params usual;
    job_params_init(&usual);
    int side = upstream ? 1024 : 512;
    *out = (struct intake_model){
        .upstream = upstream,
        .told = model->told,
        .placeholders = model->placeholders,
        .takes_more = model->takes_more,
        .width = model->native_width ? model->native_width : side,
        .height = model->native_height ? model->native_height : side,
        .clip_skips = model->clip_skips,
        .image_guidance = model->default_image_guidance,
        .masked = model->masked,
        .references = model->references,
        .flow = model->flow,
        .guide = model->guide,
        .text_widths = {model->text_widths[0], model->text_widths[1]},
        .steps = model->default_steps ? model->default_steps : usual.steps,
        .guidance = model->default_guidance > 0 ? model->default_guidance : usual.guidance,
    };
    snprintf(out->name, sizeof out->name, "%s", model->name);
    snprintf(out->architecture, sizeof out->architecture, "%s", model->architecture);
    snprintf(out->sampler, sizeof out->sampler, "%s", model->default_sampler);
    snprintf(out->scheduler, sizeof out->scheduler, "%s", model->default_scheduler);
}

bool intake_model(struct registry *registry, const char *name, struct intake_model *out,
                  struct err *err)
{
    struct registry_model model;
    if (!registry_resolve(registry, name, &model, err))
        return false;
    intake_model_of(&model, out);
    return true;
}

void intake_speed(const struct settings *settings, struct job_params *p)
{
    job_field_fill_settings(&job_table, p, settings);
}

void intake_over(const struct intake_model *model, struct job_params *p)
{
    bool known = model->clip_skips > 0; /* as is all that its header says */
    if (model->image_guidance > 0 && isnan(p->image_guidance))
        p->image_guidance = model->image_guidance;
    else if (known && model->image_guidance == 0)
        p->image_guidance = 1;
    if (model->references > 0 && p->has_init && isnan(p->strength))
        p->strength = 1;
    if (model->masked && isnan(p->mask_weight))
        p->mask_weight = 1;
    else if (known && !model->masked)
        p->mask_weight = JOB_NO_REAL;
}

bool intake_sampler(const char *sampler, const char *scheduler, struct job_params *p,
                    struct err *err)
{
    if (!*sampler || p->sampler)
        return true;
    return job_field_set_text(job_field_find(&job_table, "sampler"), p, sampler, err) &&
           (p->scheduler || !*scheduler ||
            job_field_set_text(job_field_find(&job_table, "scheduler"), p, scheduler, err));
}

bool intake_fill(const struct intake_model *model, const struct settings *settings,
                 struct job_params *p, struct err *err)
{
    if (!model->upstream) {
        intake_speed(settings, p);
        intake_over(model, p);
    }
    if (p->steps == JOB_UNSET)
        p->steps = model->steps;
    if (isnan(p->guidance))
        p->guidance = model->guidance;
    return intake_sampler(model->sampler, model->scheduler, p, err) &&
           job_field_fill(&job_table, p, err);
}

/* Words that stand for vectors, on the way through a job's prompts. */
struct words {
    struct pictor_word *at;
    size_t count;
};

static bool check(const struct pictor_params *params, bool negative, const struct words *w,
                  struct err *err)
{
    return pictor_prompt_words(params, negative, w->at, w->count, err);
}

/* A second pass's own prompt is painted with the LoRAs of the first, so it names none or these. */
static bool check_hires_prompt(const struct pictor_params *params, const struct lora_tags *first,
                               const struct words *w, struct err *err)
{
    struct lora_tags tags;
    struct pictor_params second = *params;
    if (!params->hires_prompt || !*params->hires_prompt)
        return true;
    char *words = lora_tags_take(params->hires_prompt, &tags, err);
    second.prompt = words;
    bool good = words && check(&second, false, w, err) &&
                (tags.count == 0 || lora_tags_same(&tags, first) ||
                 err_set(err, ERR_INVALID,
                         "hires_prompt must name the LoRAs of the prompt, in its order, or none: "
                         "both passes are painted with them"));
    free(words);
    return good;
}

static bool check_hires_negative(const struct pictor_params *params, const struct words *w,
                                 struct err *err)
{
    struct pictor_params second = *params;
    if (!params->hires_negative_prompt || !*params->hires_negative_prompt)
        return true;
    second.negative_prompt = params->hires_negative_prompt;
    return check(&second, true, w, err);
}

bool intake_words(const struct job_params *p, struct pictor_word *list, size_t count,
                  const char **param, struct err *err)
{
    const struct words w = {list, count};
    const char *wrong = NULL;
    struct lora_tags tags;
    struct pictor_params params;
    job_engine_params(p, 0, &params);
    char *words = lora_tags_take(p->prompt ? p->prompt : "", &tags, err);
    params.prompt = words;
    if (!words || !check(&params, false, &w, err))
        wrong = "prompt";
    else if (!check(&params, true, &w, err))
        wrong = "negative_prompt";
    else if (!check_hires_prompt(&params, &tags, &w, err))
        wrong = "hires_prompt";
    else if (!check_hires_negative(&params, &w, err))
        wrong = "hires_negative_prompt";
    free(words);
    if (wrong && param)
        *param = wrong;
    return !wrong;
}

bool intake_measure(const struct job_params *p, bool negative, struct pictor_word *words,
                    size_t count, struct pictor_prompt_size *out, struct err *err)
{
    struct lora_tags tags;
    struct pictor_params params;
    job_engine_params(p, 0, &params);
    char *prompt = lora_tags_take(p->prompt ? p->prompt : "", &tags, err);
    params.prompt = prompt;
    bool done =
        prompt && pictor_prompt_measure(&params, negative, words, count, out, err);
    free(prompt);
    return done;
}

bool intake_tokens(struct registry *registry, const struct intake_model *model,
                   const struct job_params *p, bool negative, struct pictor_prompt_size *out,
                   struct err *err)
{
    struct lora_tags tags;
    struct pictor_params params;
    job_engine_params(p, 0, &params);
    char *prompt = lora_tags_take(p->prompt ? p->prompt : "", &tags, err);
    params.prompt = prompt;
    bool done = prompt && vocabularies_count(registry_vocabularies(registry),
                                             registry, model->name,
                                             model->architecture, &params, negative, out, err);
    free(prompt);
    return done;
}

static bool fits(struct registry *registry, const struct intake_model *model,
                 const struct job_params *p, bool negative, struct err *err)
{
    return (negative && model->guide != PICTOR_GUIDE_WORDS) || /* it is not read */
           intake_tokens(registry, model, p, negative, NULL, err) || err->code == ERR_UNSUPPORTED;
}

/* Who paints the second pass. */
static struct intake_model second_of(struct registry *registry, const struct intake_model *model,
                                     const struct job_params *p)
{
    struct intake_model second = *model;
    struct err unknown; /* companions_check says it */
    if (p->hires_width > 0 && is_given(p->hires_model))
        intake_model(registry, p->hires_model, &second, &unknown);
    return second;
}

static bool check_sampler(const struct intake_model *model, const char *sampler, struct err *err)
{
    char names[256];
    return !model->flow || !is_given(sampler) || pictor_sampler_flows(sampler) ||
           err_set(err, ERR_INVALID,
                   "\"%.64s\" is not for flow models as this one: wanted one of %s", sampler,
                   pictor_sampler_flow_names(names, sizeof names));
}

static bool check_samplers(struct registry *registry, const struct intake_model *model,
                           const struct job_params *p, const char **param, struct err *err)
{
    struct intake_model second = second_of(registry, model, p);
    const char *wrong = NULL;
    bool own = is_given(p->hires_sampler);
    if (!check_sampler(model, p->sampler, err))
        wrong = "sampler";
    else if (p->hires_width > 0 &&
             !check_sampler(&second, own ? p->hires_sampler : p->sampler, err))
        wrong = own ? "hires_sampler" : "sampler";
    if (wrong && param)
        *param = wrong;
    return !wrong || err_prefix(err, "%s", wrong);
}

/* Of both passes; a second one may have its own prompts, and another model. */
static bool check_tokens(struct registry *registry, const struct intake_model *model,
                         const struct job_params *p, const char **param, struct err *err)
{
    struct intake_model second = second_of(registry, model, p);
    struct job_params hires = *p; /* borrows */
    const char *wrong = NULL;
    if (is_given(p->hires_prompt))
        hires.prompt = p->hires_prompt;
    if (is_given(p->hires_negative_prompt))
        hires.negative_prompt = p->hires_negative_prompt;
    if (!fits(registry, model, p, false, err))
        wrong = "prompt";
    else if (!fits(registry, model, p, true, err))
        wrong = "negative_prompt";
    else if (p->hires_width > 0 && !fits(registry, &second, &hires, false, err))
        wrong = hires.prompt == p->prompt ? "prompt" : "hires_prompt";
    else if (p->hires_width > 0 && !fits(registry, &second, &hires, true, err))
        wrong = hires.negative_prompt == p->negative_prompt ? "negative_prompt"
                                                            : "hires_negative_prompt";
    if (wrong && param)
        *param = wrong;
    return !wrong;
}

bool intake_prompts(const struct intake_model *model, const struct job_params *p,
                    const char **param, struct err *err)
{
    const char *wrong = NULL;
    struct variants variants;
    if (model->upstream)
        return true;
    if (!variants_read(p, &variants, err))
        return false;
    bool good = true;
    for (size_t i = 0; good && i < variants.count; i++) {
        struct job_params one;
        variants_view(&variants, i, p, &one);
        good = intake_words(&one, NULL, 0, param, err);
    }
    variants_free(&variants);
    if (!good)
        return false;
    if (model->image_guidance > 0 && !p->has_init) {
        wrong = "model";
        err_set(err, ERR_INVALID, "this model edits pictures: wanted one to begin from");
    } else if (model->clip_skips > 0 && p->clip_skip > model->clip_skips) {
        wrong = "clip_skip";
        err_set(err, ERR_INVALID, "clip_skip must be 1..%d for this model, got %d",
                model->clip_skips, p->clip_skip);
    }
    if (wrong && param)
        *param = wrong;
    return !wrong;
}

bool intake_note(struct job_params *p, const char *field, const char *why, struct err *err)
{
    size_t used = p->notes ? strlen(p->notes) : 0, size = used + strlen(field) + strlen(why) + 4;
    char *notes = malloc(size);
    if (!notes)
        return err_set(err, ERR_INTERNAL, "no memory for notes");
    snprintf(notes, size, "%s%s%s: %s", used ? p->notes : "", used ? "\n" : "", field, why);
    free(p->notes);
    p->notes = notes;
    return true;
}

bool intake_settle(const struct intake_model *model, struct job_params *p, struct err *err)
{
    bool none = model->guide != PICTOR_GUIDE_WORDS;
    const char *why = none ? "this model is not led away from anything"
                           : "a guidance of 1 is none, which leads away from nothing";
    free(p->notes);
    p->notes = NULL;
    p->guidance_told = !model->upstream && model->guide == PICTOR_GUIDE_TOLD;
    if (model->upstream)
        return true;
    /* CFG++ asks for the negative prompt's answer by itself. */
    none |= p->guidance <= 1 && !(p->sampler && strstr(p->sampler, "CFG++"));
    return (!none || !is_given(p->negative_prompt) ||
            intake_note(p, "negative_prompt", why, err)) &&
           (!none || p->hires_width <= 0 || !is_given(p->hires_negative_prompt) ||
            intake_note(p, "hires_negative_prompt", why, err)) &&
           (model->guide != PICTOR_GUIDE_NONE || p->guidance == 1 ||
            p->guidance == model->guidance ||
            intake_note(p, "guidance", "this model was distilled to do without, and has none",
                        err));
}

bool intake_complete(const struct intake_model *model, const struct settings *settings,
                     struct job_params *p, const char **param, struct err *err)
{
    bool given[JOB_TABLE_MAX], said[JOB_TABLE_MAX];
    notes_given(p, said);
    /* Once is enough: an upstream's job that is repeated has its templates, and no list. */
    bool chosen = p->prompt_template || p->negative_template;
    for (size_t i = 0; i < job_table.count; i++)
        given[i] = !job_field_is_empty(&job_table.fields[i], p);
    if (!intake_fill(model, settings, p, err) ||
        (!chosen && !variants_make(settings, model->upstream, p, param, err)) ||
        !job_params_check(p, settings, param, err) ||
        !intake_prompts(model, p, param, err) || !intake_settle(model, p, err))
        return false;
    for (size_t i = 0; model->upstream && i < job_table.count; i++) {
        const struct job_field *f = &job_table.fields[i];
        /* "DPM++ 2M Karras" as the sampler names a scheduler, too. */
        bool named = f->type == JOB_TEXT && f->text && strcmp(job_field_text(f, p), f->text) != 0;
        if (f->optional && !given[i] && !named)
            job_field_clear(f, p);
    }
    return notes_add(model, said, p, err);
}

bool intake_files(struct registry *registry, const struct intake_model *model,
                  const struct job_params *p, const char **param, struct err *err)
{
    struct err why;
    struct embeddings_list named;
    if (model->upstream)
        return true;
    if (p->hires_width > 0 && p->hires_upscaler &&
        !upscalers_check(registry_files(registry, FOLDERS_UPSCALER), p->hires_upscaler, &why)) {
        if (param)
            *param = "hires_upscaler";
        return err_copy(err, &why) || err_prefix(err, "hires_upscaler");
    }
    struct variants variants;
    if (!check_samplers(registry, model, p, param, err))
        return false;
    bool good = variants_read(p, &variants, err);
    for (size_t i = 0; good && i < variants.count; i++) {
        struct job_params one;
        variants_view(&variants, i, p, &one);
        good = embeddings_find(registry_files(registry, FOLDERS_EMBEDDING), model->text_widths,
                               &one, &named, param, err);
        embeddings_list_free(&named);
        good = good && check_tokens(registry, model, &one, param, err);
    }
    variants_free(&variants);
    return good;
}

bool intake_seed(uint64_t *seed, struct err *err)
{
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_set(err, ERR_INTERNAL, "no random seed: %s", strerror(errno));
    *seed = random;
    return true;
}

size_t intake_pixels_max(const struct settings *settings)
{
    return (size_t)settings->max_pixels * PICTURE_FACTOR;
}
