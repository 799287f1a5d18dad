/* guided.h: the UNet with classifier-free guidance as the denoiser that samplers ask.
 *
 * Both halves are one batch where the prompts have as many tokens; else each has its own call with
 * its own context length. At guidance 1 the negative prompt is not looked at, and calls may be left
 * without guidance or with a part of the UNet to be faster: see struct pictor_speed. */
#ifndef PICTOR_ENGINE_PIPELINE_GUIDED_H
#define PICTOR_ENGINE_PIPELINE_GUIDED_H

#include "engine/model/unet.h"
#include "engine/pictor.h"
#include "engine/sample/sampler.h"

#define GUIDED_CHANNELS 4 /* of a latent */

struct guided_options {
    struct ops *ops;
    const struct unet *unet;
    const struct schedule *schedule;
    int width, height; /* of the latent */
    float guidance;
    int state_width;        /* channels of the text states */
    int tokens[2];          /* of the prompt and its negative */
    const float *states[2]; /* [tokens, state_width]; not touched while planning */
    struct pictor_speed speed;
};

/* One call of the UNet: a half, or both as a batch. */
struct guided_half {
    struct unet_prompt *prompt;
    struct tensor deep; /* what its deep levels said last */
};

struct guided {
    struct guided_options o;
    struct guided_half halves[2], alone; /* alone: the prompt's, for a call without guidance */
    int count;      /* halves: 1 where both are one batch, or there is no guidance */
    int calls;      /* made so far */
    int deep;       /* halves of which the deep levels are known: 0, 1 (the prompt's), 2 */
    float *x, *eps; /* [2, 4, h, w] */
};

/* Allocates in o->ops->arena, which must stay as it is until guided_free. */
bool guided_new(struct guided *g, const struct guided_options *o, struct err *err);
void guided_free(struct guided *g);

/* Borrows g. Latents are [pixels, 4]. While planning, one call runs it dry. */
struct denoiser guided_denoiser(struct guided *g);

#endif
