/* family.c: which families there are, and what is known not to be one of them. */
#include "engine/family/family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/family/preset.h"
#include "engine/text/chunk.h"

static const struct family *const families[] = {
    &family_pixels, &family_sd1,   &family_sd2,   &family_sdxl,   &family_sdxl_refiner,
    &family_sd3,    &family_flux1, &family_flux2, &family_zimage,
};

#define NOT_RUN ", which pictor does not run"
#define LIKE_FLUX                                                                                  \
    "a transformer with FLUX's blocks that is neither FLUX.1 nor FLUX.2 [klein]" NOT_RUN
#define LIKE_ZIMAGE "a transformer of Lumina's kind that is not Z-Image" NOT_RUN
#define LONE                                                                                       \
    "a UNet alone: wanted text encoders and a VAE beside it, or, in the diffusers layout, the "    \
    "folder that holds it"
#define LORA "a LoRA: it belongs into the folder of LoRAs, and is named in prompts"

/* What is known by a name but is no model here. The first that fits is the answer. */
static const struct {
    const char *prefix, *what;
} others[] = {
    {"model.diffusion_model.label_emb.",
     "a UNet that takes labels, without SDXL's text encoders" NOT_RUN},
    {"model.diffusion_model.joint_blocks.",
     "a transformer with Stable Diffusion 3's blocks that is not whole: wanted its first block and "
     "its table of positions (pos_embed), too"},
    {"joint_transformer_blocks.", "AuraFlow's transformer" NOT_RUN},
    {"model.diffusion_model.distilled_guidance_layer.", "Chroma, which has no modulations" NOT_RUN},
    {"distilled_guidance_layer.", "Chroma, which has no modulations" NOT_RUN},
    {"model.diffusion_model.double_blocks.", LIKE_FLUX},
    {"double_blocks.", LIKE_FLUX},
    {"model.diffusion_model.transformer_blocks.0.img_mod.", "Qwen-Image" NOT_RUN},
    {"transformer_blocks.0.img_mod.", "Qwen-Image" NOT_RUN},
    {"model.diffusion_model.llm_adapter.", "Anima" NOT_RUN},
    {"net.llm_adapter.", "Anima" NOT_RUN},
    {"llm_adapter.", "Anima" NOT_RUN},
    {"model.diffusion_model.txtfusion.", "Krea 2" NOT_RUN},
    {"txtfusion.", "Krea 2" NOT_RUN},
    {"model.diffusion_model.cap_embedder.", LIKE_ZIMAGE},
    {"cap_embedder.", LIKE_ZIMAGE},
    {"model_ema.", "a checkpoint of averaged weights alone (model_ema.*)" NOT_RUN},
    {"control_model.", "a ControlNet" NOT_RUN},
    {"lora_", LORA},
    {"unet.", LORA},
    {"text_encoder.", LORA},
    {"base_model.model.", LORA},
    {"input_blocks.", LONE},
    {"down_blocks.", LONE},
    {"decoder.", "a VAE alone" NOT_RUN},
};

const struct family *family_of(const struct checkpoint *cp, struct err *err)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i]->recognises(cp))
            return families[i];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (checkpoint_has(cp, others[i].prefix)) {
            err_set(err, ERR_UNSUPPORTED, "this is %s", others[i].what);
            return NULL;
        }
    err_set(err, ERR_INVALID,
            "this is no model of a kind that pictor runs: wanted tensors of Stable Diffusion "
            "(model.diffusion_model.input_blocks.* or joint_blocks.*), FLUX (double_blocks.*) or "
            "Z-Image (cap_embedder.*), found none");
    return NULL;
}

const struct family *family_named(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i]->name, name) == 0)
            return families[i];
    return NULL;
}

const char *pictor_family_name(size_t index)
{
    return index < sizeof families / sizeof *families ? families[index]->name : NULL;
}

bool pictor_latents_alike(const char *family, const char *other)
{
    const struct family *a = family_named(family), *b = family_named(other);
    return !a || !b || strcmp(a->latent, b->latent) == 0;
}

static bool is_called(const char *text, const char *word)
{
    for (; text && *text; text++)
        if (strncasecmp(text, word, strlen(word)) == 0)
            return true;
    return false;
}

enum pictor_variant family_variant(const struct checkpoint *cp, bool *own)
{
    const char *said = checkpoint_metadata(cp, "pictor.distilled");
    const char *name = checkpoint_metadata(cp, "general.name");
    bool distilled = (said && strcmp(said, "true") == 0) || is_called(name, "distilled") ||
                     is_called(name, "turbo");
    bool base = (said && strcmp(said, "false") == 0) || is_called(name, "base");
    *own = distilled != base;
    return !*own       ? checkpoint_variant(cp)
           : distilled ? PICTOR_VARIANT_DISTILLED
                       : PICTOR_VARIANT_BASE;
}

void pictor_model_vary(struct pictor_model_info *info, enum pictor_variant variant)
{
    const struct family *family = family_named(info->architecture);
    if (!family || !info->variable || variant == PICTOR_VARIANT_UNSAID)
        return;
    bool distilled = variant == PICTOR_VARIANT_DISTILLED;
    const struct family_usual *usual = distilled ? &family->distilled : &family->base;
    info->guide = distilled ? PICTOR_GUIDE_NONE : PICTOR_GUIDE_WORDS;
    info->default_guidance = usual->guidance;
    info->default_steps = usual->steps;
}

double family_number(const struct checkpoint *cp, const char *key, double low, double high,
                     double otherwise)
{
    const char *text = checkpoint_metadata(cp, key);
    char *end;
    double v = text ? strtod(text, &end) : otherwise;
    return text && (*end || !(v >= low && v <= high)) ? otherwise : v;
}

void family_describe(const struct checkpoint *cp, const struct family *family, int side,
                     float guidance, int steps, struct family_facts *facts)
{
    struct pictor_model_info *i = &facts->info;
    const char *title = checkpoint_metadata(cp, "modelspec.title");
    const char *size = checkpoint_metadata(cp, "modelspec.resolution");
    snprintf(i->architecture, sizeof i->architecture, "%s", family->name);
    snprintf(i->title, sizeof i->title, "%s", title ? title : "");
    struct preset preset;
    i->flow = facts->flow;
    bool own;
    family_variant(cp, &own);
    i->variable = family->base.steps && !own && !checkpoint_has_pipeline(cp);
    i->guide = facts->guided ? PICTOR_GUIDE_WORDS : PICTOR_GUIDE_NONE;
    if (facts->flow) {
        snprintf(i->default_sampler, sizeof i->default_sampler, "Euler");
        snprintf(i->default_scheduler, sizeof i->default_scheduler, "simple");
    } else if (preset_of(cp, &preset)) {
        side = preset.side ? preset.side : side;
        guidance = preset.guidance;
        steps = preset.steps;
        snprintf(i->default_sampler, sizeof i->default_sampler, "%s", preset.sampler);
        snprintf(i->default_scheduler, sizeof i->default_scheduler, "%s", preset.scheduler);
    }
    i->native_width = i->native_height = side;
    int w, h;
    if (size && sscanf(size, "%dx%d", &w, &h) == 2 && w >= 64 && w <= 4096 && h >= 64 &&
        h <= 4096 && w % facts->multiple == 0 && h % facts->multiple == 0) {
        i->native_width = w;
        i->native_height = h;
    }
    i->default_guidance = (float)family_number(cp, "pictor.guidance", 1, 30, guidance);
    i->clip_skips = facts->clip_skips;
    i->default_steps = (int)family_number(cp, "pictor.steps", 1, 1000, steps);
}

struct chunk_style family_style(const struct pictor_params *p)
{
    return (struct chunk_style){
        .backtrack = p->comma_backtrack,
        .literal = p->syntax == PICTOR_SYNTAX_PLAIN || p->emphasis == PICTOR_EMPHASIS_NONE,
        .unweighted = p->emphasis == PICTOR_EMPHASIS_IGNORE,
    };
}

static int calls_a_step(const char *sampler)
{
    const struct pictor_sampler_info *info = pictor_sampler_find(sampler, NULL);
    return info && info->second_order ? 2 : 1;
}

int family_passes(const struct pictor_params *p, struct editing_pass out[2])
{
    int calls = calls_a_step(p->sampler), again = calls;
    if (p->hires_sampler && *p->hires_sampler)
        again = calls_a_step(p->hires_sampler);
    if (p->syntax != PICTOR_SYNTAX_WEBUI)
        return 0;
    out[0] = (struct editing_pass){.calls = calls * p->steps, .old = p->old_editing};
    if (p->hires_width <= 0)
        return 1;
    /* Of old, the second pass took what was made for the first one. */
    out[1] = p->old_editing ? out[0]
                            : (struct editing_pass){
                                  .calls = again * (p->hires_steps ? p->hires_steps : p->steps),
                                  .before = out[0].calls,
                              };
    return 2;
}

size_t family_chunks(int tokens)
{
    return ((size_t)tokens + CHUNK_LENGTH - 1) / CHUNK_LENGTH;
}

bool family_chunks_add(size_t *chunks, size_t texts, size_t tokens, struct err *err)
{
    *chunks += texts * family_chunks((int)tokens);
    return *chunks <= FAMILY_CHUNKS ||
           err_set(err, ERR_TOO_LARGE,
                   "wanted at most %d chunks of %d tokens in all that the prompt and the negative "
                   "prompt become, got more",
                   FAMILY_CHUNKS, CHUNK_LENGTH - 2);
}
