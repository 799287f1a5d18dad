/* raw_tensor.h: a tensor as it lies in a file: what every weight reader hands out. */
#ifndef PICTOR_ENGINE_IO_RAW_TENSOR_H
#define PICTOR_ENGINE_IO_RAW_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/compute/dtype_scales.h"

#define RAW_TENSOR_DIMS 8

struct raw_tensor {
    const char *name;
    enum dtype dtype;
    int ndim;                      /* 0..RAW_TENSOR_DIMS; 0 is one number */
    size_t shape[RAW_TENSOR_DIMS]; /* row-major, slowest first */
    const void *data;              /* read-only, little-endian, *not* always aligned; NULL: it lies
                                      in `fd` from `offset` on, and was not read */
    size_t bytes;                  /* what the shape takes in the dtype, checked by the reader */
    float scale;                   /* what each stored number is times; 0: nothing */
    const struct dtype_scales *scales; /* what else, or NULL; of whoever handed it out */
    size_t first_row;                  /* of those, that `data` begins with */
    bool i8; /* of DTYPE_OTHER: int8, which are weights with a scale alone (scaled.h) */
    int fd;
    size_t offset;
};

/* Numbers in the shape. */
size_t raw_tensor_count(const struct raw_tensor *t);

/* Bytes of `count` numbers; false when they are no whole blocks, or too many. */
bool raw_tensor_bytes(enum dtype dtype, size_t count, size_t *bytes);

/* out = numbers first .. first + n - 1 of a tensor that has data and a dtype that can be read. */
void raw_tensor_floats(const struct raw_tensor *t, size_t first, size_t n, float *out);

/* Copies t->bytes to `to`, wherever they are. */
bool raw_tensor_read(const struct raw_tensor *t, void *to, struct err *err);

/* `bytes` of a file; ERR_IO when it has become shorter, or cannot be read. */
bool raw_tensor_read_at(int fd, size_t from, void *to, size_t bytes, struct err *err);

/* Puts tensors in order of name; a name that is there twice is an error. */
bool raw_tensor_sort(struct raw_tensor *tensors, size_t count, struct err *err);

/* Among tensors in order of name; NULL when there is none. */
const struct raw_tensor *raw_tensor_find(const struct raw_tensor *tensors, size_t count,
                                         const char *name);

/* "[320, 4, 3, 3]", a 0 written as "any"; cut at `size`.
 * Returns buf. */
const char *raw_tensor_shape(char *buf, size_t size, int ndim, const size_t *shape);

/* A name from a file made fit for a message: printable ASCII, cut at `size`. Returns buf. */
const char *raw_tensor_show(char *buf, size_t size, const char *name);

#endif
