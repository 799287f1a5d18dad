/* family_sd3.c: Stable Diffusion 3 and 3.5 (Stability AI 2024): OpenAI's and OpenCLIP's CLIP read a
 * prompt, and T5, where it is there. */
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/t5_words.h"
#include "engine/model/sd3.h"
#include "engine/model/vae.h"
#include "engine/text/tokenizer.h"

#define ROOT "model.diffusion_model."
#define CHANNELS 16
#define WORDS 256 /* tokens of T5's, filled up: all of them count */
#define SHIFT 3.0 /* of its times */

struct sd3_sizes {
    struct sd3_config network;
    bool spoken; /* T5 is there */
    struct t5_config t5;
    struct clip_config clips[2];
    struct vae_config vae;
};

struct model {
    struct family_model base;
    struct sd3_sizes sizes;
    struct device *dev; /* borrowed, as the checkpoint is */
    const struct checkpoint *cp;
    struct weights weights;
    struct sd3 *network;
    struct t5 *t5;
    struct clip *clips[2];
    struct t5_words *words;
    struct vae *vae;
    double shift;
};

struct family_call {
    struct sd3_call calls[2]; /* of each prompt */
    int b;
};

static const struct model *model_of(const struct family_model *m)
{
    return (const struct model *)m;
}

bool family_sd3_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "joint_blocks.0.x_block.mlp.fc1.weight") &&
           checkpoint_find(cp, ROOT "pos_embed");
}

/* ---- opening ---- */

static bool read_network(const struct checkpoint *cp, struct sd3_config *c, struct err *err)
{
    if (!sd3_read(cp, c, err))
        return false;
    return c->channels == CHANNELS ||
           err_set(err, ERR_UNSUPPORTED, "transformer: wanted a latent of %d channels, found %d",
                   CHANNELS, c->channels);
}

static bool read_clips(const struct checkpoint *cp, struct sd3_sizes *s, struct err *err)
{
    static const char *const roots[] = {CLIP_FIRST, CLIP_SECOND};
    for (int i = 0; i < 2; i++) {
        struct clip_config *c = &s->clips[i];
        if (!checkpoint_has(cp, roots[i]))
            return err_set(err, ERR_INVALID,
                           "this is Stable Diffusion 3 without %s: wanted CLIP-L, CLIP-G and a VAE "
                           "besides its transformer",
                           i ? "CLIP-G" : "CLIP-L");
        if (!clip_read(cp, roots[i], c, err))
            return false;
        c->act = i ? ACT_GELU : ACT_QUICK_GELU;
        c->bare = true;
        /* What the first pools is not projected, but in folders, which say how. */
        c->plain = i == 0 && !(checkpoint_has_pipeline(cp) && c->projection);
        if (c->plain)
            c->projection = c->width;
        if (c->layers < 2 || !c->projection)
            return err_set(err, ERR_INVALID,
                           "text encoder %d: wanted 2 layers or more and a projection, found %d "
                           "and one of %d channels",
                           i + 1, c->layers, c->projection);
    }
    return true;
}

static bool read_sizes(const struct checkpoint *cp, struct sd3_sizes *s, struct err *err)
{
    if (!read_network(cp, &s->network, err) || !read_clips(cp, s, err))
        return false;
    s->spoken = checkpoint_has(cp, T5_ROOT);
    if (!checkpoint_has(cp, "first_stage_model."))
        return err_set(err, ERR_INVALID,
                       "this is Stable Diffusion 3 without its VAE: wanted one besides (sd3_vae)");
    if ((s->spoken && !t5_read(cp, &s->t5, err)) || !vae_read_flux(cp, CHANNELS, &s->vae, err))
        return false;
    s->vae.scale = 1.5305f;
    s->vae.shift = 0.0609f;
    int wide = s->clips[0].width + s->clips[1].width;
    int pooled = s->clips[0].projection + s->clips[1].projection;
    if (s->network.pooled != pooled || wide > s->network.text ||
        (s->spoken && s->network.text != s->t5.width))
        return err_set(err, ERR_INVALID,
                       "transformer: takes words of %d channels and %d of the whole prompt, but "
                       "the CLIPs have %d and %d, and T5 %d",
                       s->network.text, s->network.pooled, wide, pooled, s->t5.width);
    return true;
}

/* Few steps and no guidance is what its publishers call so. */
static bool is_turbo(const struct checkpoint *cp)
{
    return flow_is_called(cp, "turbo");
}

/* What a transformer alone tells. */
static struct family_facts facts_of(const struct checkpoint *cp, const struct sd3_config *c)
{
    bool turbo = is_turbo(cp);
    struct family_facts facts = {.channels = CHANNELS,
                                 .factor = 8,
                                 .multiple = FLOW_MULTIPLE,
                                 .asked = 8,
                                 .guided = true,
                                 .clip_skips = 12, /* which say nothing */
                                 .flow = true};
    family_describe(cp, &family_sd3, 1024,
                    turbo       ? 1
                    : c->normed ? 4.5f
                                : 7,
                    turbo ? 4 : 28, &facts);
    return facts;
}

static bool read_facts(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct sd3_sizes s = {0};
    if (!read_sizes(cp, &s, err))
        return false;
    *facts = facts_of(cp, &s.network);
    return true;
}

bool family_sd3_read_alone(const struct checkpoint *cp, struct family_facts *facts, struct err *err)
{
    struct sd3_config c;
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
    clip_free(m->clips[0]);
    clip_free(m->clips[1]);
    sd3_free(m->network);
    vae_free(m->vae);
    weights_free(&m->weights);
    free(m);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, float *out)
{
    const struct model *m = ctx;
    sd3_words(o, m->network, states, tokens, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct sd3_sizes *s = &m->sizes;
    for (int i = 0; i < 2; i++)
        if (!(m->clips[i] = clip_load(m->dev, m->cp, &s->clips[i], &m->weights, err)))
            return false;
    if ((s->spoken && !(m->t5 = t5_load(m->dev, m->cp, &s->t5, &m->weights, err))) ||
        !(m->network = sd3_load(m->dev, m->cp, &s->network, &m->weights, err)) ||
        !(m->vae = vae_load(m->dev, m->cp, &s->vae, &m->weights, err)))
        return false;
    struct t5_words_how how = {.t5 = m->t5,
                               .padded = WORDS,
                               .clips = {m->clips[0], m->clips[1]},
                               .pads = {TOKENIZER_END, 0},
                               .clip_count = 2,
                               .stated = true,
                               .text = s->network.text,
                               .width = s->network.width,
                               .take = take_words,
                               .ctx = m};
    m->shift = checkpoint_scheduler_number(m->cp, "shift", SHIFT);
    if (!(m->shift > 0 && m->shift <= 100))
        m->shift = SHIFT;
    return (m->words = t5_words_new(m->cp, &how, err));
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
        m->base = (struct family_model){&family_sd3, facts_of(cp, &m->sizes.network)};
        m->base.facts.info.weight_bytes = m->weights.bytes;
        return &m->base;
    }
    free_model(&m->base);
    return NULL;
}

static void rest(struct family_model *base)
{
    weights_rest(&((struct model *)base)->weights);
}

static bool wake(struct family_model *base, struct err *err)
{
    struct model *m = (struct model *)base;
    return flow_wake(&m->weights, m->dev, m->cp, err);
}

/* ---- painting ---- */

static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    schedule_init_flow(out, model_of(m)->shift);
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
    const struct model *m = model_of(base);
    int most = 2 * m->sizes.network.side;
    struct family_call *call = NULL;
    if (picture->height > most || picture->width > most)
        err_set(err, ERR_TOO_LARGE,
                "this model has positions for pictures of %d x %d: wanted none larger, got %d x %d",
                8 * most, 8 * most, 8 * picture->width, 8 * picture->height);
    else if (!(call = calloc(1, sizeof *call)))
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
    if (!call)
        return NULL;
    call->b = b;
    for (int i = 0; i < b; i++) {
        struct sd3_scene scene = {.words = said[i].states,
                                  .tokens = said[i].tokens,
                                  .pooled = said[i].pooled,
                                  .height = picture->height,
                                  .width = picture->width};
        sd3_begin(o, m->network, &scene, &call->calls[i]);
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
        const struct sd3_call *c = &call->calls[i];
        size_t n = (size_t)c->height * (size_t)c->width * CHANNELS * (size_t)i;
        bool real = !arena_planning(o->arena);
        sd3_forward(o, model_of(base)->network, c, real ? x + n : x, t, real ? y + n : y);
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

const struct family family_sd3 = {
    .name = "sd3",
    .latent = "sd3",
    .recognises = family_sd3_alone,
    .read = read_facts,
    .open = open_model,
    .free = free_model,
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
