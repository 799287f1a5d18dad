/* family_zimage.c: Z-Image (Tongyi-MAI 2025), which has Qwen3 4B as text encoder and FLUX.1's
 * autoencoder. Z-Image-Turbo paints in eight steps without guidance, the model that it was
 * distilled from in fifty with it. */

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/qwen_words.h"
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
    struct flow_model flow;
    struct zimage_sizes sizes;
    struct zimage *network;
    struct qwen3 *text;
    struct qwen_words *words;
};

/* Of either of the structs that it begins with. */
static const struct model *of(const void *m)
{
    return m;
}

bool family_zimage_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "cap_embedder.1.weight") &&
           checkpoint_find(cp, ROOT "layers.0.adaLN_modulation.0.weight") &&
           checkpoint_find(cp, ROOT "x_pad_token");
}

/* ---- a prompt ---- */

static void begin(const struct flow_model *m, struct ops *o, const struct family_picture *picture,
                  const struct family_words *words, void *call)
{
    zimage_begin(o, of(m)->network, words->states, words->tokens, picture->height, picture->width,
                 call);
}

static void forget(struct flow_model *m)
{
    qwen_words_forget(((struct model *)m)->words);
}

static void forward(const struct flow_model *m, struct ops *o, const void *call, const float *x,
                    double t, float *y)
{
    zimage_forward(o, of(m)->network, call, x, t, y);
}

static const struct flow_network network = {
    .call = sizeof(struct zimage_call),
    .begin = begin,
    .forward = forward,
    .forget = forget,
};

/* ---- opening ---- */

/* A folder says it by how its times are shifted; of a file, where nobody does, the name: what is
 * called as the publisher calls the model, and not "turbo", is not distilled; others are made of
 * Turbo. */
static bool is_distilled(const struct checkpoint *cp, double shift)
{
    static const char *const names[] = {"z_image", "z-image", "zimage", "z image"};
    bool own;
    enum pictor_variant said = family_variant(cp, &own);
    if (said && !checkpoint_has_pipeline(cp))
        return said == PICTOR_VARIANT_DISTILLED;
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
    const struct family_usual *usual = distilled ? &family_zimage.distilled : &family_zimage.base;
    family_describe(cp, &family_zimage, 1024, usual->guidance, usual->steps, &facts);
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
    flow_free(&m->flow);
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
    struct flow_model *f = &m->flow;
    struct qwen_words_how how = {.chat = family_zimage.chat,
                                 .multiple = ZIMAGE_FILL,
                                 .after = {s->text.used - 1},
                                 .count = 1,
                                 .width = s->network.width,
                                 .take = take_words,
                                 .begin = flow_begin_words,
                                 .ctx = m};
    return (m->text = qwen3_load(f->dev, f->cp, &s->text, &f->weights, err)) &&
           (m->network = zimage_load(f->dev, f->cp, &s->network, &f->weights, err)) &&
           (f->vae = vae_load(f->dev, f->cp, &s->vae, &f->weights, err)) &&
           (m->words = qwen_words_new(m->text, &how, err));
}

static struct family_model *open_model(struct device *dev, const struct checkpoint *cp,
                                       struct err *err)
{
    struct model *m = (struct model *)flow_new(sizeof *m, &network, dev, cp, err);
    if (!m)
        return NULL;
    if (read_sizes(cp, &m->sizes, err) && load(m, err)) {
        struct family_facts facts = facts_of(cp, m->sizes.distilled);
        return flow_opened(&m->flow, &family_zimage, &facts);
    }
    free_model(&m->flow.base);
    return NULL;
}

/* ---- painting ---- */

static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    schedule_init_flow(out, of(m)->sizes.shift);
}

static bool words(struct family_model *base, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    const struct model *m = of(base);
    bool done = qwen_words_say(m->words, o, prompt, out, err);
    if (!arena_planning(o->arena))
        flow_release(m->flow.cp, QWEN3_ROOT); /* what is in blocks was read from the file */
    return done;
}

const struct family family_zimage = {
    .name = "zimage",
    .latent = "flux1",
    .reader = FAMILY_READS_QWEN,
    .chat = QWEN_TOKENIZER_CHAT,
    .distilled = {1, 8},
    .base = {4, 50},
    .recognises = family_zimage_alone,
    .read = read_facts,
    .open = open_model,
    .free = free_model,
    .merge = flow_merge,
    .rest = flow_rest,
    .wake = flow_wake,
    .schedule = schedule,
    .fit = flow_fit,
    .words = words,
    .call_new = flow_call_new,
    .call_first = flow_call_first,
    .call_free = flow_call_free,
    .predict = flow_predict,
    .decode = flow_decode,
    .encode = flow_encode,
};
