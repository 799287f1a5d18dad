/* family_flux1.c: FLUX.1 (Black Forest Labs 2024): [schnell], which paints in four steps, and
 * [dev], which is told how much it is guided. Both read a prompt by T5, and as a whole by OpenAI's
 * CLIP. */
#include <math.h>
#include <stdlib.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/merged.h"
#include "engine/family/t5_words.h"
#include "engine/model/flux1.h"
#include "engine/model/vae.h"
#include "engine/text/tokenizer.h"

#define ROOT "model.diffusion_model."
#define CHANNELS 16
#define WORDS_DEV 512 /* tokens of a prompt, filled up: all of them count */
#define WORDS_SCHNELL 256
/* Shifts of [dev]'s times: the exponents at 256 and 4096 tokens of a picture. */
#define TOKENS_LOW 256
#define TOKENS_HIGH 4096
#define SHIFT_LOW 0.5
#define SHIFT_HIGH 1.15

struct flux1_sizes {
    struct flux1_config network;
    struct t5_config t5;
    struct clip_config clip;
    struct vae_config vae;
};

struct model {
    struct family_model base;
    struct flux1_sizes sizes;
    struct device *dev; /* borrowed, as the checkpoint is */
    const struct checkpoint *cp;
    struct weights weights;
    struct merged merged;
    struct flux1 *network;
    struct t5 *t5;
    struct clip *clip;
    struct t5_words *words;
    struct vae *vae;
    bool shifts; /* by the picture's size; else by `shift` */
    double shift, shift_low, shift_high;
};

struct family_call {
    struct flux1_call calls[2]; /* of each prompt */
    int b;
};

static const struct model *model_of(const struct family_model *m)
{
    return (const struct model *)m;
}

bool family_flux1_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "double_blocks.0.img_mod.lin.weight") &&
           checkpoint_find(cp, ROOT "double_blocks.0.img_mlp.0.weight") &&
           checkpoint_find(cp, ROOT "vector_in.in_layer.weight");
}

/* ---- opening ---- */

static bool read_network(const struct checkpoint *cp, struct flux1_config *c, struct err *err)
{
    if (!flux1_read(cp, c, err))
        return false;
    if (c->channels == CHANNELS && c->takes > c->channels)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is a FLUX.1 that is shown %d channels beside the latent (Fill, Canny "
                       "or Depth), which pictor does not run: wanted FLUX.1 [schnell] or [dev]",
                       4 * (c->takes - c->channels));
    if (c->channels != CHANNELS || c->takes != CHANNELS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a latent of %d channels, found %d in and %d out",
                       CHANNELS, c->takes, c->channels);
    return true;
}

static bool read_sizes(const struct checkpoint *cp, struct flux1_sizes *s, struct err *err)
{
    if (!read_network(cp, &s->network, err))
        return false;
    if (!checkpoint_has(cp, T5_ROOT) || !checkpoint_has(cp, CLIP_FIRST))
        return err_set(err, ERR_INVALID,
                       "this is FLUX.1's transformer without %s: wanted T5-XXL, CLIP-L and a VAE "
                       "besides",
                       checkpoint_has(cp, T5_ROOT) ? "CLIP-L" : "T5");
    if (!t5_read(cp, &s->t5, err) || !clip_read(cp, CLIP_FIRST, &s->clip, err) ||
        !vae_read_flux(cp, CHANNELS, &s->vae, err))
        return false;
    s->clip.act = ACT_QUICK_GELU;
    s->clip.plain = true;
    s->vae.scale = 0.3611f;
    s->vae.shift = 0.1159f;
    if (s->clip.layers < 2)
        return err_set(err, ERR_INVALID, "text encoder: wanted 2 layers or more, found %d",
                       s->clip.layers);
    if (s->network.text != s->t5.width || s->network.pooled != s->clip.width)
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels and %d of the whole prompt, but T5 "
                       "has %d and CLIP %d",
                       s->network.text, s->network.pooled, s->t5.width, s->clip.width);
    return true;
}

/* What a transformer alone tells. */
static struct family_facts facts_of(const struct checkpoint *cp, bool guided)
{
    struct family_facts facts = {.channels = CHANNELS,
                                 .factor = 8,
                                 .multiple = FLOW_MULTIPLE,
                                 .asked = 8,
                                 .clip_skips = 12, /* which say nothing */
                                 .flow = true};
    family_describe(cp, &family_flux1, 1024, guided ? 3.5f : 1, guided ? 28 : 4, &facts);
    return facts;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct flux1_sizes s = {0};
    if (!read_sizes(cp, &s, err))
        return false;
    *facts = facts_of(cp, s.network.guided);
    return true;
}

bool family_flux1_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                             struct err *err)
{
    struct flux1_config c;
    if (!read_network(cp, &c, err))
        return false;
    *facts = facts_of(cp, c.guided);
    return true;
}

static void free_model(struct family_model *base)
{
    struct model *m = (struct model *)base;
    if (!m)
        return;
    merged_free(&m->merged);
    t5_words_free(m->words);
    t5_free(m->t5);
    clip_free(m->clip);
    flux1_free(m->network);
    vae_free(m->vae);
    weights_free(&m->weights);
    free(m);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, float *out)
{
    const struct model *m = ctx;
    flux1_words(o, m->network, states, tokens, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct flux1_sizes *s = &m->sizes;
    if (!(m->t5 = t5_load(m->dev, m->cp, &s->t5, &m->weights, err)) ||
        !(m->clip = clip_load(m->dev, m->cp, &s->clip, &m->weights, err)) ||
        !(m->network = flux1_load(m->dev, m->cp, &s->network, &m->weights, err)) ||
        !(m->vae = vae_load(m->dev, m->cp, &s->vae, &m->weights, err)))
        return false;
    struct t5_words_how how = {.t5 = m->t5,
                               .padded = s->network.guided ? WORDS_DEV : WORDS_SCHNELL,
                               .clips = {m->clip},
                               .pads = {TOKENIZER_END},
                               .clip_count = 1,
                               .text = s->network.text,
                               .width = s->network.width,
                               .take = take_words,
                               .ctx = m};
    return (m->words = t5_words_new(m->cp, &how, err));
}

/* A folder says how its times are shifted; of other files [dev]'s are by size, and [schnell]'s not
 * at all. */
static void read_shifts(struct model *m)
{
    const struct checkpoint *cp = m->cp;
    m->shifts =
        checkpoint_scheduler_is(cp, "use_dynamic_shifting") ||
        (m->sizes.network.guided && !checkpoint_scheduler_denies(cp, "use_dynamic_shifting"));
    m->shift = checkpoint_scheduler_number(cp, "shift", 1);
    m->shift_low = checkpoint_scheduler_number(cp, "base_shift", SHIFT_LOW);
    m->shift_high = checkpoint_scheduler_number(cp, "max_shift", SHIFT_HIGH);
    if (!(m->shift > 0 && m->shift <= 100))
        m->shift = 1;
    if (!(fabs(m->shift_low) <= 10 && fabs(m->shift_high) <= 10)) {
        m->shift_low = SHIFT_LOW;
        m->shift_high = SHIFT_HIGH;
    }
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
        m->base = (struct family_model){&family_flux1, facts_of(cp, m->sizes.network.guided)};
        m->base.facts.info.weight_bytes = m->weights.bytes;
        read_shifts(m);
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
    t5_words_forget(m->words); /* CLIP and the network made something of them */
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

static void schedule(const struct family_model *base, int width, int height, int steps,
                     struct schedule *out)
{
    const struct model *m = model_of(base);
    double tokens = (double)(width / 16) * (height / 16);
    double slope = (m->shift_high - m->shift_low) / (TOKENS_HIGH - TOKENS_LOW);
    double mu = m->shift_low + slope * (tokens - TOKENS_LOW);
    schedule_init_flow(out, m->shifts ? exp(mu) : m->shift);
}

static bool words(struct family_model *base, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    const struct model *m = model_of(base);
    bool done = t5_words_say(m->words, o, prompt, out, err);
    if (!arena_planning(o->arena))
        flow_release(m->cp, T5_ROOT);
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
    for (int i = 0; i < b; i++) {
        struct flux1_scene scene = {.words = said[i].states,
                                    .tokens = said[i].tokens,
                                    .pooled = said[i].pooled,
                                    .height = picture->height,
                                    .width = picture->width,
                                    .guidance = (float)picture->params->guidance};
        flux1_begin(o, model_of(base)->network, &scene, &call->calls[i]);
    }
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
        const struct flux1_call *c = &call->calls[i];
        size_t n = (size_t)c->height * (size_t)c->width * CHANNELS * (size_t)i;
        bool real = !arena_planning(o->arena);
        flux1_forward(o, model_of(base)->network, c, real ? x + n : x, t, real ? y + n : y);
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

const struct family family_flux1 = {
    .name = "flux1",
    .latent = "flux1",
    .recognises = family_flux1_alone,
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
