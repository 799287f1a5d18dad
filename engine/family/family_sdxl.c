/* family_sdxl.c: Stable Diffusion XL (Podell et al. 2023) and its refiner. SDXL reads a prompt by
 * OpenAI's ViT-L and OpenCLIP's ViT-bigG, the refiner by the latter alone, both before their last
 * layer; the UNet is told the picture's size besides (the refiner: how beautiful it is). */
#include "engine/family/stable.h"
#include "engine/text/tokenizer.h"

static bool has_label(const struct checkpoint *cp)
{
    return checkpoint_has(cp, "model.diffusion_model.input_blocks.") &&
           checkpoint_has(cp, "model.diffusion_model.label_emb.") &&
           checkpoint_has(cp, CLIP_SECOND) && !checkpoint_has(cp, "control_model.");
}

static bool is_base(const struct checkpoint *cp)
{
    return has_label(cp) && checkpoint_has(cp, CLIP_FIRST);
}

static bool is_refiner(const struct checkpoint *cp)
{
    return has_label(cp) && !checkpoint_has(cp, CLIP_FIRST);
}

static bool read_config(const struct checkpoint *cp, struct stable_config *c, struct err *err)
{
    static const char *const base[] = {CLIP_FIRST, CLIP_SECOND, NULL};
    bool refiner = is_refiner(cp);
    if (!stable_read(cp, refiner ? "SDXL refiner" : "SDXL", refiner ? base + 1 : base, c, err))
        return false;
    int last = c->encoders - 1; /* OpenCLIP's, which pads with 0 */
    c->clip[0].act = ACT_QUICK_GELU;
    c->pad[0] = TOKENIZER_END;
    c->clip[last].act = ACT_GELU;
    c->pad[last] = 0;
    for (int i = 0; i <= last; i++) {
        c->clip[i].bare = true;
        c->skip[i] = 2;
    }
    c->unet.head_channels = 64;
    c->vae.scale = 0.13025f;
    c->zero_empty = true;
    c->sdxl = true;
    if (!stable_says_prediction(cp, &c->prediction))
        c->prediction = SCHEDULE_NOISE;
    c->zero_terminal =
        checkpoint_find(cp, "ztsnr") || checkpoint_scheduler_is(cp, "rescale_betas_zero_snr");
    return stable_check_layers(c, err);
}

static bool read_both(const struct checkpoint *cp, struct stable_config *c,
                      struct family_facts *facts, struct err *err)
{
    if (!read_config(cp, c, err))
        return false;
    *facts = stable_facts(c);
    family_describe(cp, is_refiner(cp) ? &family_sdxl_refiner : &family_sdxl, 1024, 7, 20, facts);
    return true;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct stable_config c;
    return read_both(cp, &c, facts, err);
}

static struct family_model *open_model(struct device *dev, const struct checkpoint *cp,
                                       struct err *err)
{
    struct stable_config c;
    struct family_facts facts;
    if (!read_both(cp, &c, &facts, err))
        return NULL;
    return stable_open(is_refiner(cp) ? &family_sdxl_refiner : &family_sdxl, dev, cp, &c, &facts,
                       err);
}

/* SDXL's sizes. */
static struct family_model *sketch(struct device *dev, struct err *err)
{
    static const struct stable_config config = {
        .encoders = 2,
        .clip = {{.width = 768}, {.width = 1280, .projection = 1280}},
        .unet = {.in_channels = 4,
                 .out_channels = 4,
                 .model_channels = 320,
                 .time_dim = 1280,
                 .levels = 3,
                 .channels = {320, 640, 1280},
                 .res_blocks = 2,
                 .depth = {0, 2, 10},
                 .mid_depth = 10,
                 .context_dim = 2048,
                 .label_dim = 2816,
                 .head_channels = 64},
        .vae = {.channels = 4,
                .patch = 1,
                .quant = true,
                .post_quant = true,
                .levels = 4,
                .encoder_channels = {128, 256, 512, 512},
                .decoder_channels = {128, 256, 512, 512},
                .encoder_blocks = 2,
                .decoder_blocks = 3,
                .scale = 0.13025f},
        .numbers = 6,
        .number_dim = 256,
    };
    return stable_sketch(&family_sdxl, dev, &config, err);
}

#define SHARED                                                                                     \
    .latent = "sdxl", .read = read_facts, .open = open_model, .free = stable_free,                 \
    .merge = stable_merge, .control = stable_model_control, .embed = stable_embed,                 \
    .schedule = stable_schedule, .words = stable_words, .call_new = stable_call_new,               \
    .call_first = stable_call_first, .call_free = stable_call_free, .predict = stable_predict,     \
    .beside = stable_beside, .decode = stable_decode, .encode = stable_encode,                     \
    .tiny = stable_model_tiny, .preview = stable_preview, .rest = stable_rest, .wake = stable_wake

const struct family family_sdxl = {.name = "sdxl", .recognises = is_base, .sketch = sketch, SHARED};
const struct family family_sdxl_refiner = {
    .name = "sdxl-refiner", .recognises = is_refiner, SHARED};
