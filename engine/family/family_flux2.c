/* family_flux2.c: FLUX.2 (Black Forest Labs 2025), of which [klein] has Qwen3 as text encoder and
 * paints in four steps, or, not distilled, in fifty with guidance. It is shown pictures to paint
 * from: those of the params, and, where it begins from one with strength 1, that one first. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/qwen_words.h"
#include "engine/model/flux2.h"

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
    struct flow_model flow;
    struct flux2_sizes sizes;
    struct flux2 *network;
    struct qwen3 *text;
    struct qwen_words *words;
};

/* Of either of the structs that it begins with. */
static const struct model *of(const void *m)
{
    return m;
}

bool family_flux2_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "double_stream_modulation_img.lin.weight") &&
           checkpoint_find(cp, ROOT "double_blocks.0.img_mlp.0.weight");
}

/* ---- a prompt ---- */

static void begin(const struct flow_model *m, struct ops *o, const struct family_picture *picture,
                  const struct family_words *words, void *call)
{
    struct flux2_scene scene = {.words = words->states,
                                .tokens = words->tokens,
                                .height = picture->height,
                                .width = picture->width};
    if (flow_shows_own(picture->params))
        scene.references[scene.reference_count++] =
            (struct flux2_reference){picture->beside, picture->height, picture->width};
    for (size_t i = 0; i < picture->reference_count && scene.reference_count < FLUX2_REFERENCES;
         i++) {
        const struct family_reference *r = &picture->references[i];
        scene.references[scene.reference_count++] =
            (struct flux2_reference){r->latent, r->height, r->width};
    }
    flux2_begin(o, of(m)->network, &scene, call);
}

static void forget(struct flow_model *m)
{
    qwen_words_forget(((struct model *)m)->words);
}

static void forward(const struct flow_model *m, struct ops *o, const void *call, const float *x,
                    double t, float *y)
{
    flux2_forward(o, of(m)->network, call, x, t, y);
}

static const struct flow_network network = {
    .call = sizeof(struct flux2_call),
    .begin = begin,
    .forward = forward,
    .forget = forget,
};

/* ---- opening ---- */

/* A folder says it; of a file, where nobody does, the name: all that its publishers call so are
 * "base". */
static bool is_distilled(const struct checkpoint *cp)
{
    bool own;
    enum pictor_variant said = family_variant(cp, &own);
    if (checkpoint_has_pipeline(cp))
        return checkpoint_pipeline_is(cp, "is_distilled", false);
    return said ? said == PICTOR_VARIANT_DISTILLED : !flow_is_called(cp, "base");
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
    if (s->network.blocks.guided)
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
    if (s->network.blocks.text != 3 * s->text.width)
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels, but three states of the text "
                       "encoder have %d: wanted Qwen3 %s",
                       s->network.blocks.text, 3 * s->text.width,
                       s->network.blocks.text == 12288 ? "8B" : "4B");
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
    const struct family_usual *usual = distilled ? &family_flux2.distilled : &family_flux2.base;
    family_describe(cp, &family_flux2, 1024, usual->guidance, usual->steps, &facts);
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
    flow_free(&m->flow);
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
    struct flow_model *f = &m->flow;
    struct qwen_words_how how = {.chat = family_flux2.chat,
                                 .padded = WORDS,
                                 .count = 3,
                                 .width = s->network.blocks.width,
                                 .take = take_words,
                                 .begin = flow_begin_words,
                                 .ctx = m};
    memcpy(how.after, s->after, sizeof s->after);
    return (m->text = qwen3_load(f->dev, f->cp, &s->text, &f->weights, err)) &&
           (m->network = flux2_load(f->dev, f->cp, &s->network, &f->weights, err)) &&
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
        return flow_opened(&m->flow, &family_flux2, &facts);
    }
    free_model(&m->flow.base);
    return NULL;
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
    const struct model *m = of(base);
    bool done = qwen_words_say(m->words, o, prompt, out, err);
    if (!arena_planning(o->arena))
        flow_release(m->flow.cp, QWEN3_ROOT); /* what is in blocks was read from the file */
    return done;
}

const struct family family_flux2 = {
    .name = "flux2",
    .latent = "flux2",
    .reader = FAMILY_READS_QWEN,
    .chat = QWEN_TOKENIZER_THOUGHTLESS,
    .distilled = {1, 4},
    .base = {4, 50},
    .recognises = family_flux2_alone,
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
    .beside = flow_beside_own, /* the mask is not shown */
    .decode = flow_decode,
    .encode = flow_encode,
};
