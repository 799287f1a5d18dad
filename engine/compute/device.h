/* device.h: what a device must bring: one function an operation of ops.h, same arguments.
 * ops.c has checked the shapes before any of these runs. Those from linear to attention are called
 * while planning too and look at the arena themselves. */
#ifndef PICTOR_ENGINE_COMPUTE_DEVICE_H
#define PICTOR_ENGINE_COMPUTE_DEVICE_H

#include "engine/compute/ops.h"

struct device_table {
    void (*free)(struct device *dev);
    double (*peak)(struct device *dev);
    uint64_t (*beats)(const struct device *dev);
    void (*run)(struct device *dev, size_t n, pool_fn *fn, void *ctx);
    struct matrix *(*matrix_new)(struct device *dev, enum matrix_kind kind, int k,
                                 const struct matrix_part *parts, int count, bool coarse,
                                 struct err *err);
    bool (*matrix_refill)(struct device *dev, struct matrix *m, const struct matrix_part *parts,
                          int count, struct err *err);
    void (*matrix_rest)(struct matrix *m); /* may be NULL */
    void (*matrix_free)(struct matrix *m);
    void (*linear)(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                   const struct epilogue *e);
    void (*conv3x3)(struct ops *o, struct tensor *y, const struct tensor *x, const struct matrix *w,
                    int stride, bool even, const struct epilogue *e);
    void (*upsample)(struct ops *o, struct tensor *y, const struct tensor *x,
                     const struct matrix *w, const struct epilogue *e);
    void (*group_norm)(struct ops *o, struct tensor *y, const struct tensor *x, int groups,
                       float eps, const float *gamma, const float *beta, enum activation act);
    void (*norm)(struct ops *o, struct tensor *y, const struct tensor *x,
                 const struct norm_how *how); /* group is set */
    void (*attention)(struct ops *o, struct tensor *y, const struct tensor *q,
                      const struct tensor *k, const struct tensor *v,
                      const struct attention_how *how); /* all of it is set */
    void (*rope)(struct ops *o, struct tensor *y, const struct tensor *x, const float *cos,
                 const float *sin, int heads, enum rope_pairs pairs);
    void (*activate)(struct ops *o, struct tensor *y, const struct tensor *x, enum activation act);
    void (*add)(struct ops *o, struct tensor *y, const struct tensor *x, float s);
    void (*resize)(struct ops *o, struct tensor *y, const struct tensor *x);
    void (*from_floats)(struct ops *o, struct tensor *y, const float *src);
    void (*to_floats)(struct ops *o, float *dst, const struct tensor *x);
};

/* The first member of every device. */
struct device {
    const struct device_table *table;
    const char *level;
    int threads;
    enum dtype dtype;
    bool int8;               /* coarse matrices are int8 */
    bool wrap;               /* see device_wrap */
    const atomic_bool *stop; /* see device_heed */
};

/* The first member of every device's matrix. */
struct matrix {
    const struct device_table *table;
    enum matrix_kind kind;
    int n, k;             /* channels out and in */
    bool coarse;          /* may be int8, whether the device has that or not */
    size_t bytes, mapped; /* see matrix_mapped */
};

struct device *cpu_device_new(const struct device_options *options, struct err *err);
const char *cpu_device_level_name(int i);

#endif
