/* family_flux1.c: FLUX.1 (Black Forest Labs 2024): [schnell], which paints in four steps, and
 * [dev], which is told how much it is guided. They read a prompt by T5, and as a whole by OpenAI's
 * CLIP. [dev] is two more models: Kontext, which edits a picture that it is shown as FLUX.2 does,
 * and Fill, which paints over what a mask hides and is shown the mask and the rest. */
#include <math.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/source.h"
#include "engine/family/t5_words.h"
#include "engine/model/flux1.h"
#include "engine/text/tokenizer.h"

#define ROOT "model.diffusion_model."
#define CHANNELS 16
#define FACTOR 8
#define MASK (FACTOR * FACTOR) /* channels: the pixels under one of a latent, row by row */
#define WORDS_DEV 512          /* tokens of a prompt, filled up: all of them count */
#define WORDS_SCHNELL 256
/* Shifts of [dev]'s times: the exponents at 256 and 4096 tokens of a picture. */
#define TOKENS_LOW 256
#define TOKENS_HIGH 4096
#define SHIFT_LOW 0.5
#define SHIFT_HIGH 1.15

enum sort { PAINTS, EDITS, FILLS };

struct flux1_sizes {
    struct flux1_config network;
    struct t5_config t5;
    struct clip_config clip;
    struct vae_config vae;
};

struct model {
    struct flow_model flow;
    struct flux1_sizes sizes;
    struct flux1 *network;
    struct t5 *t5;
    struct clip *clip;
    struct t5_words *words;
    bool shifts; /* by the picture's size; else by `shift` */
    double shift, shift_low, shift_high;
};

/* Of either of the structs that it begins with. */
static const struct model *of(const void *m)
{
    return m;
}

bool family_flux1_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "double_blocks.0.img_mod.lin.weight") &&
           checkpoint_find(cp, ROOT "double_blocks.0.img_mlp.0.weight") &&
           checkpoint_find(cp, ROOT "vector_in.in_layer.weight");
}

/* ---- a prompt ---- */

static void begin(const struct flow_model *m, struct ops *o, const struct family_picture *picture,
                  const struct family_words *words, void *call)
{
    struct flux1_scene scene = {.words = words->states,
                                .tokens = words->tokens,
                                .pooled = words->pooled,
                                .height = picture->height,
                                .width = picture->width,
                                .guidance = (float)picture->params->guidance};
    if (m->base.facts.info.masked)
        scene.beside = picture->beside;
    else if (m->base.facts.beside && flow_shows_own(picture->params))
        scene.references[scene.reference_count++] =
            (struct flux1_reference){picture->beside, picture->height, picture->width};
    else if (m->base.facts.beside && picture->reference_count)
        scene.references[scene.reference_count++] = (struct flux1_reference){
            picture->references->latent, picture->references->height, picture->references->width};
    flux1_begin(o, of(m)->network, &scene, call);
}

static void forget(struct flow_model *m)
{
    t5_words_forget(((struct model *)m)->words);
}

static void forward(const struct flow_model *m, struct ops *o, const void *call, const float *x,
                    double t, float *y)
{
    flux1_forward(o, of(m)->network, call, x, t, y);
}

static const struct flow_network network = {
    .call = sizeof(struct flux1_call),
    .begin = begin,
    .forward = forward,
    .forget = forget,
};

/* ---- opening ---- */

/* Fill takes more; of Kontext, which is [dev] trained again, a folder says it, or a file's name. */
static enum sort sort_of(const struct checkpoint *cp, const struct flux1_config *c)
{
    const char *pipeline = checkpoint_pipeline_text(cp, "_class_name");
    if (c->takes > c->channels)
        return FILLS;
    return (pipeline && strstr(pipeline, "Kontext")) || flow_is_called(cp, "kontext") ? EDITS
                                                                                      : PAINTS;
}

static bool read_network(const struct checkpoint *cp, struct flux1_config *c, struct err *err)
{
    if (!flux1_read(cp, c, err))
        return false;
    if (c->channels == CHANNELS && c->takes == 2 * CHANNELS + MASK)
        return true;
    if (c->channels == CHANNELS && c->takes > c->channels)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is a FLUX.1 that is shown %d channels beside the latent (Canny or "
                       "Depth), which pictor does not run: wanted FLUX.1 [schnell], [dev], Kontext "
                       "or Fill",
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
    if (s->network.blocks.text != s->t5.width || s->network.pooled != s->clip.width)
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels and %d of the whole prompt, but T5 "
                       "has %d and CLIP %d",
                       s->network.blocks.text, s->network.pooled, s->t5.width, s->clip.width);
    return true;
}

/* What a transformer alone tells. The guidance is what its publishers paint with. */
static struct family_facts facts_of(const struct checkpoint *cp, const struct flux1_config *c)
{
    static const float guidance[] = {[PAINTS] = 3.5f, [EDITS] = 2.5f, [FILLS] = 30};
    enum sort sort = sort_of(cp, c);
    bool guided = c->blocks.guided;
    struct family_facts facts = {.channels = CHANNELS,
                                 .factor = FACTOR,
                                 .multiple = FLOW_MULTIPLE,
                                 .asked = 8,
                                 .clip_skips = 12, /* which say nothing */
                                 .flow = true,
                                 .beside = sort == EDITS ? CHANNELS : c->takes - c->channels};
    family_describe(cp, &family_flux1, 1024, guided ? guidance[sort] : 1,
                    !guided         ? 4
                    : sort == FILLS ? 50
                                    : 28,
                    &facts);
    facts.info.references = sort == EDITS ? FLUX1_REFERENCES : 0;
    facts.info.masked = sort == FILLS;
    if (guided)
        facts.info.guide = PICTOR_GUIDE_TOLD;
    return facts;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct flux1_sizes s = {0};
    if (!read_sizes(cp, &s, err))
        return false;
    *facts = facts_of(cp, &s.network);
    return true;
}

bool family_flux1_read_alone(const struct checkpoint *cp, struct family_facts *facts,
                             struct err *err)
{
    struct flux1_config c;
    if (!read_network(cp, &c, err))
        return false;
    *facts = facts_of(cp, &c);
    return true;
}

static void free_model(struct family_model *base)
{
    struct model *m = (struct model *)base;
    if (!m)
        return;
    t5_words_free(m->words);
    t5_free(m->t5);
    clip_free(m->clip);
    flux1_free(m->network);
    flow_free(&m->flow);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, float *out)
{
    const struct model *m = ctx;
    flux1_words(o, m->network, states, tokens, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct flux1_sizes *s = &m->sizes;
    struct flow_model *f = &m->flow;
    if (!(m->t5 = t5_load(f->dev, f->cp, &s->t5, &f->weights, err)) ||
        !(m->clip = clip_load(f->dev, f->cp, &s->clip, &f->weights, err)) ||
        !(m->network = flux1_load(f->dev, f->cp, &s->network, &f->weights, err)) ||
        !(f->vae = vae_load(f->dev, f->cp, &s->vae, &f->weights, err)))
        return false;
    struct t5_words_how how = {.t5 = m->t5,
                               .padded = s->network.blocks.guided ? WORDS_DEV : WORDS_SCHNELL,
                               .clips = {m->clip},
                               .pads = {TOKENIZER_END},
                               .clip_count = 1,
                               .text = s->network.blocks.text,
                               .width = s->network.blocks.width,
                               .take = take_words,
                               .begin = flow_begin_words,
                               .ctx = m};
    return (m->words = t5_words_new(f->cp, &how, err));
}

/* A folder says how its times are shifted; of other files [dev]'s are by size, and [schnell]'s not
 * at all. */
static void read_shifts(struct model *m)
{
    const struct checkpoint *cp = m->flow.cp;
    m->shifts = checkpoint_scheduler_is(cp, "use_dynamic_shifting") ||
                (m->sizes.network.blocks.guided &&
                 !checkpoint_scheduler_denies(cp, "use_dynamic_shifting"));
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
    struct model *m = (struct model *)flow_new(sizeof *m, &network, dev, cp, err);
    if (!m)
        return NULL;
    if (read_sizes(cp, &m->sizes, err) && load(m, err)) {
        struct family_facts facts = facts_of(cp, &m->sizes.network);
        read_shifts(m);
        return flow_opened(&m->flow, &family_flux1, &facts);
    }
    free_model(&m->flow.base);
    return NULL;
}

/* ---- painting ---- */

static void schedule(const struct family_model *base, int width, int height, int steps,
                     struct schedule *out)
{
    const struct model *m = of(base);
    double tokens = (double)(width / 16) * (height / 16);
    double slope = (m->shift_high - m->shift_low) / (TOKENS_HIGH - TOKENS_LOW);
    double mu = m->shift_low + slope * (tokens - TOKENS_LOW);
    schedule_init_flow(out, m->shifts ? exp(mu) : m->shift);
}

static bool words(struct family_model *base, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    const struct model *m = of(base);
    bool done = t5_words_say(m->words, o, prompt, out, err);
    if (!arena_planning(o->arena))
        flow_release(m->flow.cp, T5_ROOT);
    return done;
}

/* What is not hidden, as a latent, and the mask. */
static void beside_filled(const struct family_model *m, struct ops *o,
                          const struct family_source *source, float *out)
{
    size_t h = (size_t)source->height, w = (size_t)source->width, all = h * w * MASK;
    size_t mark = arena_mark(o->arena);
    bool real = !arena_planning(o->arena);
    float *shown = arena_alloc(o->arena, 3 * all, sizeof *shown);
    float *latent = arena_alloc(o->arena, h * w * CHANNELS, sizeof *latent);
    if (real)
        source_hide(source, all, shown);
    flow_encode(m, o, shown, source->height, source->width, latent);
    for (size_t i = 0; i < h * w && real; i++, out += CHANNELS + MASK) {
        size_t at = (i / w * w * FACTOR + i % w) * FACTOR;
        memcpy(out, latent + i * CHANNELS, CHANNELS * sizeof *out);
        for (size_t k = 0; k < MASK; k++)
            out[CHANNELS + k] =
                source->mask ? source->mask[at + k / FACTOR * w * FACTOR + k % FACTOR] : 1;
    }
    arena_reset(o->arena, mark);
}

static void beside(const struct family_model *m, struct ops *o, const struct family_source *source,
                   float *out)
{
    if (m->facts.info.masked)
        beside_filled(m, o, source, out);
    else
        flow_beside_own(m, o, source, out);
}

const struct family family_flux1 = {
    .name = "flux1",
    .latent = "flux1",
    .reader = FAMILY_READS_T5,
    .recognises = family_flux1_alone,
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
    .beside = beside,
    .decode = flow_decode,
    .encode = flow_encode,
};
