/* hollow.h: a device that computes nothing and says what it was asked for. Its matrices hold no
 * weights, so a model of any size can be made for it from no file at all (engine/model/layers.h)
 * and be planned, to see what it does and what it takes. */
#ifndef PICTOR_ENGINE_COMPUTE_HOLLOW_H
#define PICTOR_ENGINE_COMPUTE_HOLLOW_H

#include "engine/compute/ops.h"

enum hollow_kind {
    HOLLOW_LINEAR,
    HOLLOW_CONV3X3,
    HOLLOW_UPSAMPLE,
    HOLLOW_GROUP_NORM,
    HOLLOW_LAYER_NORM,
    HOLLOW_ATTENTION
};

/* An operation; those that only move or convert numbers are not noted. Valid during the call. */
struct hollow_note {
    const struct arena *arena; /* model code may plan a part of itself over one of its own */
    enum hollow_kind kind;
    const struct tensor *y, *x;
    const struct tensor *keys; /* of attention */
    const struct matrix *w;    /* of products */
    int heads;
};
typedef void hollow_fn(void *ctx, const struct hollow_note *note);

/* Activations are of `dtype`. Returns owned; only for planning. */
struct device *hollow_new(enum dtype dtype, hollow_fn *fn, void *ctx, struct err *err);

#endif
