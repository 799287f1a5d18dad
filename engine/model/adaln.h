/* adaln.h: what flow transformers have in common around their products: sinusoids of a number to a
 * vector, and what that vector says of every norm (adaLN: Peebles & Xie 2023): by how much it is
 * shifted and scaled, and how much of what follows it is added. */
#ifndef PICTOR_ENGINE_MODEL_ADALN_H
#define PICTOR_ENGINE_MODEL_ADALN_H

#include "engine/compute/ops.h"
#include "engine/model/layers.h"

#define ADALN_EPSILON 1e-6f
#define ADALN_SINUSOIDS 256 /* of a number */

/* In the arena; [width] each. */
struct adaln {
    const float *shift, *scale, *gate; /* scale: 1 + what the network says */
};

/* `count` groups of shift, scale and gate of `width` channels each, in this order, from a product
 * with `vector` [1, 1, 1, k]. */
void adaln_speak(struct ops *o, const struct matrix *w, const struct tensor *vector, int width,
                 int count, struct adaln *out);
/* One shift and scale; the gate is NULL. `scale_first`: the product says them the other way round.
 */
struct adaln adaln_speak_last(struct ops *o, const struct matrix *w, const struct tensor *vector,
                              int width, bool scale_first);

/* y = LayerNorm(x) scale + shift, LayerNorm without numbers of its own. */
void adaln_norm(struct ops *o, struct tensor *y, const struct tensor *x, const struct adaln *say);

/* y += gate (w x) */
void adaln_add(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
               const struct adaln *say);

/* y [1, 1, 1, n] = w[1] silu(w[0] x), or `more`: y += that; of the sinusoids of a number; or of x
 * [k] as it is. */
void adaln_number(struct ops *o, struct matrix *const w[2], double x, bool more, struct tensor *y);
void adaln_vector(struct ops *o, struct matrix *const w[2], const float *x, int k, bool more,
                  struct tensor *y);

/* y = w x with x [y->w, k] floats; and as floats, out [tokens, n]. */
void adaln_take(struct ops *o, const struct matrix *w, const float *x, int k, struct tensor *y);
void adaln_take_floats(struct ops *o, const struct matrix *w, const float *x, int k, int tokens,
                       float *out);

#endif
