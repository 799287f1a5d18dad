/* raw_tensor.h: a tensor as it lies in a file: what every weight reader hands out. */
#ifndef PICTOR_ENGINE_IO_RAW_TENSOR_H
#define PICTOR_ENGINE_IO_RAW_TENSOR_H

#include <stddef.h>

#include "engine/compute/dtype.h"

#define RAW_TENSOR_DIMS 8

struct raw_tensor {
    const char *name;
    enum dtype dtype;
    int ndim;                      /* 0..RAW_TENSOR_DIMS; 0 is one number */
    size_t shape[RAW_TENSOR_DIMS]; /* row-major, slowest first */
    const void *data;              /* read-only, little-endian, *not* always aligned */
    size_t bytes;                  /* = product of shape * dtype_size, checked by the reader */
};

#endif
