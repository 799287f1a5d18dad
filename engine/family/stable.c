#include "engine/family/stable.h"

#include <stdlib.h>
#include <string.h>

#include "engine/family/compose.h"
#include "engine/family/conditioning.h"
#include "engine/text/chunk.h"

struct stable {
    struct family_model base;
    struct stable_config config;
    struct tokenizer *tokenizer;
    struct clip *clip;
    struct unet *unet;
    struct vae *vae;
    struct conditioning *conditioning;
};

struct family_call {
    struct unet_prompt *prompt;
    double token_merging;
    int height, width;
    bool keep;          /* what the deep levels say, in `deep` */
    struct tensor deep; /* b: pictures of the call */
};

bool stable_is_unet(const struct checkpoint *cp, bool linear)
{
    static const char name[] = "model.diffusion_model.middle_block.1.proj_in.weight";
    const struct raw_tensor *in = checkpoint_find(cp, name);
    return checkpoint_has(cp, "model.diffusion_model.input_blocks.") &&
           !checkpoint_has(cp, "model.diffusion_model.label_emb.") &&
           !checkpoint_has(cp, "conditioner.") && !checkpoint_has(cp, "control_model.") &&
           linear == (in && in->ndim == 2);
}

static const struct stable *stable_of(const struct family_model *m)
{
    return (const struct stable *)m;
}

/* ---- opening ---- */

bool stable_read(const struct checkpoint *cp, const char *name, struct stable_config *c,
                 struct err *err)
{
    int in[4] = {0};
    *c = (struct stable_config){0};
    if (!checkpoint_sizes(cp, "model.diffusion_model.input_blocks.0.0.weight", 4, in, err))
        return false;
    if (in[1] == 9 || in[1] == 8)
        return err_set(err, ERR_UNSUPPORTED,
                       "this is an %s %s checkpoint (%d input channels); pictor runs %s with 4",
                       name, in[1] == 9 ? "inpainting" : "InstructPix2Pix", in[1], name);
    if (!clip_read(cp, &c->clip, err) || !unet_read(cp, &c->unet, err) ||
        !vae_read(cp, &c->vae, err))
        return false;
    int z = c->vae.channels;
    if (c->unet.in_channels != z || c->unet.out_channels != z)
        return err_set(err, ERR_UNSUPPORTED,
                       "UNet: wanted %d channels in and out, found %d in and %d out", z,
                       c->unet.in_channels, c->unet.out_channels);
    if (c->unet.context_dim != c->clip.width)
        return err_set(err, ERR_INVALID,
                       "UNet: takes text of width %d, but the text encoder's is %d",
                       c->unet.context_dim, c->clip.width);
    return true;
}

struct family_facts stable_facts(const struct stable_config *c)
{
    /* For the autoencoder that all published SD 1.x and 2.x models share, fitted on photographs:
     * the figures that SD front ends agree on, halved. Other autoencoders are fitted. */
    static const float published[5][3] = {{.298f / 2, .207f / 2, .208f / 2},
                                          {.187f / 2, .286f / 2, .173f / 2},
                                          {-.158f / 2, .189f / 2, .264f / 2},
                                          {-.184f / 2, -.271f / 2, -.473f / 2},
                                          {.5f, .5f, .5f}};
    int factor = 1 << (c->vae.levels - 1);
    return (struct family_facts){
        .channels = c->vae.channels,
        .factor = factor,
        .multiple = factor,
        .guided = true,
        .clip_skips = c->clip.layers,
        .preview = c->vae.encoder_channels[0] == 128 ? published : NULL,
    };
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
    s->base = (struct family_model){family, *facts};
    s->config = *config;
    size_t *bytes = &s->base.facts.info.weight_bytes;
    if ((s->tokenizer = tokenizer_new(err)) &&
        (s->clip = clip_load(dev, cp, &config->clip, bytes, err)) &&
        (s->unet = unet_load(dev, cp, &config->unet, bytes, err)) &&
        (s->vae = vae_load(dev, cp, &config->vae, bytes, err)) &&
        (s->conditioning = conditioning_new(s->clip, s->tokenizer, config->pad, err)))
        return &s->base;
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
    s->base = (struct family_model){family, stable_facts(config)};
    s->config = *config;
    size_t bytes = 0;
    if ((s->unet = unet_load(dev, NULL, &config->unet, &bytes, err)) &&
        (s->vae = vae_load(dev, NULL, &config->vae, &bytes, err)))
        return &s->base;
    stable_free(&s->base);
    return NULL;
}

void stable_free(struct family_model *m)
{
    struct stable *s = (struct stable *)m;
    if (!s)
        return;
    conditioning_free(s->conditioning);
    vae_free(s->vae);
    unet_free(s->unet);
    clip_free(s->clip);
    tokenizer_free(s->tokenizer);
    free(s);
}

void stable_schedule(const struct family_model *m, int width, int height, int steps,
                     struct schedule *out)
{
    schedule_init(out, STABLE_BETA_START, STABLE_BETA_END);
    out->prediction = stable_of(m)->config.prediction;
}

bool stable_fit(const struct family_model *m, const struct pictor_params *asked,
                struct pictor_params *fitted)
{
    const struct stable_config *c = &stable_of(m)->config;
    return c->compose_side &&
           compose_fit(&m->facts, c->compose_side, c->detail_strength, asked, fitted);
}

/* ---- words ---- */

bool stable_words(struct family_model *m, struct ops *o, const struct pictor_params *params,
                  const char *prompt, struct family_words *out, struct err *err)
{
    const struct stable *s = stable_of(m);
    int skip = s->config.skip ? s->config.skip : params->clip_skip;
    return conditioning_encode(s->conditioning, o, prompt, skip, out, err);
}

/* ---- the network ---- */

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
    const float *states = words->states;
    if (b > 1) {
        size_t n = (size_t)words->tokens * (size_t)s->config.clip.width;
        float *all = arena_alloc(o->arena, (size_t)b * n, sizeof *all);
        for (int i = 0; i < b && !arena_planning(o->arena); i++)
            memcpy(all + (size_t)i * n, words[i].states, n * sizeof *all);
        states = all;
    }
    call->token_merging = speed->token_merging;
    call->prompt = unet_prompt_new(o, s->unet, b, words->tokens, states);
    if (!call->prompt) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        free(call);
        return NULL;
    }
    call->keep = speed->reuse_every > 1;
    if (call->keep)
        call->deep = unet_deep(o, s->unet, b, picture->height, picture->width);
    call->height = picture->height;
    call->width = picture->width;
    return call;
}

struct family_call *stable_call_first(const struct family_call *call, struct err *err)
{
    struct family_call *first = calloc(1, sizeof *first);
    if (first) {
        *first = *call;
        first->deep.b = 1;
        first->prompt = unet_prompt_first(call->prompt, 1);
    }
    if (!first || !first->prompt) {
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
        free(first);
        return NULL;
    }
    return first;
}

void stable_call_free(struct family_call *call)
{
    if (call)
        unet_prompt_free(call->prompt);
    free(call);
}

void stable_predict(const struct family_model *m, struct ops *o, struct family_call *call,
                    const float *x, double t, bool reuse, float *y)
{
    struct unet_shortcuts shortcuts = {call->token_merging, call->keep ? &call->deep : NULL, reuse};
    unet_forward(o, stable_of(m)->unet, call->prompt, x, call->height, call->width, (float)t,
                 &shortcuts, y);
}

void stable_decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                   float *picture)
{
    vae_decode(o, stable_of(m)->vae, latent, h, w, picture);
}

void stable_encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                   float *latent)
{
    vae_encode(o, stable_of(m)->vae, picture, h, w, latent);
}
