/* family_sd2.c: Stable Diffusion 2.x: the text encoder is OpenCLIP's ViT-H, read before its last
 * layer; heads are 64 wide; the models for 768x768 predict v. */
#include "engine/family/stable.h"

static bool recognises(const struct checkpoint *cp)
{
    return stable_is_unet(cp, true);
}

static bool read_config(const struct checkpoint *cp, struct stable_config *c, struct err *err)
{
    static const char *const roots[] = {CLIP_FIRST, NULL};
    if (!stable_read(cp, "SD 2.x", roots, c, err))
        return false;
    c->clip[0].act = ACT_GELU;
    c->unet.head_channels = 64;
    c->vae.scale = 0.18215f;
    /* A folder's text encoder ends with the layer that is read. */
    c->skip[0] = c->clip[0].fused ? 2 : 1;
    if (!stable_says_prediction(cp, &c->prediction))
        c->prediction = stable_looks_like_v(cp, &c->unet) ? SCHEDULE_V : SCHEDULE_NOISE;
    return stable_check_layers(c, err);
}

static bool read_both(const struct checkpoint *cp, struct stable_config *c,
                      struct family_facts *facts, struct err *err)
{
    if (!read_config(cp, c, err))
        return false;
    *facts = stable_facts(c);
    family_describe(cp, &family_sd2, c->prediction == SCHEDULE_V ? 768 : 512, 7, 20, facts);
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
    return stable_open(&family_sd2, dev, cp, &c, &facts, err);
}

const struct family family_sd2 = {
    .name = "sd2",
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
    .schedule = stable_schedule,
    .words = stable_words,
    .call_new = stable_call_new,
    .call_first = stable_call_first,
    .call_free = stable_call_free,
    .predict = stable_predict,
    .beside = stable_beside,
    .decode = stable_decode,
    .encode = stable_encode,
};
