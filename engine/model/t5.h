/* t5.h: the encoder of T5 1.1 (Raffel et al. 2020; Shazeer 2020 for its gated feed-forwards): the
 * states after its last layer and norm. */
#ifndef PICTOR_ENGINE_MODEL_T5_H
#define PICTOR_ENGINE_MODEL_T5_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define T5_ROOT "text_encoders.t5xxl.transformer." /* what its names begin with (io/names.h) */

struct t5_config {
    int vocab, width, layers, ff;
    int heads, head; /* head: channels of one; heads head may be another number than width */
    int buckets;     /* of distances, half of them for either side */
};

/* Sizes from names and shapes. */
bool t5_read(const struct checkpoint *cp, struct t5_config *out, struct err *err);

struct t5;

/* Packs the weights for the device and lists them in `weights`, which may be NULL. Those in blocks
 * of few bits and the token embeddings stay in the checkpoint, which must outlive it. Returns
 * owned. */
struct t5 *t5_load(struct device *dev, const struct checkpoint *cp, const struct t5_config *config,
                   struct weights *weights, struct err *err);
void t5_free(struct t5 *t);

int t5_width(const struct t5 *t);
int t5_vocab(const struct t5 *t);

/* out [n, width] = the states of n token ids (each below `vocab`), which all see each other.
 * Planning touches neither ids nor out. */
void t5_encode(struct ops *o, const struct t5 *t, const int *ids, int n, float *out);

#endif
