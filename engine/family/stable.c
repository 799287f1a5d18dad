#include "engine/family/stable.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/compose.h"
#include "engine/family/merged.h"
#include "engine/family/source.h"
#include "engine/family/stable_control.h"
#include "engine/family/stable_words.h"
#include "engine/family/stable_tiny.h"
#include "engine/model/layers.h"

/* Above this the biases are those of a network that predicts v: 0.09 is what tells published models
 * apart (ComfyUI's figure). */
#define V_SPREAD 0.09
#define SPREAD_ROOM 32768 /* bytes; SD 2.x has 320 numbers */

#define IMAGE_GUIDANCE 1.5f /* InstructPix2Pix's own default */

struct stable {
    struct family_model base;
    struct stable_config config;
    struct device *dev;          /* borrowed, as the checkpoint is */
    const struct checkpoint *cp; /* NULL of a sketch */
    struct weights weights;
    struct merged merged;
    struct tokenizer *tokenizer;
    struct clip *clip[CONDITIONING_ENCODERS];
    struct unet *unet;
    struct vae *vae; /* NULL where the tiny one does all */
    struct tae *tae; /* or NULL */
    struct conditioning *conditioning;
    struct stable_control control;
    struct stable_words words;
    struct stable_tiny tiny; /* for previews */
};

struct family_call {
    struct unet_prompt *prompt;
    struct stable_guides guides;
    double token_merging;
    int b, height, width;
    const float *beside; /* as struct family_picture's */
    bool keep;           /* what the deep levels say, in `deep` */
    struct tensor deep;  /* b: pictures of the call */
};

bool stable_is_unet(const struct checkpoint *cp, bool linear)
{
    static const char name[] = "model.diffusion_model.middle_block.1.proj_in.weight";
    const struct raw_tensor *in = checkpoint_find(cp, name);
    return checkpoint_has(cp, "model.diffusion_model.input_blocks.") &&
           !checkpoint_has(cp, "model.diffusion_model.label_emb.") &&
           !checkpoint_has(cp, CLIP_SECOND) && !checkpoint_has(cp, "control_model.") &&
           linear == (in && in->ndim == 2);
}

static const struct stable *stable_of(const struct family_model *m)
{
    return (const struct stable *)m;
}

/* ---- opening ---- */

/* What the UNet's label holds besides what is pooled. */
static bool read_label(struct stable_config *c, struct err *err)
{
    int pooled = c->clip[c->encoders - 1].projection;
    c->numbers = c->encoders > 1 ? 6 : 5;
    c->number_dim = (c->unet.label_dim - pooled) / c->numbers;
    if (pooled && c->number_dim > 0 && c->number_dim % 2 == 0 &&
        c->unet.label_dim == pooled + c->numbers * c->number_dim)
        return true;
    return err_set(err, ERR_INVALID,
                   "UNet: wanted a label of %d channels and %d times an even number more, found %d",
                   pooled, c->numbers, c->unet.label_dim);
}

bool stable_read(const struct checkpoint *cp, const char *name, const char *const *roots,
                 struct stable_config *c, struct err *err)
{
    int width = 0;
    *c = (struct stable_config){0};
    for (; roots[c->encoders]; c->encoders++) {
        if (!clip_read(cp, roots[c->encoders], &c->clip[c->encoders], err))
            return false;
        width += c->clip[c->encoders].width;
    }
    if (!unet_read(cp, &c->unet, err) || !vae_read(cp, &c->vae, err))
        return false;
    c->tiny = tae_is_there(cp);
    if (c->tiny && !tae_read(cp, &c->tae, err))
        return false;
    if (c->tiny &&
        (c->tae.channels != c->vae.channels || c->tae.factor != 1 << (c->vae.levels - 1)))
        return err_set(
            err, ERR_UNSUPPORTED,
            "tiny autoencoder: wanted %d channels and %d pixels a side of a latent pixel, "
            "found %d and %d",
            c->vae.channels, 1 << (c->vae.levels - 1), c->tae.channels, c->tae.factor);
    int z = c->vae.channels, in = c->unet.in_channels;
    c->beside = in == 2 * z + 1 ? STABLE_MASKED : in == 2 * z ? STABLE_EDITED : STABLE_NOTHING;
    if ((!c->beside && in != z) || c->unet.out_channels != z)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is %s whose UNet takes %d channels and says %d: wanted %d to be said, "
                       "of %d, of %d (InstructPix2Pix) or of %d (inpainting)",
                       name, in, c->unet.out_channels, z, z, 2 * z, 2 * z + 1);
    if (c->unet.context_dim != width)
        return err_set(err, ERR_INVALID,
                       "UNet: takes text of width %d, but the text encoder's is %d",
                       c->unet.context_dim, width);
    return !c->unet.label_dim || read_label(c, err);
}

bool stable_check_layers(const struct stable_config *c, struct err *err)
{
    for (int i = 0; i < c->encoders; i++)
        if (c->clip[i].layers < c->skip[i])
            return err_set(err, ERR_INVALID, "text encoder: wanted %d layers or more, found %d",
                           c->skip[i], c->clip[i].layers);
    return true;
}

bool stable_says_prediction(const struct checkpoint *cp, enum schedule_prediction *out)
{
    const char *folder = checkpoint_scheduler(cp, "prediction_type");
    const char *file = checkpoint_metadata(cp, "modelspec.prediction_type");
    bool v = checkpoint_find(cp, "v_pred") ||
             (folder ? strcmp(folder, "v_prediction") == 0 : file && strcmp(file, "v") == 0);
    *out = v ? SCHEDULE_V : SCHEDULE_NOISE;
    return v || folder || file;
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
bool stable_looks_like_v(const struct checkpoint *cp, const struct unet_config *unet)
{
    const struct raw_tensor *bias = checkpoint_findf(
        cp, "model.diffusion_model.output_blocks.%d.1.transformer_blocks.0.norm1.bias",
        unet->levels * (unet->res_blocks + 1) - 1);
    return bias && bias->ndim == 1 && bias->shape[0] > 0 && dtype_size(bias->dtype) > 0 &&
           spread(bias) > V_SPREAD;
}

struct family_facts stable_facts(const struct stable_config *c)
{
    /* For the autoencoder that all published SD 1.x and 2.x models share, and for SDXL's, fitted on
     * photographs: the figures that SD front ends agree on, halved. Others are fitted. */
    static const float published[2][5][3] = {{{.298f / 2, .207f / 2, .208f / 2},
                                              {.187f / 2, .286f / 2, .173f / 2},
                                              {-.158f / 2, .189f / 2, .264f / 2},
                                              {-.184f / 2, -.271f / 2, -.473f / 2},
                                              {.5f, .5f, .5f}},
                                             {{.3448f / 2, .4168f / 2, .4395f / 2},
                                              {-.1953f / 2, -.029f / 2, .025f / 2},
                                              {.1074f / 2, .0886f / 2, -.0163f / 2},
                                              {-.373f / 2, -.2499f / 2, -.2088f / 2},
                                              {.5f, .5f, .5f}}};
    int factor = 1 << (c->vae.levels - 1);
    return (struct family_facts){
        .channels = c->vae.channels,
        .factor = factor,
        .multiple = factor,
        .guided = true,
        .clip_skips = c->clip[0].layers,
        .beside = c->unet.in_channels - c->vae.channels,
        .preview = c->vae.encoder_channels[0] == 128 ? published[c->sdxl] : NULL,
        .info = {.default_image_guidance = c->beside == STABLE_EDITED ? IMAGE_GUIDANCE : 0,
                 .masked = c->beside == STABLE_MASKED,
                 .text_widths = {c->clip[0].width, c->clip[1].width}},
    };
}

static bool load_autoencoder(struct stable *s, struct err *err)
{
    const struct stable_config *c = &s->config;
    if (c->tiny && !(s->tae = tae_load(s->dev, s->cp, &c->tae, &s->weights, err)))
        return false;
    return (c->tiny && c->tae.encoder.count) ||
           (s->vae = vae_load(s->dev, s->cp, &c->vae, &s->weights, err));
}

struct family_model *stable_open(const struct family *family, struct device *dev,
                                 const struct checkpoint *cp, const struct stable_config *config,
                                 const struct family_facts *facts, struct err *err)
{
    struct stable *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    s->base = (struct family_model){.family = family, .facts = *facts};
    s->config = *config;
    s->dev = dev;
    s->cp = cp;
    struct conditioning_encoder encoders[CONDITIONING_ENCODERS];
    bool ok = (s->tokenizer = tokenizer_new(err));
    for (int i = 0; ok && i < config->encoders; i++) {
        ok = (s->clip[i] = clip_load(dev, cp, &config->clip[i], &s->weights, err));
        encoders[i] = (struct conditioning_encoder){s->clip[i], config->pad[i], config->skip[i]};
    }
    if (ok && (s->unet = unet_load(dev, cp, &config->unet, &s->weights, err)) &&
        load_autoencoder(s, err) &&
        (s->conditioning = conditioning_new(encoders, config->encoders, s->tokenizer, err))) {
        s->base.facts.info.weight_bytes = s->weights.bytes;
        return &s->base;
    }
    stable_free(&s->base);
    return NULL;
}

struct family_model *stable_sketch(const struct family *family, struct device *dev,
                                   const struct stable_config *config, struct err *err)
{
    struct stable *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    s->base = (struct family_model){.family = family, .facts = stable_facts(config)};
    s->config = *config;
    if ((s->unet = unet_load(dev, NULL, &config->unet, NULL, err)) &&
        (s->vae = vae_load(dev, NULL, &config->vae, NULL, err)))
        return &s->base;
    stable_free(&s->base);
    return NULL;
}

static void count_bytes(struct stable *s)
{
    s->base.facts.resting_bytes = s->control.bytes + s->tiny.bytes;
    s->base.facts.info.weight_bytes = s->weights.bytes + s->base.facts.resting_bytes;
}

void stable_free(struct family_model *m)
{
    struct stable *s = (struct stable *)m;
    if (!s)
        return;
    stable_control_free(&s->control);
    stable_tiny_free(&s->tiny);
    conditioning_free(s->conditioning);
    stable_words_free(&s->words);
    vae_free(s->vae);
    tae_free(s->tae);
    unet_free(s->unet);
    for (int i = 0; i < CONDITIONING_ENCODERS; i++)
        clip_free(s->clip[i]);
    tokenizer_free(s->tokenizer);
    weights_free(&s->weights);
    merged_free(&s->merged);
    free(s);
}

bool stable_merge(struct family_model *m, const struct pictor_lora *loras, size_t count,
                  struct err *err)
{
    struct stable *s = (struct stable *)m;
    bool ok = merged_set(&s->merged, &s->weights, s->dev, s->cp, loras, count, err);
    count_bytes(s);
    conditioning_forget(s->conditioning);
    return ok;
}

void stable_rest(struct family_model *m)
{
    struct stable *s = (struct stable *)m;
    merged_rest(&s->merged, &s->weights);
}

bool stable_wake(struct family_model *m, struct err *err)
{
    struct stable *s = (struct stable *)m;
    if (!merged_wake(&s->merged, &s->weights, s->dev, s->cp, err))
        return false;
    count_bytes(s);
    return true;
}

bool stable_model_control(struct family_model *m, const struct pictor_control_file *files,
                          size_t count, struct err *err)
{
    struct stable *s = (struct stable *)m;
    bool done = stable_control_load(&s->control, s->dev, &s->config.unet, files, count, err);
    count_bytes(s);
    return done;
}

bool stable_model_tiny(struct family_model *m, const struct pictor_control_file *file,
                       struct err *err)
{
    struct stable *s = (struct stable *)m;
    bool done =
        stable_tiny_load(&s->tiny, s->dev, s->base.facts.channels, s->base.facts.factor, file, err);
    count_bytes(s);
    return done;
}

bool stable_embed(struct family_model *m, const struct pictor_embedding *list, size_t count,
                  struct err *err)
{
    struct stable *s = (struct stable *)m;
    conditioning_name(s->conditioning, NULL, NULL);
    if (!stable_words_load(&s->words, s->tokenizer, &s->base.facts.info, list, count, err))
        return false;
    if (s->words.vocabulary)
        conditioning_name(s->conditioning, s->words.vocabulary,
                          (const float *const *)s->words.vectors);
    return true;
}

void stable_schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    /* Align Your Steps (Sabour et al. 2024) for SDXL. */
    static const double aligned[SCHEDULE_ALIGNED] = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862,
                                                     0.555,  0.380, 0.234, 0.113, 0.029};
    const struct stable_config *c = &stable_of(m)->config;
    schedule_init(out, STABLE_BETA_START, STABLE_BETA_END);
    out->prediction = c->prediction;
    if (c->sdxl)
        out->aligned = aligned;
    if (c->zero_terminal)
        schedule_zero_terminal(out);
}

bool stable_fit(const struct family_model *m, const struct pictor_params *asked,
                struct family_fitted *fitted)
{
    const struct stable_config *c = &stable_of(m)->config;
    return c->compose_side &&
           compose_fit(&m->facts, c->compose_side, c->detail_strength, asked, fitted);
}

/* ---- words ---- */

bool stable_words(struct family_model *m, struct ops *o, const struct pictor_params *params,
                  const struct family_prompt *prompt, struct family_words *out, struct err *err)
{
    const struct stable *s = stable_of(m);
    if (prompt->negative && s->config.zero_empty && prompt->count == 1 && !*prompt->texts[0])
        conditioning_zeros(s->conditioning, out);
    else if (!conditioning_encode(s->conditioning, o, params, prompt, out, err))
        return false;
    for (size_t i = 0; i < prompt->count; i++)
        out[i].negative = prompt->negative;
    return true;
}

/* ---- the network ---- */

/* How beautiful a picture is that the refiner leads to, and that it leads away from. */
#define AESTHETIC 6.0
#define UNAESTHETIC 2.5

/* One prompt's label, as the networks with one were trained: the picture is a whole one of the size
 * that was asked for. */
static void write_label(const struct stable *s, const struct family_picture *picture,
                        const struct family_words *words, float *out)
{
    const struct stable_config *c = &s->config;
    double height = (double)picture->height * s->base.facts.factor;
    double width = (double)picture->width * s->base.facts.factor;
    double beauty = words->negative ? UNAESTHETIC : AESTHETIC;
    const double numbers[6] = {height, width, 0, 0, c->numbers == 6 ? height : beauty, width};
    size_t pooled = (size_t)c->clip[c->encoders - 1].projection;
    memcpy(out, words->pooled, pooled * sizeof *out);
    for (int i = 0; i < c->numbers; i++)
        layers_sinusoids(numbers[i], c->number_dim, out + pooled + i * c->number_dim);
}

/* What the UNet, and ControlNets, take of b prompts of as many tokens; in the arena. */
static bool prompts_new(const struct stable *s, struct ops *o, const struct family_picture *picture,
                        const struct family_words *words, int b, struct family_call *call,
                        struct err *err)
{
    const struct unet_config *u = &s->config.unet;
    size_t n = (size_t)words->tokens * (size_t)u->context_dim, label_dim = (size_t)u->label_dim;
    float *states = arena_alloc(o->arena, (size_t)b * n, sizeof *states);
    float *label = label_dim ? arena_alloc(o->arena, (size_t)b * label_dim, sizeof *label) : NULL;
    for (int i = 0; i < b && !arena_planning(o->arena); i++) {
        memcpy(states + (size_t)i * n, words[i].states, n * sizeof *states);
        if (label)
            write_label(s, picture, &words[i], label + (size_t)i * label_dim);
    }
    call->prompt = unet_prompt_new(o, s->unet, b, words->tokens, states, label);
    return (call->prompt || err_set(err, ERR_INTERNAL, "no memory for a prompt")) &&
           stable_control_begin(&call->guides, &s->control, o, picture, words, b, states, label,
                                err);
}

struct family_call *stable_call_new(const struct family_model *m, struct ops *o,
                                    const struct family_picture *picture,
                                    const struct family_words *words, int b, struct err *err)
{
    const struct stable *s = stable_of(m);
    const struct pictor_speed *speed = &picture->params->speed;
    struct family_call *call = calloc(1, sizeof *call);
    if (!call) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        return NULL;
    }
    call->token_merging = speed->token_merging;
    if (!prompts_new(s, o, picture, words, b, call, err)) {
        stable_call_free(call);
        return NULL;
    }
    call->keep = speed->reuse_every > 1;
    if (call->keep)
        call->deep = unet_deep(o, s->unet, b, picture->height, picture->width);
    call->b = b;
    call->height = picture->height;
    call->width = picture->width;
    call->beside = picture->beside;
    return call;
}

struct family_call *stable_call_first(const struct family_call *call, struct err *err)
{
    struct family_call *first = calloc(1, sizeof *first);
    if (first) {
        *first = *call;
        first->b = 1;
        first->deep.b = 1;
        first->guides.count = 0;
        first->prompt = unet_prompt_first(call->prompt, 1);
    }
    if (first && first->prompt && stable_control_first(&first->guides, &call->guides, err))
        return first;
    if (!first || !first->prompt)
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
    stable_call_free(first);
    return NULL;
}

void stable_call_free(struct family_call *call)
{
    if (call) {
        unet_prompt_free(call->prompt);
        stable_control_end(&call->guides);
    }
    free(call);
}

/* x [b, h, w, channels] with what stands beside it, in the arena. */
static const float *with_beside(const struct stable *s, struct ops *o,
                                const struct family_call *call, const float *x)
{
    size_t pixels = (size_t)call->height * (size_t)call->width;
    size_t z = (size_t)s->base.facts.channels, more = (size_t)s->base.facts.beside;
    float *joined = arena_alloc(o->arena, (size_t)call->b * pixels * (z + more), sizeof *joined);
    if (arena_planning(o->arena))
        return NULL;
    float *to = joined;
    for (size_t i = 0; i < (size_t)call->b * pixels; i++, to += z + more) {
        memcpy(to, x + i * z, z * sizeof *to);
        if (call->beside)
            memcpy(to + z, call->beside + i % pixels * more, more * sizeof *to);
        else
            memset(to + z, 0, more * sizeof *to);
    }
    return joined;
}

void stable_predict(const struct family_model *m, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y)
{
    const struct stable *s = stable_of(m);
    struct unet_shortcuts shortcuts = {call->token_merging, call->keep ? &call->deep : NULL, reuse};
    size_t mark = arena_mark(o->arena);
    struct unet_residuals residuals;
    const struct unet_residuals *added =
        stable_control_run(o, &call->guides, x, call->height, call->width, (float)t, &residuals);
    if (s->base.facts.beside)
        x = with_beside(s, o, call, x);
    unet_forward(o, s->unet, call->prompt, x, call->height, call->width, (float)t, &shortcuts,
                 added, y);
    arena_reset(o->arena, mark);
}

void stable_beside(const struct family_model *m, struct ops *o, const struct family_source *source,
                   float *out)
{
    const struct stable *s = stable_of(m);
    int h = source->height, w = source->width, f = s->base.facts.factor;
    size_t pixels = (size_t)h * (size_t)w, z = (size_t)s->base.facts.channels;
    size_t mark = arena_mark(o->arena), more = (size_t)s->base.facts.beside;
    bool real = !arena_planning(o->arena), masked = s->config.beside == STABLE_MASKED;
    const float *picture = source->picture;
    if (masked || !picture) {
        size_t all = pixels * (size_t)(f * f);
        float *shown = arena_alloc(o->arena, 3 * all, sizeof *shown);
        if (real)
            source_hide(source, all, shown);
        picture = shown;
    }
    float *latent = arena_alloc(o->arena, pixels * z, sizeof *latent);
    stable_encode(m, o, picture, h, w, latent);
    for (size_t i = 0; i < pixels && real; i++, out += more) {
        size_t y = i / (size_t)w * (size_t)f, x = i % (size_t)w * (size_t)f;
        if (masked)
            out[0] = source->mask ? source->mask[y * (size_t)(w * f) + x] : 1;
        for (size_t k = 0; k < z; k++)
            out[more - z + k] = latent[i * z + k] / (masked ? 1 : s->config.vae.scale);
    }
    arena_reset(o->arena, mark);
}

void stable_decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture)
{
    const struct stable *s = stable_of(m);
    if (s->tae)
        tae_decode(o, s->tae, latent, h, w, picture);
    else
        vae_decode(o, s->vae, latent, h, w, picture);
}

void stable_encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent)
{
    const struct stable *s = stable_of(m);
    if (s->vae)
        vae_encode(o, s->vae, picture, h, w, latent);
    else
        tae_encode(o, s->tae, picture, h, w, latent);
}

void stable_preview(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                    float *picture)
{
    tae_decode(o, stable_of(m)->tiny.tae, latent, h, w, picture);
}
