/* clip.h: CLIP's text encoder (Radford et al. 2021), of OpenAI's and of OpenCLIP's models. */
#ifndef PICTOR_ENGINE_MODEL_CLIP_H
#define PICTOR_ENGINE_MODEL_CLIP_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

/* What the names of a model's text encoders begin with (io/names.h). */
#define CLIP_FIRST "cond_stage_model.transformer."
#define CLIP_SECOND "conditioner.embedders.1.transformer."

struct clip_config {
    const char *root;                               /* CLIP_FIRST or CLIP_SECOND */
    int width, layers, heads, ff, vocab, positions; /* heads = width / 64, at least 1 */
    int projection; /* width of what a prompt as a whole becomes; 0: the encoder does not say it */
    bool fused;     /* queries, keys and values are one matrix, as OpenCLIP has them */
    /* The family says these, no file does. */
    enum activation act; /* of the feed-forward */
    bool bare;           /* states come without the final layer norm */
    bool plain;          /* what a prompt as a whole becomes is not projected, whatever is there */
};

/* Sizes from names and shapes; all but what the family says. `root` must outlive the result. */
bool clip_read(const struct checkpoint *cp, const char *root, struct clip_config *out,
               struct err *err);

struct clip;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. The token
 * embeddings stay in the checkpoint, which must outlive it. Returns owned. */
struct clip *clip_load(struct device *dev, const struct checkpoint *cp,
                       const struct clip_config *config, struct weights *weights, struct err *err);
void clip_free(struct clip *c);

int clip_width(const struct clip *c);
int clip_projection(const struct clip *c);

/* out [n, width] = hidden states of `n` token ids (n <= positions) after all but the last
 * `skip - 1` layers, through the final layer norm unless they are bare. pooled [projection] =
 * the last layer's state of the first end token, through the final layer norm and the projection;
 * not written where there is none. Planning touches none of them. Ids from CLIP_VOCAB on are rows
 * of `own` [.., width], which stand in the place of what the table of tokens says; it may be NULL
 * where there are none. */
#define CLIP_VOCAB 49408 /* ids of the tokenizer */
void clip_encode(struct ops *o, const struct clip *c, const int *ids, int n, const float *own,
                 int skip, float *out, float *pooled);

#endif
