/* family_zimage.c: Z-Image (Tongyi-MAI 2025), which has Qwen3 4B as text encoder and FLUX.1's
 * autoencoder. Z-Image-Turbo paints in eight steps without guidance, the model that it was
 * distilled from in fifty with it. */
#include <stdlib.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/merged.h"
#include "engine/family/qwen_words.h"
#include "engine/model/vae.h"
#include "engine/model/zimage.h"

#define ROOT "model.diffusion_model."
#define CHANNELS 16
#define FACTOR 8
/* Of FLUX.1's autoencoder (black-forest-labs/flux). */
#define SCALE 0.3611f
#define SHIFT 0.1159f
/* How far times are shifted to the noise, where no folder says it; and from where on one that says
 * it is not distilled: Tongyi-MAI's say 3 and 6. */
#define TIME_SHIFT 3.0
#define TIME_SHIFT_BASE 4.5

struct zimage_sizes {
    struct zimage_config network;
    struct qwen3_config text;
    struct vae_config vae;
    bool distilled;
    double shift;
};

struct model {
    struct family_model base;
    struct zimage_sizes sizes;
    struct device *dev; /* borrowed, as the checkpoint is */
    const struct checkpoint *cp;
    struct weights weights;
    struct merged merged;
    struct zimage *network;
    struct qwen3 *text;
    struct qwen_words *words;
    struct vae *vae;
};

struct family_call {
    struct zimage_call calls[2]; /* of each prompt */
    int b;
};

static const struct model *model_of(const struct family_model *m)
{
    return (const struct model *)m;
}

bool family_zimage_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "cap_embedder.1.weight") &&
           checkpoint_find(cp, ROOT "layers.0.adaLN_modulation.0.weight") &&
           checkpoint_find(cp, ROOT "x_pad_token");
}

/* ---- opening ---- */

/* No file says it but by its name: what is called as the publisher calls the model, and not
 * "turbo", is not distilled; others are made of Turbo. */
static bool is_distilled(const struct checkpoint *cp, double shift)
{
    static const char *const names[] = {"z_image", "z-image", "zimage", "z image"};
    if (shift >= TIME_SHIFT_BASE || flow_is_called(cp, "turbo"))
        return shift < TIME_SHIFT_BASE;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flow_is_called(cp, names[i]))
            return false;
    return true;
}

static bool read_network(const struct checkpoint *cp, struct zimage_sizes *s, struct err *err)
{
    if (!zimage_read(cp, &s->network, err))
        return false;
    if (s->network.channels != CHANNELS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a latent of %d channels, found %d", CHANNELS,
                       s->network.channels);
    s->shift = checkpoint_scheduler_number(cp, "shift", TIME_SHIFT);
    if (!(s->shift >= 0.01 && s->shift <= 100))
        return err_set(err, ERR_INVALID,
                       "scheduler_config.json: wanted a shift of 0.01 to 100, found %g", s->shift);
    s->distilled = is_distilled(cp, s->shift);
    return true;
}

static bool read_sizes(const struct checkpoint *cp, struct zimage_sizes *s, struct err *err)
{
    if (!read_network(cp, s, err))
        return false;
    if (!checkpoint_has(cp, QWEN3_ROOT))
        return err_set(err, ERR_INVALID,
                       "this is Z-Image's transformer alone: wanted its text encoder (Qwen3) and "
                       "its VAE besides");
    if (!qwen3_read(cp, QWEN3_ROOT, &s->text, err) || !vae_read_flux(cp, CHANNELS, &s->vae, err))
        return false;
    s->vae.scale = SCALE;
    s->vae.shift = SHIFT;
    if (s->text.layers < 2)
        return err_set(err, ERR_INVALID, "text encoder: wanted 36 layers, found %d",
                       s->text.layers);
    /* All but the last; a file may end with the last that is wanted. */
    s->text.used = s->text.layers >= 35 ? 35 : s->text.layers - 1;
    if (s->network.text != s->text.width)
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels, but the text encoder's have %d: "
                       "wanted Qwen3 4B",
                       s->network.text, s->text.width);
    if (s->text.vocab < QWEN_TOKENIZER_VOCAB)
        return err_set(err, ERR_INVALID, "text encoder: wanted %d tokens or more, found %d",
                       QWEN_TOKENIZER_VOCAB, s->text.vocab);
    return true;
}

/* What a transformer alone tells. */
static struct family_facts facts_of(const struct checkpoint *cp, bool distilled)
{
    struct family_facts facts = {.channels = CHANNELS,
                                 .factor = FACTOR,
                                 .multiple = FLOW_MULTIPLE,
                                 .asked = 8,
                                 .guided = !distilled,
                                 .clip_skips = 12, /* which say nothing */
                                 .flow = true};
    family_describe(cp, &family_zimage, 1024, distilled ? 1 : 4, distilled ? 8 : 50, &facts);
    return facts;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct zimage_sizes s = {0};
    if (!read_sizes(cp, &s, err))
        return false;
    *facts = facts_of(cp, s.distilled);
    return true;
}

bool family_zimage_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                              struct err *err)
{
    struct zimage_sizes s = {0};
    if (!read_network(cp, &s, err))
        return false;
    *facts = facts_of(cp, s.distilled);
    return true;
}

static void free_model(struct family_model *base)
{
    struct model *m = (struct model *)base;
    if (!m)
        return;
    qwen_words_free(m->words);
    qwen3_free(m->text);
    zimage_free(m->network);
    vae_free(m->vae);
    weights_free(&m->weights);
    merged_free(&m->merged);
    free(m);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, int all,
                       float *out)
{
    const struct model *m = ctx;
    zimage_words(o, m->network, states, tokens, all, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct zimage_sizes *s = &m->sizes;
    struct qwen_words_how how = {.chat = QWEN_TOKENIZER_CHAT,
                                 .multiple = ZIMAGE_FILL,
                                 .after = {s->text.used - 1},
                                 .count = 1,
                                 .width = s->network.width,
                                 .take = take_words,
                                 .ctx = m};
    return (m->text = qwen3_load(m->dev, m->cp, &s->text, &m->weights, err)) &&
           (m->network = zimage_load(m->dev, m->cp, &s->network, &m->weights, err)) &&
           (m->vae = vae_load(m->dev, m->cp, &s->vae, &m->weights, err)) &&
           (m->words = qwen_words_new(m->text, &how, err));
}

static struct family_model *open_model(struct device *dev, const struct checkpoint *cp,
                                       struct err *err)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    m->dev = dev;
    m->cp = cp;
    if (read_sizes(cp, &m->sizes, err) && load(m, err)) {
        m->base = (struct family_model){&family_zimage, facts_of(cp, m->sizes.distilled)};
        m->base.facts.info.weight_bytes = m->weights.bytes;
        return &m->base;
    }
    free_model(&m->base);
    return NULL;
}

static bool merge(struct family_model *base, const struct pictor_lora *loras, size_t count,
                  struct err *err)
{
    struct model *m = (struct model *)base;
    bool ok = merged_set(&m->merged, &m->weights, m->dev, m->cp, loras, count, err);
    base->facts.info.weight_bytes = m->weights.bytes;
    qwen_words_forget(m->words); /* the network made something of them */
    return ok;
}

static void rest(struct family_model *base)
{
    struct model *m = (struct model *)base;
    merged_rest(&m->merged, &m->weights);
}

static bool wake(struct family_model *base, struct err *err)
{
    struct model *m = (struct model *)base;
    return merged_wake(&m->merged, &m->weights, m->dev, m->cp, err);
}

/* ---- painting ---- */

static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    schedule_init_flow(out, model_of(m)->sizes.shift);
}

static bool words(struct family_model *base, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    const struct model *m = model_of(base);
    bool done = qwen_words_say(m->words, o, prompt, out, err);
    if (!arena_planning(o->arena))
        flow_release(m->cp, QWEN3_ROOT); /* what is in blocks was read from the file */
    return done;
}

static void call_free(struct family_call *call)
{
    free(call);
}

static struct family_call *call_new(const struct family_model *base, struct ops *o,
                                    const struct family_picture *picture,
                                    const struct family_words *said, int b, struct err *err)
{
    struct family_call *call = calloc(1, sizeof *call);
    if (!call) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        return NULL;
    }
    call->b = b;
    for (int i = 0; i < b; i++)
        zimage_begin(o, model_of(base)->network, said[i].states, said[i].tokens, picture->height,
                     picture->width, &call->calls[i]);
    return call;
}

static struct family_call *call_first(const struct family_call *call, struct err *err)
{
    struct family_call *first = flow_copy(call, sizeof *call, err);
    if (first)
        first->b = 1;
    return first;
}

static void predict(const struct family_model *base, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y)
{
    for (int i = 0; i < call->b; i++) {
        const struct zimage_call *c = &call->calls[i];
        size_t n = (size_t)c->height * (size_t)c->width * CHANNELS * (size_t)i;
        bool real = !arena_planning(o->arena);
        zimage_forward(o, model_of(base)->network, c, real ? x + n : x, t, real ? y + n : y);
    }
}

static void decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture)
{
    vae_decode(o, model_of(m)->vae, latent, h, w, picture);
}

static void encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent)
{
    vae_encode(o, model_of(m)->vae, picture, h, w, latent);
}

const struct family family_zimage = {
    .name = "zimage",
    .latent = "flux1",
    .recognises = family_zimage_alone,
    .read = read_facts,
    .open = open_model,
    .free = free_model,
    .merge = merge,
    .rest = rest,
    .wake = wake,
    .schedule = schedule,
    .fit = flow_fit,
    .words = words,
    .call_new = call_new,
    .call_first = call_first,
    .call_free = call_free,
    .predict = predict,
    .decode = decode,
    .encode = encode,
};
