/* family_sd3.c: Stable Diffusion 3 and 3.5 (Stability AI 2024): OpenAI's and OpenCLIP's CLIP read a
 * prompt, and T5, where it is there. */

#include "engine/family/family.h"
#include "engine/family/flow.h"
#include "engine/family/t5_words.h"
#include "engine/model/sd3.h"
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
    struct flow_model flow;
    struct sd3_sizes sizes;
    struct sd3 *network;
    struct t5 *t5;
    struct clip *clips[2];
    struct t5_words *words;
    double shift;
};

/* Of either of the structs that it begins with. */
static const struct model *of(const void *m)
{
    return m;
}

bool family_sd3_alone(const struct checkpoint *cp)
{
    return checkpoint_find(cp, ROOT "joint_blocks.0.x_block.mlp.fc1.weight") &&
           checkpoint_find(cp, ROOT "pos_embed");
}

/* ---- a prompt ---- */

static bool fits(const struct flow_model *m, const struct family_picture *picture, struct err *err)
{
    int most = 2 * of(m)->sizes.network.side;
    return (picture->height <= most && picture->width <= most) ||
           err_set(err, ERR_TOO_LARGE,
                   "this model has positions for pictures of %d x %d: wanted none larger, got %d x "
                   "%d",
                   8 * most, 8 * most, 8 * picture->width, 8 * picture->height);
}

static void begin(const struct flow_model *m, struct ops *o, const struct family_picture *picture,
                  const struct family_words *words, void *call)
{
    struct sd3_scene scene = {.words = words->states,
                              .tokens = words->tokens,
                              .pooled = words->pooled,
                              .height = picture->height,
                              .width = picture->width};
    sd3_begin(o, of(m)->network, &scene, call);
}

static void forget(struct flow_model *m)
{
    t5_words_forget(((struct model *)m)->words);
}

static void forward(const struct flow_model *m, struct ops *o, const void *call, const float *x,
                    double t, float *y)
{
    sd3_forward(o, of(m)->network, call, x, t, y);
}

static const struct flow_network network = {
    .call = sizeof(struct sd3_call),
    .fits = fits,
    .begin = begin,
    .forward = forward,
    .forget = forget,
};

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
        return err_set(
            err, ERR_INVALID,
            "this is Stable Diffusion 3 without its VAE: wanted one besides, sd3_vae among "
            "the VAEs (`pictor pull sd3_vae` fetches it)");
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
    flow_free(&m->flow);
}

static void take_words(void *ctx, struct ops *o, const float *states, int tokens, float *out)
{
    const struct model *m = ctx;
    sd3_words(o, m->network, states, tokens, out);
}

static bool load(struct model *m, struct err *err)
{
    const struct sd3_sizes *s = &m->sizes;
    struct flow_model *f = &m->flow;
    for (int i = 0; i < 2; i++)
        if (!(m->clips[i] = clip_load(f->dev, f->cp, &s->clips[i], &f->weights, err)))
            return false;
    if ((s->spoken && !(m->t5 = t5_load(f->dev, f->cp, &s->t5, &f->weights, err))) ||
        !(m->network = sd3_load(f->dev, f->cp, &s->network, &f->weights, err)) ||
        !(f->vae = vae_load(f->dev, f->cp, &s->vae, &f->weights, err)))
        return false;
    struct t5_words_how how = {.t5 = m->t5,
                               .padded = WORDS,
                               .clips = {m->clips[0], m->clips[1]},
                               .pads = {TOKENIZER_END, 0},
                               .clip_count = 2,
                               .stated = family_sd3.stated,
                               .text = s->network.text,
                               .width = s->network.width,
                               .take = take_words,
                               .begin = flow_begin_words,
                               .ctx = m};
    m->shift = checkpoint_scheduler_number(f->cp, "shift", SHIFT);
    if (!(m->shift > 0 && m->shift <= 100))
        m->shift = SHIFT;
    return (m->words = t5_words_new(f->cp, &how, err));
}

static struct family_model *open_model(struct device *dev, const struct checkpoint *cp,
                                       struct err *err)
{
    struct model *m = (struct model *)flow_new(sizeof *m, &network, dev, cp, err);
    if (!m)
        return NULL;
    if (read_sizes(cp, &m->sizes, err) && load(m, err)) {
        struct family_facts facts = facts_of(cp, &m->sizes.network);
        return flow_opened(&m->flow, &family_sd3, &facts);
    }
    free_model(&m->flow.base);
    return NULL;
}

/* ---- painting ---- */

static void schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    schedule_init_flow(out, of(m)->shift);
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

const struct family family_sd3 = {
    .name = "sd3",
    .latent = "sd3",
    .reader = FAMILY_READS_T5,
    .stated = true,
    .recognises = family_sd3_alone,
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
