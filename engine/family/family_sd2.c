/* family_sd2.c: Stable Diffusion 2.x: the text encoder is OpenCLIP's ViT-H, read before its last
 * layer; heads are 64 wide; the models for 768x768 predict v. */
#include <math.h>

#include "engine/family/stable.h"

/* Above this the biases are those of a network that predicts v: 0.09 is what tells published models
 * apart (ComfyUI's figure). */
#define V_SPREAD 0.09
#define SPREAD_ROOM 32768 /* bytes; SD 2.x has 320 numbers */

static bool recognises(const struct checkpoint *cp)
{
    return stable_is_unet(cp, true);
}

/* 0 when the numbers cannot be read. */
static double spread(const struct raw_tensor *t)
{
    double sum = 0, squares = 0;
    size_t n = t->shape[0];
    char numbers[SPREAD_ROOM];
    struct raw_tensor own = *t;
    if (t->bytes > sizeof numbers || !raw_tensor_read(t, numbers, NULL))
        return 0;
    own.data = numbers;
    for (size_t i = 0; i < n; i++) {
        float v;
        raw_tensor_floats(&own, i, 1, &v);
        sum += v;
        squares += (double)v * v;
    }
    return sqrt(fmax(0, squares / (double)n - sum / (double)n * (sum / (double)n)));
}

/* The biases in the last block's transformer tell. */
static bool looks_like_v(const struct checkpoint *cp, const struct unet_config *unet)
{
    const struct raw_tensor *bias = checkpoint_findf(
        cp, "model.diffusion_model.output_blocks.%d.1.transformer_blocks.0.norm1.bias",
        unet->levels * (unet->res_blocks + 1) - 1);
    return bias && bias->ndim == 1 && bias->shape[0] > 0 && dtype_size(bias->dtype) > 0 &&
           spread(bias) > V_SPREAD;
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
        c->prediction = looks_like_v(cp, &c->unet) ? SCHEDULE_V : SCHEDULE_NOISE;
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
