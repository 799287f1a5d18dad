/* controlnet.h: a network that leads a UNet by a picture (Zhang et al. 2023): a copy of its way
 * down, to which the picture is added, and whose results are added to what the UNet's own way down
 * leaves. Read as a UNet by itself (io/names.h). */
#ifndef PICTOR_ENGINE_MODEL_CONTROLNET_H
#define PICTOR_ENGINE_MODEL_CONTROLNET_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/unet.h"

struct controlnet;

/* For a UNet of these sizes, which the heads are taken from; ERR_INVALID: it is for another one.
 * Returns owned. */
struct controlnet *controlnet_load(struct device *dev, const struct checkpoint *cp,
                                   const struct unet_config *unet, struct err *err);
void controlnet_free(struct controlnet *c);
size_t controlnet_bytes(const struct controlnet *c); /* packed, in memory */

/* As unet_prompt_new, of the same context and label. */
struct unet_prompt *controlnet_prompt(struct ops *o, const struct controlnet *c, int b, int tokens,
                                      const float *context, const float *label);

/* What becomes of the picture [8 h, 8 w, 3] in 0..1, once for all steps; lives in the arena. */
struct tensor controlnet_hint(struct ops *o, const struct controlnet *c, const float *picture,
                              int h, int w);

/* Zeros of the sizes of what it says, in the arena. */
void controlnet_silence(struct ops *o, const struct controlnet *c, const struct unet_prompt *prompt,
                        int h, int w, struct unet_residuals *out);

/* How what it says is taken. */
struct controlnet_lead {
    double weight;
    bool soft; /* of n residuals the i-th is times 0.825^(12 - i) besides */
    const float *region; /* [h, w] what it is times there; at lower levels what lies between (as
                            PyTorch's bilinear); NULL: 1 */
};

/* What it says of x [b, h, w, channels] at t, added to `out`, or if `fresh` in its place: then it
 * is made in the arena. `out` may be of more pictures, of which the first are meant. */
void controlnet_forward(struct ops *o, const struct controlnet *c, const struct unet_prompt *prompt,
                        const struct tensor *hint, const float *x, int h, int w, float t,
                        const struct controlnet_lead *lead, bool fresh, struct unet_residuals *out);

#endif
