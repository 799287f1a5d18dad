/* pickle.h: what PyTorch's pickles describe: dicts, lists, numbers, strings and tensors.
 *
 * A pickle is a program for a small stack machine which may call any function that it names. This
 * reader runs those instructions that make values and knows a short list of names, of which it
 * makes nothing but values of the kinds below; every other instruction or name is an error that
 * says which. No code of the file runs, ever: there is nothing here that could run it.
 *
 * Values stay where they are until pickle_free; they may contain each other in circles. */
#ifndef PICTOR_ENGINE_IO_PICKLE_H
#define PICTOR_ENGINE_IO_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/raw_tensor.h"

struct pickle;

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_INTEGER, /* truth, too */
    PICKLE_FLOAT,
    PICKLE_STRING,  /* or bytes */
    PICKLE_LIST,    /* or a tuple, or a set */
    PICKLE_DICT,    /* an ordered one, too */
    PICKLE_NAME,    /* of something in Python */
    PICKLE_STORAGE, /* a row of numbers that lies elsewhere */
    PICKLE_TENSOR,
    PICKLE_OTHER /* harmless, and of no use here: a device, a number of NumPy's */
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer; /* a larger one reads as the largest */
        double number;
        const char *string; /* ends with NUL; `length` may be longer */
        uint32_t index;     /* of a storage, or of a tensor */
        uint32_t *items;    /* values: of a list; of a dict key, value, key, value... */
        int name;           /* pickle_names.h's table */
    };
    uint32_t count, room; /* of items; a string's length */
    struct {
        uint32_t offset; /* of a storage that is a part of another one: in elements */
        uint32_t size;
    } part;
};

struct pickle_storage {
    const char *key;
    enum dtype dtype;
    uint32_t element; /* bytes; of an untyped one 1 */
    uint64_t count;   /* elements */
};

/* A view of a storage: element [i, j] is number offset + i*strides[0] + j*strides[1] in it. */
struct pickle_tensor {
    uint32_t storage;
    enum dtype dtype;
    uint32_t element; /* bytes */
    uint64_t offset;  /* in elements of this size */
    int ndim;
    uint64_t shape[RAW_TENSOR_DIMS], strides[RAW_TENSOR_DIMS];
};

/* Runs the pickle that begins at `data`; *used is its length. When the bytes end before it does,
 * *more is true (and err is set): it may be whole with more of the file. Borrows nothing. */
struct pickle *pickle_read(const void *data, size_t size, size_t *used, bool *more,
                           struct err *err);
void pickle_free(struct pickle *p);

const struct pickle_value *pickle_root(const struct pickle *p);
size_t pickle_values(const struct pickle *p); /* how many there are: pickle_at's index is less */
const struct pickle_value *pickle_at(const struct pickle *p, uint32_t index);

/* The value under a string in a dict; NULL when there is none, or `dict` is no dict. */
const struct pickle_value *pickle_get(const struct pickle *p, const struct pickle_value *dict,
                                      const char *key);

/* Every storage, each key once for each type that it is used as: i < pickle_storages. */
size_t pickle_storages(const struct pickle *p);
const struct pickle_storage *pickle_storage(const struct pickle *p, size_t i);
const struct pickle_tensor *pickle_tensor(const struct pickle *p, const struct pickle_value *v);

#endif
