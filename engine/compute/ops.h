/* ops.h: the operations that models are written in.
 *
 * A device is a table of kernels behind these functions; model code does not know which. Every
 * operation checks its shapes by assert (a wrong shape is our bug: files are checked when they are
 * loaded) and does nothing at all while the arena is only planning, so one pass over the model
 * code gives the memory that the picture will need.
 *
 * Activations are F32 or BF16, the same throughout a model; sums, norms, softmax and activation
 * functions are computed in F32. One call at a time a device. */
#ifndef PICTOR_ENGINE_COMPUTE_OPS_H
#define PICTOR_ENGINE_COMPUTE_OPS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/pool.h"
#include "engine/compute/dtype_scales.h"
#include "engine/compute/tensor.h"

struct device;

struct device_options {
    int threads;     /* 0: one per available CPU */
    const char *cpu; /* cap: a device_level_name; NULL: $PICTOR_CPU, else the best */
    int bf16;        /* activations: 1 BF16, 0 F32, -1 BF16 where it is the faster */
    bool int8;       /* multiply by coarse matrices in int8; an error where that is no faster */
};

struct device *device_new(const struct device_options *options, struct err *err);
void device_free(struct device *dev);
/* The i-th level that this program knows, worst to best; NULL behind the last. Every architecture
 * has "scalar"; x86-64 also "avx2" "avx512" "avx512bf16" "amx", AArch64 "neon". */
const char *device_level_name(int i);
const char *device_level(const struct device *dev); /* the one in use */
int device_threads(const struct device *dev);
uint64_t device_beats(const struct device *dev);   /* operations so far, about; any thread */
enum dtype device_dtype(const struct device *dev); /* of activations */

/* Until it is said otherwise, 3x3 convolutions see beyond an edge the other side instead of zeros,
 * but for those of `even` stride: pictures go on where they end. Returns what was so before. */
bool device_wrap(struct device *dev, bool on);

/* From when *flag is true on, the operations that take long do nothing, and what they would have
 * written is whatever lay there: so a picture stops within an operation, however large its network.
 * Whoever keeps what comes of operations, or says that it is good, asks device_stopped first. NULL:
 * there is no flag, as at first. Borrows it. */
void device_heed(struct device *dev, const atomic_bool *flag);
bool device_stopped(const struct device *dev);

/* Runs fn(ctx, task, thread) for every task < n on the device's threads. */
void device_run(struct device *dev, size_t n, pool_fn *fn, void *ctx);

/* FLOP/s of all threads multiplying registers, measured now, in about 10 ms: what no operation can
 * exceed. */
double device_peak(struct device *dev);

/* Weights with their bias packed for the device, in memory of their own. */
struct matrix;

enum matrix_kind {
    MATRIX_LINEAR, /* w: n x k row-major, as PyTorch's Linear has it */
    MATRIX_GATED,  /* the same: the first half of the rows are values, the second half gates, and
                    * y = v gelu(g) has half as many channels (GEGLU: Shazeer 2020) */
    MATRIX_SWIGLU, /* the same with y = silu(a) b: the first half of the rows, a, are the gates,
                    * the second, b, the values; of any number of parts (gate and up, or one) */
    MATRIX_GATED_TANH, /* as MATRIX_SWIGLU with y = gelu(a) b, of which the tanh approximates
                        * gelu (ACT_GELU_TANH) */
    MATRIX_CONV3X3,    /* w: n x k x 3 x 3, as Conv2d has it */
    MATRIX_UPSAMPLE    /* the same, after nearest-neighbour upsampling to twice the size */
};

/* `bias`: n, or NULL. Both of any float dtype, possibly unaligned. Returns owned. */
struct matrix *matrix_new(struct device *dev, enum matrix_kind kind, int n, int k,
                          enum dtype w_dtype, const void *w, enum dtype bias_dtype,
                          const void *bias, struct err *err);

/* What is added to weights as they are read: to `n` numbers of row `row`, from `at` on. On any
 * thread. */
struct matrix_more {
    void (*add)(const struct matrix_more *more, size_t row, size_t at, size_t n, float *w);
};

/* Several matrices with the same k as one (to_q, to_k, to_v in one product): rows are stacked. */
struct matrix_part {
    int n;
    enum dtype dtype, bias_dtype;
    const void *w, *bias;
    float scale; /* what each stored weight is times; 0: nothing */
    bool stays;  /* `w` stays what it is as long as the matrix: weights in blocks of few bits need
                    not be expanded before a product wants them */
    const struct matrix_more *more;    /* NULL: nothing; with `stays` it does, too */
    const struct dtype_scales *scales; /* the same: what else they are times */
    size_t first_row;                  /* of those, that `w` begins with */
    bool lean; /* with `stays`: weights of any type are not packed before a product wants them */
};
static inline bool matrix_kind_gated(enum matrix_kind kind)
{
    return kind == MATRIX_GATED || kind == MATRIX_SWIGLU || kind == MATRIX_GATED_TANH;
}

struct matrix *matrix_new_stacked(struct device *dev, enum matrix_kind kind, int k,
                                  const struct matrix_part *parts, int count, struct err *err);

/* The same, which a device of int8 holds as int8, one scale a row: activations are rounded to int8
 * as they come, by one scale a pixel (a picture, in a convolution), and sums are exact. Not
 * MATRIX_UPSAMPLE, which stays as it is, as everything does on other devices. */
struct matrix *matrix_new_coarse(struct device *dev, enum matrix_kind kind, int k,
                                 const struct matrix_part *parts, int count, struct err *err);

/* Packs other weights into a matrix: parts as many and of the sizes that it was made of. It fails
 * without memory, and then for one that rests, or whose weights were not packed, alone: it is what
 * it was. */
bool matrix_refill(struct device *dev, struct matrix *m, const struct matrix_part *parts, int count,
                   struct err *err);
/* Gives the memory of the packed weights back. Until it is filled again the matrix is good for
 * planning alone. */
void matrix_rest(struct matrix *m);

void matrix_free(struct matrix *m);
size_t matrix_bytes(const struct matrix *m);
size_t matrix_mapped(const struct matrix *m); /* of these, what is not packed, but read in place */
int matrix_rows(const struct matrix *m);      /* channels that come out */
enum matrix_kind matrix_kind_of(const struct matrix *m);
bool matrix_is_coarse(const struct matrix *m); /* made by matrix_new_coarse */

enum activation {
    ACT_NONE,
    ACT_SILU,
    ACT_GELU,       /* x (1 + erf(x / sqrt 2)) / 2 */
    ACT_GELU_TANH,  /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
    ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
    ACT_RELU
};

/* What happens to a product while it is still in registers: y = act(x w + bias + row) gate +
 * residual, where a `slope` multiplies what is below zero after `act`. */
struct epilogue {
    enum activation act;
    const float *slope; /* PReLU's (He et al. 2015), a channel each, rounded up to 32; or NULL */
    const float *row;   /* [b, n]: added to every pixel of picture b, or NULL */
    size_t row_ld;      /* elements from one picture's row to the next; 0: one for all */
    const float *gate;  /* [b, n]: every pixel of picture b is multiplied by it, or NULL */
    size_t gate_ld;     /* as row_ld */
    const struct tensor *residual; /* same shape and dtype as y (may be y), any pad, or NULL */
};

/* What model code passes around: where to compute and where activations live. */
struct ops {
    struct device *dev;
    struct arena *arena;
};

/* y[.., n] = x[.., k] w^T, gated if w is. x and y have pad 0 and as many pixels. `e` may be NULL,
 * and is for a gated w. y may be F32 even where activations are not; elsewhere x and y have one
 * dtype. */
void ops_linear(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                const struct epilogue *e);

/* 3x3 convolution. x has pad 1, which is written if the device wraps. y may have pad 1 (its border
 * is then cleared) and be other channels of what x is a slice of. stride 1: y has x's size. stride
 * 2: half of it (rounded up), with one zero on each side (`even` false: PyTorch padding=1), or only
 * right and below (`even` true: the VAE's downsampler). */
void ops_conv3x3(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                 int stride, bool even, const struct epilogue *e);

/* Nearest-neighbour upsampling of x to twice the size and a 3x3 convolution as one: each of the
 * four pixels that one becomes sees 2x2 pixels of x, whose weights are sums of the nine, so there
 * are 16 products where there were 36. x has pad 1, and y may, as above. */
void ops_upsample(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                  const struct epilogue *e);

/* y = act(norm(x) * gamma + beta) over `groups` groups of channels (Wu & He 2018), act NONE or
 * SILU. y may have pad 1: its border is then cleared. y may not be x. */
void ops_group_norm(struct ops *o, struct tensor *y, const struct tensor *x, int groups, float eps,
                    const float *gamma, const float *beta, enum activation act);

/* Over channels, for every pixel (Ba et al. 2016). */
void ops_layer_norm(struct ops *o, struct tensor *y, const struct tensor *x, float eps,
                    const float *gamma, const float *beta);

/* y = (x - mean) / sqrt(variance + eps) gamma + beta over groups of channels of every pixel; or
 * without a mean, x / sqrt(mean of x^2 + eps) gamma (RMSNorm: Zhang & Sennrich 2019). What a
 * network says to each picture goes into gamma and beta (adaLN: 1 + scale and shift; of an affine
 * norm, products with its own): then they differ from picture to picture. y may be x; both may be
 * slices. */
struct norm_how {
    bool rms;
    int group; /* channels; 0: all */
    float eps;
    const float *gamma, *beta; /* [b, group], the same for every group; NULL: 1 and 0 */
    size_t ld;                 /* from a picture's to the next one's; 0: one for all */
};
void ops_norm(struct ops *o, struct tensor *y, const struct tensor *x, const struct norm_how *how);

/* That without a mean, gamma of `group` numbers (0: as many as channels) for all pictures. */
void ops_rms_norm(struct ops *o, struct tensor *y, const struct tensor *x, int group, float eps,
                  const float *gamma);

/* Rotary positions (Su et al. 2021): of each head's d channels, d / 2 pairs (u, v) become
 * (u cos - v sin, v cos + u sin). cos, sin: [tokens, d / 2], tokens being the pixels of a picture,
 * the same for every head and picture. y may be x; both may be slices. */
enum rope_pairs {
    ROPE_ADJACENT, /* channels 2 i and 2 i + 1 */
    ROPE_HALVES    /* i and i + d / 2 */
};
void ops_rope(struct ops *o, struct tensor *y, const struct tensor *x, const float *cos,
              const float *sin, int heads, enum rope_pairs pairs);

/* softmax(q k^T / sqrt(d)) v for `heads` heads of d = c / heads channels (Vaswani et al. 2017,
 * eq. 1). q, y: [b, 1, tq, c]; k, v: [b or 1, 1, tk, c] (one picture serves all). The score matrix
 * is never stored. `causal`: query i sees keys 0..i. */
void ops_attention(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, int heads, bool causal);

/* The same with fewer heads of keys and values, each for as many heads of queries in turn (Ainslie
 * et al. 2023), and of keys that nothing sees; and of scores that depend on how far a key is from a
 * query (Raffel et al. 2020, 2.1). All may be slices of one product. */
struct attention_how {
    int heads;
    int kv_heads; /* divides heads; k and v: [.., kv_heads d]. 0: heads */
    int keys;     /* only the first so many tokens of k and v are seen; 0: all */
    bool causal;  /* query i sees keys 0..min(i, keys - 1) */
    bool plain;   /* scores are q k^T, not divided by sqrt(d) */
    /* [heads, queries + tokens of k - 1]: number j - i + queries - 1 of a head is added to what
     * query i and key j score; NULL: nothing is. */
    const float *distance;
};
void ops_attend(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                const struct tensor *v, const struct attention_how *how);

/* y = act(x), same shape; y may be x, and only then have pad 1. */
void ops_activate(struct ops *o, struct tensor *y, const struct tensor *x, enum activation act);

/* y += s x, same shape and dtype; either may have pad 1: borders stay as they are. */
void ops_add(struct ops *o, struct tensor *y, const struct tensor *x, float s);

/* Nearest-neighbour resize to y's size (PyTorch's floor rule), which may be the same: then a copy.
 * y may have pad 1 (its border is cleared), and be a slice. */
void ops_resize(struct ops *o, struct tensor *y, const struct tensor *x);

/* Between [b, h, w, c] floats in the caller's memory, nothing between them, and a tensor; y's
 * border and the channels past c are cleared. */
void ops_from_floats(struct ops *o, struct tensor *y, const float *src);
void ops_to_floats(struct ops *o, float *dst, const struct tensor *x);

#endif
