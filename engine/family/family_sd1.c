/* family_sd1.c: Stable Diffusion 1.x, and the built-in model, which is one. */
#include "engine/family/stable.h"
#include "engine/text/tokenizer.h"

static bool recognises(const struct checkpoint *cp)
{
    return stable_is_unet(cp, false);
}

static bool read_config(const struct checkpoint *cp, struct stable_config *c, struct err *err)
{
    static const char *const roots[] = {CLIP_FIRST, NULL};
    if (!stable_read(cp, "SD 1.x", roots, c, err))
        return false;
    c->clip[0].act = ACT_QUICK_GELU;
    c->unet.heads = 8;
    c->vae.scale = 0.18215f;
    c->pad[0] = TOKENIZER_END;
    if (!stable_says_prediction(cp, &c->prediction))
        c->prediction = SCHEDULE_NOISE;
    c->compose_side = (int)family_number(cp, "pictor.compose", 64, 4096, 0);
    c->detail_strength = family_number(cp, "pictor.detail", 0, 1, 0);
    return true;
}

static bool read_both(const struct checkpoint *cp, struct stable_config *c,
                      struct family_facts *facts, struct err *err)
{
    if (!read_config(cp, c, err))
        return false;
    *facts = stable_facts(c);
    family_describe(cp, &family_sd1, 512, 7, 20, facts);
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
    return stable_open(&family_sd1, dev, cp, &c, &facts, err);
}

/* SD 1.5's sizes. */
static struct family_model *sketch(struct device *dev, struct err *err)
{
    static const struct stable_config config = {
        .unet = {.in_channels = 4,
                 .out_channels = 4,
                 .model_channels = 320,
                 .time_dim = 1280,
                 .levels = 4,
                 .channels = {320, 640, 1280, 1280},
                 .res_blocks = 2,
                 .depth = {1, 1, 1, 0},
                 .mid_depth = 1,
                 .context_dim = 768,
                 .heads = 8},
        .vae = {.channels = 4,
                .patch = 1,
                .quant = true,
                .post_quant = true,
                .levels = 4,
                .encoder_channels = {128, 256, 512, 512},
                .decoder_channels = {128, 256, 512, 512},
                .encoder_blocks = 2,
                .decoder_blocks = 3,
                .scale = 0.18215f},
    };
    return stable_sketch(&family_sd1, dev, &config, err);
}

const struct family family_sd1 = {
    .name = "sd1",
    .latent = "sd",
    .recognises = recognises,
    .read = read_facts,
    .open = open_model,
    .free = stable_free,
    .merge = stable_merge,
    .control = stable_model_control,
    .embed = stable_embed,
    .tiny = stable_model_tiny,
    .preview = stable_preview,
    .rest = stable_rest,
    .wake = stable_wake,
    .sketch = sketch,
    .schedule = stable_schedule,
    .fit = stable_fit,
    .words = stable_words,
    .call_new = stable_call_new,
    .call_first = stable_call_first,
    .call_free = stable_call_free,
    .predict = stable_predict,
    .beside = stable_beside,
    .decode = stable_decode,
    .encode = stable_encode,
};
