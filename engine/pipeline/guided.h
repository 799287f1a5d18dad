/* guided.h: a model with classifier-free guidance as the denoiser that samplers ask.
 *
 * Prompt and negative prompt are one batch where they have as many tokens; else each has its own
 * call. A model that edits pictures is asked once more, without the picture (Brooks et al. 2023,
 * eq. 3). At guidance 1 the negative prompt is not looked at, and calls may be left without
 * guidance or without a part of the network to be faster: see struct pictor_speed. */
#ifndef PICTOR_ENGINE_PIPELINE_GUIDED_H
#define PICTOR_ENGINE_PIPELINE_GUIDED_H

#include "engine/family/family.h"
#include "engine/sample/sampler.h"

struct guided_options {
    struct ops *ops;
    const struct family_model *model;
    const struct schedule *schedule;
    struct family_picture picture;
    struct family_words words[2]; /* of the prompt and its negative */
};

struct guided {
    struct guided_options o;
    float guidance, image_guidance; /* 1: none */
    /* Each half's call, or in the first place that of both as a batch; `alone`: the prompt's, for
     * when there is no guidance. */
    struct family_call *calls[2], *alone;
    /* The negative prompt's, of a network that is not shown what it paints over; NULL without image
     * guidance. */
    struct family_call *blank;
    int count;      /* of `calls` */
    int made;       /* calls of the network so far */
    int deep;       /* parts of which the deep levels are known: 1 the prompt's, 2, 3 with blank */
    float *x, *out; /* [2 or 3, h, w, channels] */
};

/* Allocates in o->ops->arena, which must stay as it is until guided_free. */
bool guided_new(struct guided *g, const struct guided_options *o, struct err *err);
void guided_free(struct guided *g);

/* Borrows g. Latents are [pixels, channels]. While planning, one call runs it dry. */
struct denoiser guided_denoiser(struct guided *g);

#endif
