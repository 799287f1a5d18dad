/* guided.h: a model with classifier-free guidance as the denoiser that samplers ask.
 *
 * A prompt and its negative are one batch where they have as many tokens; else each has its own
 * call, as each of several prompts joined by AND has. Where a prompt changes, its call is made
 * again. A model that edits pictures is asked once more, without the picture (Brooks et al. 2023,
 * eq. 3). Where the negative prompt would count for nothing it is not looked at, and calls may be
 * left without guidance or without a part of the network to be faster: see struct pictor_speed. */
#ifndef PICTOR_ENGINE_PIPELINE_GUIDED_H
#define PICTOR_ENGINE_PIPELINE_GUIDED_H

#include "engine/pipeline/spoken.h"
#include "engine/sample/sampler.h"

struct guided_options {
    struct ops *ops;
    const struct family_model *model;
    const struct schedule *schedule;
    struct family_picture picture;
    const struct spoken *spoken;
    const struct sampler *sampler; /* who asks, and for how much guidance; NULL: anyone, all */
    int calls;                     /* about how many there will be */
};

struct guided {
    struct guided_options o;
    int prompts;                 /* those joined by AND */
    double weights[WORDING_MAX]; /* guidance of each: the picture's, times its own */
    float image_guidance;        /* 1: none */
    bool edits;                  /* there is one */
    bool alone;                  /* the negative prompt counts for nothing */
    /* A call each of the prompts and of the negative one, or in the first place that of both as a
     * batch, of which `single` is the prompt's half, for when there is no guidance. */
    struct family_call *calls[WORDING_MAX], *single;
    /* The negative prompt's, of a network that is not shown what it paints over; NULL without image
     * guidance. */
    struct family_call *blank;
    int count;                 /* of `calls` */
    size_t texts[WORDING_MAX]; /* what they were made of */
    size_t below, above;       /* where they lie in the arena */
    int made;                  /* calls of the network so far */
    int deep;                  /* answers of which the deep levels are known, of the first calls */
    float *x, *out;            /* [2, h, w, channels], [prompts + 1 or 2, h, w, channels] */
};

/* Allocates in o->ops->arena. From the first call of the denoiser until guided_free, what lies
 * above there is of no one but the denoiser when it is called. */
void guided_new(struct guided *g, const struct guided_options *o);
void guided_free(struct guided *g);

/* `to`, which nobody has asked yet, is asked from now on in the place of `from`, and counts on. */
void guided_hand_over(struct guided *from, struct guided *to);

/* Brings `guided` [n] back to the spread of what the prompt alone says, `cond` [n], by a `share`
 * of the way (Lin et al. 2023, equations 14 to 16). */
void guided_rescale(float *guided, const float *cond, size_t n, double share);

/* Borrows g. Latents are [pixels, channels]. While planning, one call runs it dry. */
struct denoiser guided_denoiser(struct guided *g);

#endif
