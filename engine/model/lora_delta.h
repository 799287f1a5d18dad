/* lora_delta.h: what one module of a LoRA file adds to one weight.
 *
 * A weight is a matrix [n, k] or a convolution [n, k, h, w]; here it is n rows of k * taps numbers.
 * Its change is stored in factors (r is the rank, s the scale, alpha / r):
 *
 *     LoRA  (Hu et al. 2021)   s up [n, r] down [r, k taps]
 *     LoCon (LyCORIS)          s up [n, r] mid [r, q, taps] down [q, k], or as LoRA
 *     LoHa  (LyCORIS)          s (w1_a [n, r] w1_b [r, k taps]) o (w2_a w2_b), o elementwise; with
 *                              t1, t2 as mid, and then w1_a [r, n], w1_b [r, k]
 *     LoKr  (LyCORIS)          s w1 [a, b] x w2 [c, d taps], x the Kronecker product, ac = n and
 *                              bd = k; each whole or of two or three factors as in LoHa
 *     full                     diff [n, k taps]
 *
 * DoRA (Liu et al. 2024) says besides how long the rows (or, in early files, the columns) of the
 * sum of weight and change are to be. */
#ifndef PICTOR_ENGINE_MODEL_LORA_DELTA_H
#define PICTOR_ENGINE_MODEL_LORA_DELTA_H

#include "engine/base/err.h"
#include "engine/compute/ops.h"
#include "engine/io/raw_tensor.h"

/* The tensors that a module may have. */
enum lora_part {
    LORA_UP,
    LORA_DOWN,
    LORA_MID,
    LORA_W1_A,
    LORA_W1_B,
    LORA_W2_A,
    LORA_W2_B,
    LORA_T1,
    LORA_T2,
    LORA_KR_W1, /* from here to LORA_KR_T2: LoKr's */
    LORA_KR_W2,
    LORA_KR_W1_A,
    LORA_KR_W1_B,
    LORA_KR_W2_A,
    LORA_KR_W2_B,
    LORA_KR_T2,
    LORA_DIFF,
    LORA_ALPHA,
    LORA_SCALE,     /* in place of alpha / r */
    LORA_MAGNITUDE, /* DoRA's lengths, of rows */
    LORA_DORA,      /* DoRA's lengths, of columns where there is one row of them */
    LORA_PARTS
};

struct lora_shape {
    size_t n, k, taps;
};

struct lora_delta;

/* `parts` [LORA_PARTS], NULL where the module has none. ERR_INVALID: they do not fit each other or
 * the weight, or a size of that is not 1..2^20; the message begins with what. Returns owned. */
struct lora_delta *lora_delta_new(const struct raw_tensor *const *parts,
                                  const struct lora_shape *shape, struct err *err);
void lora_delta_free(struct lora_delta *d);

/* Whether any part of a row can be had by itself for little: one sum of products, without lengths.
 */
bool lora_delta_is_plain(const struct lora_delta *d);
size_t lora_delta_bytes(const struct lora_delta *d);
/* Of one that is: adds `strength` times `n` numbers of row `row` from `at` on to w, as
 * lora_delta_add would, bit for bit. */
void lora_delta_add_part(const struct lora_delta *d, double strength, size_t row, size_t at,
                         size_t n, float *w);

/* Adds `strength` times rows [first, first + count) of the change to w [count, k taps], on the
 * device's threads. ERR_UNSUPPORTED: not all of them, of one that says how long columns are. */
bool lora_delta_add(const struct lora_delta *d, struct device *dev, double strength, float *w,
                    size_t first, size_t count, struct err *err);

#endif
