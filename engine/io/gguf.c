/* gguf.c: A file is "GGUF", a version, how many tensors and values there are, the values (a key, a
 * type, what it says), the tensors (a name, dimensions, a type, a place), and, aligned, the
 * data. */
#include "engine/io/gguf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MOST ((size_t)64 << 20) /* bytes; a language model's words have some MB */
#define TENSORS_MOST 100000            /* SDXL has 2,600 */
#define VALUES_MOST 100000
#define NAME_MOST 255
#define TEXT_MOST 4096 /* bytes of a value that is kept */
#define DIMS_MOST 4    /* GGML's */
#define WINDOW 65536

enum { TYPE_STRING = 8, TYPE_ARRAY = 9 };

/* A string that the header says, or an array: the numbers of a short one, and where it lies. */
struct value {
    char *key, *text;
    int count; /* of numbers; 0: they are not kept */
    uint64_t numbers[RAW_TENSOR_DIMS];
    size_t items, size, from, bytes; /* as struct gguf_array, from a place of the file */
};

struct gguf {
    struct file_bytes bytes; /* borrowed */
    struct value *values;    /* in order of key, once all were read */
    size_t value_count;
    struct raw_tensor *tensors;
    size_t count;
    uint64_t alignment;
    /* While it is opened: where it is being read, and a piece of the file. */
    size_t at, window_at, window_size;
    unsigned char window[WINDOW];
};

/* ---- the bytes ---- */

static bool take(struct gguf *g, void *to, size_t n, struct err *err)
{
    if (n > HEADER_MOST || g->at > HEADER_MOST - n)
        return err_set(err, ERR_TOO_LARGE, "a header of more than %zu bytes", HEADER_MOST);
    if (n <= WINDOW && (g->at < g->window_at || g->at + n > g->window_at + g->window_size)) {
        size_t rest = g->bytes.size > g->at ? g->bytes.size - g->at : 0;
        g->window_at = g->at;
        g->window_size = rest < WINDOW ? rest : WINDOW;
        if (!file_bytes_read(&g->bytes, g->at, g->window, g->window_size, err))
            return false;
    }
    if (g->at >= g->window_at && g->at + n <= g->window_at + g->window_size)
        memcpy(to, g->window + (g->at - g->window_at), n);
    else if (!file_bytes_read(&g->bytes, g->at, to, n, err))
        return false;
    g->at += n;
    return true;
}

static bool take_number(struct gguf *g, int bytes, uint64_t *out, struct err *err)
{
    unsigned char b[8];
    if (!take(g, b, (size_t)bytes, err))
        return false;
    *out = 0;
    while (bytes-- > 0)
        *out = *out << 8 | b[bytes];
    return true;
}

static bool skip(struct gguf *g, uint64_t n, struct err *err)
{
    if (n > HEADER_MOST || g->at > HEADER_MOST - n)
        return err_set(err, ERR_TOO_LARGE, "a header of more than %zu bytes", HEADER_MOST);
    if (n > g->bytes.size || g->at > g->bytes.size - n)
        return err_set(err, ERR_INVALID, "cut short: its header goes on behind byte %zu",
                       g->bytes.size);
    g->at += (size_t)n;
    return true;
}

/* A string of at most `most` bytes, malloc'd; a longer one is passed over, and *out is NULL. */
static bool take_string(struct gguf *g, size_t most, char **out, struct err *err)
{
    uint64_t length;
    *out = NULL;
    if (!take_number(g, 8, &length, err))
        return false;
    if (length > most)
        return skip(g, length, err);
    if (!(*out = calloc(1, (size_t)length + 1)))
        return err_set(err, ERR_INTERNAL, "no memory for a header");
    return take(g, *out, (size_t)length, err);
}

/* ---- values ---- */

/* Bytes of a number of this type; 0: it is none. */
static int size_of(uint64_t type)
{
    static const unsigned char sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static bool read_array(struct gguf *g, struct value *v, struct err *err)
{
    uint64_t type, count;
    if (!take_number(g, 4, &type, err) || !take_number(g, 8, &count, err))
        return false;
    int size = size_of(type);
    v->items = (size_t)count;
    v->size = (size_t)size;
    v->from = g->at;
    if (size && count > 0 && count <= RAW_TENSOR_DIMS) {
        v->count = (int)count;
        for (int i = 0; i < v->count; i++)
            if (!take_number(g, size, &v->numbers[i], err))
                return false;
        return true;
    }
    if (size)
        return count <= HEADER_MOST ? skip(g, count * (uint64_t)size, err)
                                    : skip(g, UINT64_MAX, err);
    if (type != TYPE_STRING)
        return err_set(err, ERR_INVALID, "its header has an array of type %llu",
                       (unsigned long long)type);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t length;
        if (!take_number(g, 8, &length, err) || !skip(g, length, err))
            return false;
    }
    return true;
}

static bool read_array_value(struct gguf *g, struct value *v, struct err *err)
{
    if (!read_array(g, v, err))
        return false;
    v->bytes = g->at - v->from;
    return true;
}

/* Keeps strings, short arrays, and where arrays lie; a number that counts is general.alignment. */
static bool read_value(struct gguf *g, struct err *err)
{
    struct value *v = &g->values[g->value_count];
    uint64_t type, number;
    if (!take_string(g, NAME_MOST + 64, &v->key, err) || !take_number(g, 4, &type, err))
        return false;
    int size = size_of(type);
    if (size) {
        if (!take_number(g, size, &number, err))
            return false;
        if (v->key && strcmp(v->key, "general.alignment") == 0)
            g->alignment = number;
    } else if (type == TYPE_STRING) {
        if (!take_string(g, TEXT_MOST, &v->text, err))
            return false;
    } else if (type == TYPE_ARRAY) {
        if (!read_array_value(g, v, err))
            return false;
    } else {
        return err_set(err, ERR_INVALID, "its header has a value of type %llu",
                       (unsigned long long)type);
    }
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct value *)a)->key, ((const struct value *)b)->key);
}

static bool read_values(struct gguf *g, uint64_t count, struct err *err)
{
    if (count > VALUES_MOST)
        return err_set(err, ERR_TOO_LARGE, "%llu values in its header; wanted %d at most",
                       (unsigned long long)count, VALUES_MOST);
    if (!(g->values = calloc((size_t)count + 1, sizeof *g->values)))
        return err_set(err, ERR_INTERNAL, "no memory for a header");
    for (uint64_t i = 0; i < count; i++) {
        bool ok = read_value(g, err);
        struct value *v = &g->values[g->value_count];
        if (ok && v->key && (v->text || v->bytes)) {
            g->value_count++;
            continue;
        }
        free(v->key);
        free(v->text);
        *v = (struct value){0};
        if (!ok)
            return false;
    }
    qsort(g->values, g->value_count, sizeof *g->values, by_key);
    if (g->alignment < 1 || g->alignment > 1 << 20 || (g->alignment & (g->alignment - 1)))
        return err_set(err, ERR_INVALID, "an alignment of %llu bytes; wanted a power of two",
                       (unsigned long long)g->alignment);
    return true;
}

static const struct value *find_value(const struct gguf *g, const char *key)
{
    struct value wanted = {.key = (char *)key};
    return g->value_count ? bsearch(&wanted, g->values, g->value_count, sizeof wanted, by_key)
                          : NULL;
}

/* ---- tensors ---- */

/* GGML's numbers of types. */
static const struct {
    int type;
    enum dtype dtype;
    size_t size; /* of DTYPE_OTHER */
} types[] = {
    {0, DTYPE_F32, 0},    {1, DTYPE_F16, 0},    {2, DTYPE_Q4_0, 0},   {3, DTYPE_Q4_1, 0},
    {6, DTYPE_Q5_0, 0},   {7, DTYPE_Q5_1, 0},   {8, DTYPE_Q8_0, 0},   {10, DTYPE_Q2_K, 0},
    {11, DTYPE_Q3_K, 0},  {12, DTYPE_Q4_K, 0},  {13, DTYPE_Q5_K, 0},  {14, DTYPE_Q6_K, 0},
    {24, DTYPE_OTHER, 1}, {25, DTYPE_OTHER, 2}, {26, DTYPE_OTHER, 4}, {27, DTYPE_I64, 0},
    {28, DTYPE_F64, 0},   {30, DTYPE_BF16, 0},
    {20, DTYPE_IQ4_NL, 0}, {23, DTYPE_IQ4_XS, 0}, {39, DTYPE_MXFP4, 0},
};

/* Those that are not read, for the message. */
static const char *other_type(uint64_t type)
{
    static const struct {
        unsigned type;
        const char *name;
    } others[] = {{16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},
                  {22, "IQ2_S"},   {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {40, "NVFP4"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].type == type)
            return others[i].name;
    return "a type that is not known";
}

static bool set_type(struct raw_tensor *t, uint64_t type, size_t row, size_t count,
                     const char *shown, struct err *err)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if ((uint64_t)types[i].type != type)
            continue;
        size_t block = dtype_block(t->dtype = types[i].dtype);
        if (row % block)
            return err_set(err, ERR_INVALID, "%s: rows of %zu numbers are no blocks of %zu", shown,
                           row, block);
        bool fits = t->dtype == DTYPE_OTHER
                        ? !__builtin_mul_overflow(count, types[i].size, &t->bytes)
                        : raw_tensor_bytes(t->dtype, count, &t->bytes);
        return fits || err_set(err, ERR_INVALID, "%s: shape too large", shown);
    }
    return err_set(err, ERR_UNSUPPORTED,
                   "%s is in GGML's type %llu (%s); read are F32, F16, BF16, F64, Q4_0, Q4_1, "
                   "Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS and MXFP4",
                   shown, (unsigned long long)type, other_type(type));
}

/* The shape that the tensor had before a converter made rows of whole blocks of it. */
static bool restore_shape(const struct gguf *g, struct raw_tensor *t, size_t count,
                          const char *shown, struct err *err)
{
    char key[NAME_MOST + 64];
    snprintf(key, sizeof key, "comfy.gguf.orig_shape.%s", t->name);
    const struct value *v = find_value(g, key);
    size_t product = 1;
    if (!v || !v->count)
        return true;
    t->ndim = v->count;
    for (int i = 0; i < v->count; i++)
        if (__builtin_mul_overflow(product, v->numbers[i], &product))
            return err_set(err, ERR_INVALID, "%s: its shape before is too large", shown);
    for (int i = 0; i < v->count; i++)
        t->shape[i] = (size_t)v->numbers[i];
    return product == count ||
           err_set(err, ERR_INVALID, "%s: its shape before is one of %zu numbers, it has %zu",
                   shown, product, count);
}

static bool read_tensor(struct gguf *g, struct raw_tensor *t, struct err *err)
{
    uint64_t dims, type, offset, sizes[DIMS_MOST];
    char *name, shown[64];
    size_t count = 1;
    if (!take_string(g, NAME_MOST, &name, err)) {
        free(name);
        return false;
    }
    if (!name)
        return err_set(err, ERR_INVALID, "a tensor's name of more than %d bytes", NAME_MOST);
    t->name = name; /* from here on it is freed with the others */
    raw_tensor_show(shown, sizeof shown, name);
    if (!take_number(g, 4, &dims, err))
        return false;
    if (dims > DIMS_MOST)
        return err_set(err, ERR_INVALID, "%s: %llu dimensions; wanted %d at most", shown,
                       (unsigned long long)dims, DIMS_MOST);
    for (uint64_t i = 0; i < dims; i++)
        if (!take_number(g, 8, &sizes[i], err))
            return false;
    t->ndim = (int)dims;
    for (int i = 0; i < t->ndim; i++) {
        t->shape[i] = (size_t)sizes[t->ndim - 1 - i];
        if (__builtin_mul_overflow(count, t->shape[i], &count))
            return err_set(err, ERR_INVALID, "%s: shape too large", shown);
    }
    if (!take_number(g, 4, &type, err) || !take_number(g, 8, &offset, err) ||
        !set_type(t, type, t->ndim ? (size_t)sizes[0] : 1, count, shown, err) ||
        !restore_shape(g, t, count, shown, err))
        return false;
    t->offset = (size_t)offset;
    return offset % g->alignment == 0 ||
           err_set(err, ERR_INVALID, "%s: its place is no multiple of the alignment", shown);
}

static int by_place(const void *a, const void *b)
{
    const struct raw_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Offsets from the data's beginning, `start`, become places in the file. */
static bool place_tensors(struct gguf *g, size_t start, struct err *err)
{
    char shown[64], other[64];
    size_t room = g->bytes.size > start ? g->bytes.size - start : 0;
    qsort(g->tensors, g->count, sizeof *g->tensors, by_place);
    for (size_t i = 0; i < g->count; i++) {
        struct raw_tensor *t = &g->tensors[i];
        raw_tensor_show(shown, sizeof shown, t->name);
        if (t->offset > room || t->bytes > room - t->offset)
            return err_set(err, ERR_INVALID,
                           "%s ends behind the %zu bytes of data that the file has (cut short?)",
                           shown, room);
        if (i > 0 && start + t->offset < t[-1].offset + t[-1].bytes)
            return err_set(err, ERR_INVALID, "%s and %s overlap",
                           raw_tensor_show(other, sizeof other, t[-1].name), shown);
        t->offset += start;
        t->fd = g->bytes.fd;
        t->data = g->bytes.data ? g->bytes.data + t->offset : NULL;
    }
    return raw_tensor_sort(g->tensors, g->count, err);
}

static bool read_tensors(struct gguf *g, uint64_t count, struct err *err)
{
    if (count > TENSORS_MOST)
        return err_set(err, ERR_TOO_LARGE, "%llu tensors; wanted %d at most",
                       (unsigned long long)count, TENSORS_MOST);
    if (!(g->tensors = calloc((size_t)count + 1, sizeof *g->tensors)))
        return err_set(err, ERR_INTERNAL, "no memory for %llu tensors", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        bool ok = read_tensor(g, &g->tensors[g->count], err);
        g->count += g->tensors[g->count].name != NULL;
        if (!ok)
            return false;
    }
    size_t start = (g->at + (size_t)g->alignment - 1) & ~((size_t)g->alignment - 1);
    return place_tensors(g, start, err);
}

/* ---- opening ---- */

static bool read_file(struct gguf *g, struct err *err)
{
    char magic[4];
    uint64_t version, tensors, values;
    if (!take(g, magic, sizeof magic, err) || !take_number(g, 4, &version, err))
        return false;
    if (version != 2 && version != 3)
        return err_set(err, ERR_UNSUPPORTED, "GGUF of version %llu%s; read are 2 and 3",
                       (unsigned long long)version,
                       version & 0xffff ? "" : " (its numbers are stored the other way round)");
    return take_number(g, 8, &tensors, err) && take_number(g, 8, &values, err) &&
           read_values(g, values, err) && read_tensors(g, tensors, err);
}

struct gguf *gguf_open(const struct file_bytes *bytes, struct err *err)
{
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) {
        err_set(err, ERR_INTERNAL, "no memory for a file of weights");
        return NULL;
    }
    g->bytes = *bytes;
    g->alignment = 32;
    if (read_file(g, err))
        return g;
    gguf_close(g);
    return NULL;
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->value_count; i++) {
        free(g->values[i].key);
        free(g->values[i].text);
    }
    for (size_t i = 0; i < g->count; i++)
        free((char *)g->tensors[i].name);
    free(g->values);
    free(g->tensors);
    free(g);
}

const struct raw_tensor *gguf_tensors(const struct gguf *g, size_t *count)
{
    *count = g->count;
    return g->tensors;
}

const char *gguf_metadata(const struct gguf *g, const char *key)
{
    const struct value *v = find_value(g, key);
    return v ? v->text : NULL;
}

bool gguf_has_array(const struct gguf *g, const char *key)
{
    const struct value *v = find_value(g, key);
    return v && v->bytes;
}

bool gguf_array(const struct gguf *g, const char *key, struct gguf_array *out, void **copy,
                struct err *err)
{
    const struct value *v = find_value(g, key);
    *copy = NULL;
    if (!v || !v->bytes)
        return err_set(err, ERR_NOT_FOUND, "its header has no list \"%.100s\"", key);
    *out = (struct gguf_array){v->items, v->size, v->bytes, NULL};
    if (g->bytes.data) {
        out->data = g->bytes.data + v->from;
        return true;
    }
    if (!(*copy = malloc(v->bytes)))
        return err_set(err, ERR_INTERNAL, "no memory for a header");
    out->data = *copy;
    if (file_bytes_read(&g->bytes, v->from, *copy, v->bytes, err))
        return true;
    free(*copy);
    *copy = NULL;
    return false;
}
