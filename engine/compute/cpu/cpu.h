/* cpu.h: the CPU device's inside, shared by the files that implement its operations.
 *
 * However an operation is cut into tasks, every output is computed by one of them, in an order that
 * depends on shapes alone: so any thread count gives the same bits. */
#ifndef PICTOR_ENGINE_COMPUTE_CPU_CPU_H
#define PICTOR_ENGINE_COMPUTE_CPU_CPU_H

#include "engine/base/pool.h"
#include "engine/compute/cpu/kernels.h"
#include "engine/compute/device.h"

#define CPU_SCRATCH (2u << 20) /* bytes a thread: about the second-level cache */
#define CPU_MAX_HEAD 1024      /* widest attention head that the scratch holds */

struct cpu_device {
    struct device base;
    const struct kernels *k;
    struct pool *pool;
    unsigned char *scratch; /* CPU_SCRATCH a thread */
};

static inline struct cpu_device *cpu_of(const struct ops *o)
{
    return (struct cpu_device *)o->dev;
}

static inline unsigned char *cpu_scratch(const struct cpu_device *d, int thread)
{
    return d->scratch + (size_t)thread * CPU_SCRATCH;
}

/* Sets the border of a padded tensor to zero. */
void cpu_clear_border(struct tensor *t);

struct matrix *cpu_matmul_new(struct device *dev, enum matrix_kind kind, int k,
                              const struct matrix_part *parts, int count, bool coarse,
                              struct err *err);
bool cpu_matmul_refill(struct device *dev, struct matrix *matrix, const struct matrix_part *parts,
                       int count, struct err *err);
void cpu_matmul_rest(struct matrix *matrix);
void cpu_matmul_free(struct matrix *m);
void cpu_matmul_linear(struct ops *o, struct tensor *y, const struct tensor *x,
                       const struct matrix *w, const struct epilogue *e);
void cpu_matmul_conv3x3(struct ops *o, struct tensor *y, const struct tensor *x,
                        const struct matrix *w, int stride, bool even, const struct epilogue *e);
void cpu_matmul_upsample(struct ops *o, struct tensor *y, const struct tensor *x,
                         const struct matrix *w, const struct epilogue *e);
/* x as int8 in the arena, its channels filled up with zeros to a multiple of PACK_K8, its border
 * too; `scale` (x = int8 scale) has one for each pixel, or each picture if x has a border, in the
 * arena too. Nothing is computed while the arena is planning. */
struct tensor cpu_quantize(struct ops *o, const struct tensor *x, float **scale);
void cpu_norm_group(struct ops *o, struct tensor *y, const struct tensor *x, int groups, float eps,
                    const float *gamma, const float *beta, enum activation act);
void cpu_norm_pixels(struct ops *o, struct tensor *y, const struct tensor *x,
                     const struct norm_how *how);
void cpu_attention(struct ops *o, struct tensor *y, const struct tensor *q, const struct tensor *k,
                   const struct tensor *v, const struct attention_how *how);
void cpu_rope(struct ops *o, struct tensor *y, const struct tensor *x, const float *cos,
              const float *sin, int heads, enum rope_pairs pairs);
void cpu_rows_activate(struct ops *o, struct tensor *y, const struct tensor *x,
                       enum activation act);
void cpu_rows_add(struct ops *o, struct tensor *y, const struct tensor *x, float s);
void cpu_rows_resize(struct ops *o, struct tensor *y, const struct tensor *x);
void cpu_rows_from_floats(struct ops *o, struct tensor *y, const float *src);
void cpu_rows_to_floats(struct ops *o, float *dst, const struct tensor *x);

#endif
