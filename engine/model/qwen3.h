/* qwen3.h: Qwen3's decoder (Qwen team 2025) as a text encoder: the residual stream after some of
 * its layers, as they lie, without the final norm. */
#ifndef PICTOR_ENGINE_MODEL_QWEN3_H
#define PICTOR_ENGINE_MODEL_QWEN3_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define QWEN3_ROOT                                                                                 \
    "cond_stage_model.transformer.model." /* what its names begin with (io/names.h) */
#define QWEN3_MAX_TAKEN 8

struct qwen3_config {
    const char *root;             /* must outlive the config and what is loaded with it */
    int vocab, width, layers, ff; /* layers: as many as the file has */
    int heads, kv_heads, head;    /* head: channels of one */
    int used;                     /* layers that are loaded, 1..layers: the caller's to lower */
};

/* Sizes from names and shapes; `used` is `layers`. */
bool qwen3_read(const struct checkpoint *cp, const char *root, struct qwen3_config *out,
                struct err *err);

struct qwen3;

/* Packs the weights of the first `used` layers for the device and lists them in `weights`, which
 * may be NULL. Those in blocks of few bits and the token embeddings stay in the checkpoint, which
 * must outlive it. Returns owned. */
struct qwen3 *qwen3_load(struct device *dev, const struct checkpoint *cp,
                         const struct qwen3_config *config, struct weights *weights,
                         struct err *err);
void qwen3_free(struct qwen3 *q);

int qwen3_width(const struct qwen3 *q);

/* out [n, count width]: side by side the states after `count` layers (`after`, rising, from 0 on,
 * below `used`) of n token ids (each below `vocab`), at positions 0..n - 1. A token sees itself and
 * those before it, of the first `seen` (1..n): what is behind them is padding, which sees all of
 * these. Computes no layer beyond the last that is taken. Planning touches neither ids nor out. */
void qwen3_encode(struct ops *o, const struct qwen3 *q, const int *ids, int n, int seen,
                  const int *after, int count, float *out);

#endif
