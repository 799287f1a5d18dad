/* layers.h: loading the parts that all models share, and the two blocks that the UNet and the
 * autoencoder have in common.
 *
 * A loader remembers the first error; after it every call does nothing and returns an empty part,
 * so a model's load function reads like its list of tensors and looks at the error once. */
#ifndef PICTOR_ENGINE_MODEL_LAYERS_H
#define PICTOR_ENGINE_MODEL_LAYERS_H

#include "engine/compute/ops.h"
#include "engine/io/checkpoint.h"
#include "engine/model/weights.h"

#define LAYERS_GROUPS 32      /* groups of every group norm of SD */
#define LAYERS_MAX_HEAD 1024  /* channels of one attention head */
#define LAYERS_MAX_WIDTH 8192 /* channels between layers: a device has scratch for rows of them */
#define LAYERS_MAX_K (4 * LAYERS_MAX_WIDTH) /* that a weight takes in: inside of a feed-forward */

struct loader {
    struct device *dev;
    const struct checkpoint *cp; /* NULL: every tensor is there and of zeros, for a hollow device;
                                    else it outlives the matrices, whose weights may stay there */
    struct err *err;
    bool failed;
    bool coarse; /* what is loaded now may be int8: see matrix_new_coarse */
    bool lean; /* what is loaded now is used once a picture: it is read in place, whatever its type,
                  and takes turns with what is not (weights_needed) */
    struct weights *weights; /* what is loaded is listed there; may be NULL */
};

/* A tensor is called PREFIX NAME ".weight" and ".bias". k beyond 1..LAYERS_MAX_K is
 * ERR_UNSUPPORTED, as devices are made for no more. */
struct matrix *layers_linear(struct loader *l, const char *prefix, const char *name, int n, int k,
                             bool bias);
/* n values and n gates in, n channels out: see MATRIX_GATED. */
struct matrix *layers_gated(struct loader *l, const char *prefix, const char *name, int n, int k);
struct matrix *layers_conv3x3(struct loader *l, const char *prefix, const char *name, int n, int k);
struct matrix *layers_upsample(struct loader *l, const char *prefix, const char *name, int n,
                               int k);
/* These two without bias. */
struct matrix *layers_bare_conv3x3(struct loader *l, const char *prefix, const char *name, int n,
                                   int k);
struct matrix *layers_bare_upsample(struct loader *l, const char *prefix, const char *name, int n,
                                    int k);
/* `count` linear layers of n x k each, without bias unless said, in one product. */
struct matrix *layers_stacked(struct loader *l, const char *prefix, const char *const *names,
                              int count, int n, int k, bool bias);

/* `count` tensors of k columns and rows[i] rows each, without bias, in one product of a `kind` that
 * is linear or gated. */
struct matrix *layers_parts(struct loader *l, enum matrix_kind kind, const char *prefix,
                            const char *const *names, const int *rows, int count, int k);

/* Rows [from, from + n) of a linear weight of `all` rows as a matrix of `kind`. */
struct matrix *layers_rows(struct loader *l, enum matrix_kind kind, const char *prefix,
                           const char *name, int from, int n, int all, int k, bool bias);

struct norm {
    int c;
    float *gamma, *beta; /* one allocation, at gamma */
};
struct norm layers_norm(struct loader *l, const char *prefix, const char *name, int c);
void layers_norm_free(struct norm *n);

/* A tensor of this shape as floats; malloc'd. */
float *layers_floats(struct loader *l, const char *prefix, const char *name, int ndim,
                     const size_t *shape);

/* Group norm, SiLU, 3x3 convolution, twice, around a residual (He et al. 2016). */
struct resnet {
    int cin, cout;
    float eps;
    struct norm norm1, norm2;
    struct matrix *conv1, *conv2;
    struct matrix *emb;  /* time embedding -> cout, or NULL (autoencoder) */
    struct matrix *skip; /* 1x1 where cin != cout, else NULL */
};

/* y: [b, h, w, cout]; x: [b, h, w, cin], neither overlapping the other. `emb`: silu(time
 * embedding), [b or 1, 1, 1, time_dim] (one serves all), or NULL. */
void layers_resnet(struct ops *o, const struct resnet *r, struct tensor *y, const struct tensor *x,
                   const struct tensor *emb);
void layers_resnet_free(struct resnet *r);

/* Sinusoids of a number (Vaswani et al. 2017, 3.5; cosines first) for a network to take it by:
 * out [n], n even. */
void layers_sinusoids(double x, int n, float *out);

void layers_group_norm(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct norm *n, float eps, enum activation act);
void layers_layer_norm(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct norm *n);

#endif
