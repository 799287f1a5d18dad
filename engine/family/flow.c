#include "engine/family/flow.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct flow_model *own(struct family_model *m)
{
    return (struct flow_model *)m;
}

static const struct flow_model *of(const struct family_model *m)
{
    return (const struct flow_model *)m;
}

/* ---- models ---- */

struct flow_model *flow_new(size_t size, const struct flow_network *network, struct device *dev,
                            const struct checkpoint *cp, struct err *err)
{
    struct flow_model *m = calloc(1, size);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory for a model");
        return NULL;
    }
    m->network = network;
    m->dev = dev;
    m->cp = cp;
    return m;
}

void flow_free(struct flow_model *m)
{
    vae_free(m->vae);
    weights_free(&m->weights);
    merged_free(&m->merged);
    free(m);
}

struct family_model *flow_opened(struct flow_model *m, const struct family *family,
                                 const struct family_facts *facts)
{
    m->base = (struct family_model){.family = family, .facts = *facts};
    m->base.facts.info.weight_bytes = weights_needed(&m->weights);
    return &m->base;
}

bool flow_merge(struct family_model *base, const struct pictor_lora *loras, size_t count,
                struct err *err)
{
    struct flow_model *m = own(base);
    m->weights.spare = base->spare;
    bool ok = merged_set(&m->merged, &m->weights, m->dev, m->cp, loras, count, err);
    base->facts.info.weight_bytes = weights_needed(&m->weights);
    m->network->forget(m); /* it made something of prompts */
    return ok;
}

void flow_rest(struct family_model *base)
{
    struct flow_model *m = own(base);
    merged_rest(&m->merged, &m->weights);
}

bool flow_wake(struct family_model *base, struct err *err)
{
    struct flow_model *m = own(base);
    return merged_wake(&m->merged, &m->weights, m->dev, m->cp, err);
}

bool flow_fit(const struct family_model *m, const struct pictor_params *asked,
              struct family_fitted *fitted)
{
    *fitted = (struct family_fitted){.params = *asked};
    struct pictor_params *p = &fitted->params;
    p->width -= p->width % FLOW_MULTIPLE;
    p->height -= p->height % FLOW_MULTIPLE;
    p->hires_width -= p->hires_width % FLOW_MULTIPLE;
    p->hires_height -= p->hires_height % FLOW_MULTIPLE;
    return p->width != asked->width || p->height != asked->height ||
           p->hires_width != asked->hires_width || p->hires_height != asked->hires_height;
}

bool flow_is_called(const struct checkpoint *cp, const char *word)
{
    const char *name = checkpoint_name(cp), *title = checkpoint_metadata(cp, "modelspec.title");
    char lower[400];
    snprintf(lower, sizeof lower, "%.272s %.96s", name, title ? title : "");
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return strstr(lower, word);
}

void flow_release(const struct checkpoint *cp, const char *prefix)
{
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        if (strncmp(t->name, prefix, strlen(prefix)) == 0)
            checkpoint_release(cp, t);
    }
}

void flow_begin_words(void *ctx)
{
    const struct flow_model *m = ctx;
    flow_release(m->cp, names_prefix(NAMES_UNET));
    flow_release(m->cp, names_prefix(NAMES_VAE));
}

/* ---- calls ---- */

struct family_call {
    int b;
    size_t latent, each; /* floats of one latent; units of one prompt's call */
    max_align_t calls[]; /* the network's */
};

static struct family_call *room_for(int b, size_t each, struct err *err)
{
    struct family_call *call = calloc(1, sizeof *call + (size_t)b * each * sizeof *call->calls);
    if (!call)
        err_set(err, ERR_INTERNAL, "no memory for a prompt");
    else
        *call = (struct family_call){.b = b, .each = each};
    return call;
}

struct family_call *flow_call_new(const struct family_model *base, struct ops *o,
                                  const struct family_picture *picture,
                                  const struct family_words *words, int b, struct err *err)
{
    const struct flow_model *m = of(base);
    const struct flow_network *n = m->network;
    if (n->fits && !n->fits(m, picture, err))
        return NULL;
    size_t each = (n->call + sizeof(max_align_t) - 1) / sizeof(max_align_t);
    struct family_call *call = room_for(b, each, err);
    if (!call)
        return NULL;
    call->latent = (size_t)picture->height * (size_t)picture->width * (size_t)base->facts.channels;
    for (int i = 0; i < b; i++)
        n->begin(m, o, picture, &words[i], call->calls + (size_t)i * each);
    return call;
}

struct family_call *flow_call_first(const struct family_call *call, struct err *err)
{
    struct family_call *first = room_for(1, call->each, err);
    if (!first)
        return NULL;
    first->latent = call->latent;
    memcpy(first->calls, call->calls, call->each * sizeof *call->calls);
    return first;
}

void flow_call_free(struct family_call *call)
{
    free(call);
}

void flow_predict(const struct family_model *base, struct ops *o, struct family_call *call,
                  const float *x, double t, bool reuse, float *y)
{
    const struct flow_model *m = of(base);
    bool real = !arena_planning(o->arena);
    for (int i = 0; i < call->b; i++) {
        size_t at = real ? (size_t)i * call->latent : 0;
        m->network->forward(m, o, call->calls + (size_t)i * call->each, x + at, t, y + at);
    }
}

/* ---- pictures ---- */

void flow_decode(const struct family_model *m, struct ops *o, const float *latent, int h, int w,
                 float *picture)
{
    vae_decode(o, of(m)->vae, latent, h, w, picture);
}

void flow_encode(const struct family_model *m, struct ops *o, const float *picture, int h, int w,
                 float *latent)
{
    vae_encode(o, of(m)->vae, picture, h, w, latent);
}

bool flow_shows_own(const struct pictor_params *p)
{
    return p->init && p->strength >= 1;
}

void flow_beside_own(const struct family_model *m, struct ops *o,
                     const struct family_source *source, float *out)
{
    if (flow_shows_own(source->params))
        flow_encode(m, o, source->picture, source->height, source->width, out);
}
