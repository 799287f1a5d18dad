/* clip.h: CLIP's text encoder (Radford et al. 2021), of OpenAI's and of OpenCLIP's models. */
#ifndef PICTOR_ENGINE_MODEL_CLIP_H
#define PICTOR_ENGINE_MODEL_CLIP_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"

struct clip_config {
    int width, layers, heads, ff, vocab, positions; /* heads = width / 64, at least 1 */
    bool fused;          /* queries, keys and values are one matrix, as OpenCLIP has them */
    enum activation act; /* of the feed-forward; the family says it, no file does */
};

/* Sizes from names and shapes ("cond_stage_model.transformer.text_model."); all but `act`. */
bool clip_read(const struct checkpoint *cp, struct clip_config *out, struct err *err);

struct clip;

/* Packs the weights for the device; *bytes is increased by their size. The token embeddings stay
 * in the checkpoint, which must outlive it. Returns owned. */
struct clip *clip_load(struct device *dev, const struct checkpoint *cp,
                       const struct clip_config *config, size_t *bytes, struct err *err);
void clip_free(struct clip *c);

int clip_layers(const struct clip *c);
int clip_width(const struct clip *c);

/* out [n, width] = hidden states of `n` token ids (n <= positions, ids < vocab) after all but the
 * last `skip - 1` layers, through the final layer norm. Neither is touched while planning. */
void clip_encode(struct ops *o, const struct clip *c, const int *ids, int n, int skip, float *out);

#endif
