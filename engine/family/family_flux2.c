/* family_flux2.c: FLUX.2 (Black Forest Labs 2025), of which [klein] has Qwen3 as text encoder and
 * paints in four steps, or, not distilled, in fifty with guidance. It is shown pictures to paint
 * from: those of the params, and, where it begins from one with strength 1, that one first. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/merged.h"
#include "engine/family/qwen_words.h"
#include "engine/model/flux2.h"
#include "engine/model/vae.h"

#define ROOT "model.diffusion_model."
#define CHANNELS 32 /* of the autoencoder; a latent has four times as many */
#define WORDS 512   /* tokens of a prompt, filled up: all of them count */

struct flux2_sizes {
    struct flux2_config network;
    struct qwen3_config text;
    struct vae_config vae;
    bool distilled;
    int after[3]; /* layers of the text encoder whose states are taken */
};

struct model {
    struct family_model base;
    struct flux2_sizes sizes;
    struct device *dev; /* borrowed, as the checkpoint is */
    const struct checkpoint *cp;
    struct weights weights;
    struct merged merged;
    struct flux2 *network;
    struct qwen3 *text;
    struct qwen_words *words;
    struct vae *vae;
};

struct family_call {
    struct flux2_call calls[2]; /* of each prompt */
    int b;
};

static const struct model *model_of(const struct family_model *m)
{
    return (const struct model *)m;
}

bool family_flux2_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "double_stream_modulation_img.lin.weight") &&
           checkpoint_find(cp, ROOT "double_blocks.0.img_mlp.0.weight");
}

/* ---- opening ---- */

/* A folder says it; of a file the name does: all that its publishers call so are "base". */
static bool is_distilled(const struct checkpoint *cp)
{
    if (checkpoint_has_pipeline(cp))
        return checkpoint_pipeline_is(cp, "is_distilled", false);
    const char *name = checkpoint_name(cp), *title = checkpoint_metadata(cp, "modelspec.title");
    char lower[400];
    snprintf(lower, sizeof lower, "%.272s %.96s", name, title ? title : "");
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return !strstr(lower, "base");
}

/* Published ones take the states after a quarter, a half and three quarters of 36 layers; a file
 * may end with the last that is wanted. */
static void choose_layers(struct flux2_sizes *s)
{
    for (int i = 0; i < 3; i++)
        s->after[i] = s->text.layers >= 27 ? 9 * (i + 1) - 1 : s->text.layers * (i + 1) / 4 - 1;
    s->text.used = s->after[2] + 1;
}

static bool read_network(const struct checkpoint *cp, struct flux2_sizes *s, struct err *err)
{
    if (!flux2_read(cp, &s->network, err))
        return false;
    s->distilled = is_distilled(cp);
    if (s->network.guided)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is FLUX.2 [dev], whose text encoder (Mistral) pictor does not run: "
                       "wanted FLUX.2 [klein]");
    if (s->network.channels != 4 * CHANNELS)
        return err_set(err, ERR_UNSUPPORTED,
                       "transformer: wanted a latent of %d channels, found %d", 4 * CHANNELS,
                       s->network.channels);
    return true;
}

static bool read_sizes(const struct checkpoint *cp, struct flux2_sizes *s, struct err *err)
{
    if (!read_network(cp, s, err))
        return false;
    if (!checkpoint_has(cp, QWEN3_ROOT))
        return err_set(err, ERR_INVALID,
                       "this is FLUX.2's transformer alone: wanted its text encoder (Qwen3) and "
                       "its VAE besides");
    if (!qwen3_read(cp, QWEN3_ROOT, &s->text, err) || !vae_read_flux(cp, CHANNELS, &s->vae, err))
        return false;
    s->vae.scale = 1;
    if (s->text.layers < 4)
        return err_set(err, ERR_INVALID, "text encoder: wanted 27 layers, found %d",
                       s->text.layers);
    choose_layers(s);
    if (s->network.text != 3 * s->text.width)
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels, but three states of the text "
                       "encoder have %d: wanted Qwen3 %s",
                       s->network.text, 3 * s->text.width, s->network.text == 12288 ? "8B" : "4B");
    if (s->text.vocab < QWEN_TOKENIZER_VOCAB)
        return err_set(err, ERR_INVALID, "text encoder: wanted %d tokens or more, found %d",
                       QWEN_TOKENIZER_VOCAB, s->text.vocab);
    return true;
}

/* What a transformer alone tells. */
static struct family_facts facts_of(const struct checkpoint *cp, bool distilled)
{
    struct family_facts facts = {.channels = 4 * CHANNELS,
                                 .factor = 16,
                                 .multiple = FLOW_MULTIPLE,
                                 .asked = 8,
                                 .guided = !distilled,
                                 .clip_skips = 12, /* which say nothing */
                                 .flow = true,
                                 .beside = 4 * CHANNELS};
    family_describe(cp, &family_flux2, 1024, distilled ? 1 : 4, distilled ? 4 : 50, &facts);
    facts.info.references = FLUX2_REFERENCES;
    return facts;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct flux2_sizes s = {0};
    if (!read_sizes(cp, &s, err))
        return false;
    *facts = facts_of(cp, s.distilled);
    return true;
}

bool family_flux2_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                             struct err *err)
{
    struct flux2_sizes s = {0};
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
    flux2_free(m->network);
    vae_free(m->vae);
    weights_free(&m->weights);
    merged_free(&m->merged);
    free(m);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, int all,
                       float *out)
{
    const struct model *m = ctx;
    assert(all == tokens);
    flux2_words(o, m->network, states, tokens, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct flux2_sizes *s = &m->sizes;
    struct qwen_words_how how = {.chat = QWEN_TOKENIZER_THOUGHTLESS,
                                 .padded = WORDS,
                                 .count = 3,
                                 .width = s->network.width,
                                 .take = take_words,
                                 .ctx = m};
    memcpy(how.after, s->after, sizeof s->after);
    return (m->text = qwen3_load(m->dev, m->cp, &s->text, &m->weights, err)) &&
           (m->network = flux2_load(m->dev, m->cp, &s->network, &m->weights, err)) &&
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
        m->base = (struct family_model){&family_flux2, facts_of(cp, m->sizes.distilled)};
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

/* The publisher's fit of how far the times of so many steps over so many tokens are to be shifted
 * (black-forest-labs/flux2, "empirical mu"). */
static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    double tokens = (double)(width / 16) * (height / 16);
    double ten = 8.73809524e-05 * tokens + 1.89833333, many = 0.00016927 * tokens + 0.45666666;
    double slope = (many - ten) / 190, mu = slope * steps + many - 200 * slope;
    schedule_init_flow(out, exp(tokens > 4300 ? many : mu));
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

/* With strength 1 nothing of a picture is in the noise: it is shown. */
static bool shows_own(const struct pictor_params *p)
{
    return p->init && p->strength >= 1;
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
    struct flux2_scene scene = {.height = picture->height, .width = picture->width};
    if (!call) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        return NULL;
    }
    if (shows_own(picture->params))
        scene.references[scene.reference_count++] =
            (struct flux2_reference){picture->beside, picture->height, picture->width};
    for (size_t i = 0; i < picture->reference_count && scene.reference_count < FLUX2_REFERENCES;
         i++) {
        const struct family_reference *r = &picture->references[i];
        scene.references[scene.reference_count++] =
            (struct flux2_reference){r->latent, r->height, r->width};
    }
    call->b = b;
    for (int i = 0; i < b; i++) {
        scene.words = said[i].states;
        scene.tokens = said[i].tokens;
        flux2_begin(o, model_of(base)->network, &scene, &call->calls[i]);
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
    const struct model *m = model_of(base);
    for (int i = 0; i < call->b; i++) {
        size_t n = (size_t)call->calls[i].own * (size_t)m->base.facts.channels * (size_t)i;
        bool real = !arena_planning(o->arena);
        flux2_forward(o, m->network, &call->calls[i], real ? x + n : x, t, real ? y + n : y);
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

/* The picture that is begun from, for a network that is shown it; the mask is not. */
static void beside(const struct family_model *m, struct ops *o, const struct family_source *source,
                   float *out)
{
    if (shows_own(source->params))
        encode(m, o, source->picture, source->height, source->width, out);
}

const struct family family_flux2 = {
    .name = "flux2",
    .latent = "flux2",
    .recognises = family_flux2_alone,
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
    .beside = beside,
    .decode = decode,
    .encode = encode,
};
