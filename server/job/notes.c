/* notes.c: by a field's part (job_field.h), by what an upstream is sent (server/paint), and by a
 * few rules of models and samplers. What is noted has no effect at all: a field that does something
 * else than might be thought is the manual's matter. */
#include "server/job/notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/image.h"
#include "engine/pictor.h"
#include "server/base/words.h"
#include "server/job/intake.h"
#include "server/job/job.h"

#define MESSAGE 160

/* What every upstream is sent, or does not need to be: what became of the picture's file. */
static const char everybody[] =
    " prompt width height count model seed subseed format quality preview_every tag composed_from ";

/* What else is sent, by kind of upstream. */
static const char *const told[] = {
    [REGISTRY_TOLD_ALL] = "",
    [REGISTRY_TOLD_WORDS] = " mask_invert ",
    [REGISTRY_TOLD_EXTENSIONS] =
        " mask_invert negative_prompt steps guidance sampler scheduler strength ",
    [REGISTRY_TOLD_WEBUI] =
        " negative_prompt subseed_strength steps guidance sampler scheduler eta tiling clip_skip "
        "strength fit mask_blur mask_blur_y fill mask_invert mask_only_area mask_padding "
        "hires_width hires_height hires_steps hires_upscaler hires_model hires_sampler "
        "hires_scheduler hires_prompt hires_negative_prompt hires_strength ",
    [REGISTRY_TOLD_WORKFLOW] =
        " negative_prompt steps guidance sampler scheduler strength clip_skip mask_invert ",
};

/* What a workflow of ComfyUI's has a place for (server/paint/upstream_comfy.h). */
static bool has_place(const char *placeholders, const char *field)
{
    static const char *const other[][2] = {{"guidance", "cfg"},
                                           {"guidance", "scale"},
                                           {"strength", "denoise"},
                                           {"mask_invert", "mask"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (strcmp(field, other[i][0]) == 0 && words_have(placeholders, other[i][1]))
            return true;
    return words_have(placeholders, field);
}

static bool is_told(const struct intake_model *model, const char *field)
{
    static const char ours[] = " count model subseed format quality preview_every tag "
                               "composed_from ";
    if (model->told == REGISTRY_TOLD_WORKFLOW && model->placeholders)
        return words_have(ours, field) || has_place(model->placeholders, field);
    return model->told == REGISTRY_TOLD_ALL || words_have(everybody, field) ||
           words_have(told[model->told], field);
}

static void say_untold(const struct intake_model *model, char out[MESSAGE])
{
    snprintf(out, MESSAGE, "no effect: %.60s is another server's, which is not told of it",
             model->name);
}

/* ---- reasons ---- */

const char *notes_part(const struct job_field *f)
{
    switch (f->part) {
    case JOB_OF_ALL:
        break;
    case JOB_OF_VARIATION:
        return "no effect without a subseed_strength";
    case JOB_OF_INIT:
        return "no effect without a picture to begin from";
    case JOB_OF_MASK:
        return "no effect without a mask";
    case JOB_OF_AREA:
        return "no effect without mask_only_area";
    case JOB_OF_HIRES:
        return "no effect without a second pass (hires_width)";
    case JOB_OF_CHURN:
    case JOB_OF_NOISE:
        return "no effect with this sampler";
    case JOB_OF_SEED_SIZE:
        return "no effect without both sides of the seed's size";
    case JOB_OF_LOW:
        return "no effect without guidance_low";
    case JOB_OF_REFINER:
        return "no effect without a refiner";
    case JOB_OF_ENDS:
    case JOB_OF_RHO:
    case JOB_OF_BETA:
        return "no effect with this scheduler";
    }
    return "no effect";
}

/* Flow transformers, which read no CLIP in chunks (of SD 3 and FLUX.1, CLIP alone does). */
static bool is_one_of(const struct intake_model *model, const char *families)
{
    return words_have(families, model->architecture);
}

/* Whether any pass is painted by a sampler of which `holds` is true; an unknown one may be. */
static bool any_sampler(const struct job_params *p,
                        bool (*holds)(const struct pictor_sampler_info *))
{
    const char *names[] = {p->sampler, p->hires_width > 0 ? p->hires_sampler : NULL};
    for (int i = 0; i < 2; i++) {
        const struct pictor_sampler_info *s =
            names[i] && *names[i] ? pictor_sampler_find(names[i], NULL) : NULL;
        if (names[i] && *names[i] && (!s || holds(s)))
            return true;
    }
    return !p->sampler;
}

static bool has_eta(const struct pictor_sampler_info *s)
{
    return s->eta_name != NULL;
}

static bool draws_noise(const struct pictor_sampler_info *s)
{
    return s->ancestral || s->sde || s->eta_name;
}

/* Of what a local model is painted with; NULL: it has an effect. */
static const char *of_model(const struct job_field *f, const struct intake_model *model,
                            const struct job_params *p)
{
    static const char flows[] = " flux1 flux2 zimage sd3 ", textual[] = " flux2 zimage ";
    static const char *const guided[] = {"guidance_low", "guidance_high", "guidance_alternate",
                                         "guidance_skip", "guidance_rescale"};
    const char *name = f->name;
    bool single = model->guide != PICTOR_GUIDE_WORDS || p->guidance == 1;
    for (size_t i = 0; i < sizeof guided / sizeof *guided; i++)
        if (strcmp(name, guided[i]) == 0 && single)
            return "without guidance";
    if (strcmp(name, "clip_skip") == 0)
        return is_one_of(model, flows) || is_one_of(model, " pixels ")
                   ? "on a model of this family"
                   : NULL;
    if (strcmp(name, "comma_backtrack") == 0)
        return is_one_of(model, textual) ? "on a model that reads no chunks" : NULL;
    if (strcmp(name, "reuse_every") == 0 || strcmp(name, "token_merging") == 0)
        return is_one_of(model, flows) || is_one_of(model, " pixels ")
                   ? "on a model of this family"
                   : NULL;
    if (strcmp(name, "mask_weight") == 0 && *model->architecture && !model->masked)
        return "on a model that is not shown the mask";
    if (strcmp(name, "image_guidance") == 0 && *model->architecture && model->image_guidance == 0)
        return "on a model that does not edit by guidance";
    if (strcmp(name, "eta") == 0)
        return any_sampler(p, has_eta) ? NULL : "with this sampler";
    if (strcmp(name, "noise_seed_delta") == 0)
        return any_sampler(p, draws_noise) ? NULL : "with this sampler";
    return NULL;
}

static bool why(const struct job_field *f, const struct intake_model *model,
                const struct job_params *p, char out[MESSAGE])
{
    const char *reason = NULL;
    if (f->about == JOB_STATE || f->type == JOB_SEED)
        return false;
    if (!is_told(model, f->name)) {
        say_untold(model, out);
        return true;
    }
    if (!job_field_applies(f, p)) {
        snprintf(out, MESSAGE, "%s", notes_part(f));
        return true;
    }
    if (strcmp(f->name, "refiner_pass") == 0 && p->hires_width <= 0)
        reason = "without a second pass (hires_width)";
    else if (strcmp(f->name, "quality") == 0 && p->format == IMAGE_PNG && !p->any_format &&
             p->quality != 100) /* which OpenAI's API means where nothing is said */
        reason = "on PNG";
    else if (!model->upstream)
        reason = of_model(f, model, p);
    if (reason)
        snprintf(out, MESSAGE, "no effect %s", reason);
    return reason != NULL;
}

/* ---- all of them ---- */

void notes_given(const struct job_params *p, bool given[JOB_TABLE_MAX])
{
    struct job_params usual;
    job_params_init(&usual);
    for (size_t i = 0; i < job_table.count; i++) {
        const struct job_field *f = &job_table.fields[i];
        given[i] = !job_field_is_empty(f, p);
        if (!given[i] || f->type == JOB_SEED)
            continue;
        if (f->type == JOB_TEXT) {
            const char *text = job_field_text(f, p);
            given[i] = *text && (!f->text || strcmp(text, f->text) != 0);
        } else if (!job_field_is_empty(f, &usual)) {
            given[i] = job_field_number(f, p) != job_field_number(f, &usual);
        }
    }
}

bool notes_add(const struct intake_model *model, const bool given[JOB_TABLE_MAX],
               struct job_params *p, struct err *err)
{
    char message[MESSAGE];
    for (size_t i = 0; i < job_table.count; i++)
        if (given[i] && why(&job_table.fields[i], model, p, message) &&
            !intake_note(p, job_table.fields[i].name, message, err))
            return false;
    return true;
}

bool notes_seed(const struct intake_model *model, struct job_params *p, struct err *err)
{
    char message[MESSAGE];
    bool placed = model->told != REGISTRY_TOLD_WORKFLOW || !model->placeholders ||
                  words_have(model->placeholders, "seed");
    if (model->told != REGISTRY_TOLD_WORDS && placed)
        return true;
    say_untold(model, message);
    return intake_note(p, "seed", message, err);
}
