/* clip.h: the text encoder of Stable Diffusion 1.x: CLIP's transformer (Radford et al. 2021). */
#ifndef PICTOR_ENGINE_MODEL_CLIP_H
#define PICTOR_ENGINE_MODEL_CLIP_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"

struct clip;

/* Packs the weights for the device; *bytes is increased by their size. The token embeddings stay
 * in the checkpoint, which must outlive it. Returns owned. */
struct clip *clip_load(struct device *dev, const struct checkpoint *cp, const struct sd1_arch *arch,
                       size_t *bytes, struct err *err);
void clip_free(struct clip *c);

/* out [n, width] = hidden states of `n` token ids (n <= positions, ids < vocab) after all but the
 * last `skip - 1` layers, through the final layer norm. Neither is touched while planning. */
void clip_encode(struct ops *o, const struct clip *c, const int *ids, int n, int skip, float *out);

#endif
