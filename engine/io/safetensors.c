/* safetensors.c: A file is 8 bytes of header length (little-endian), a JSON object, and the data:
 * {"__metadata__": {"k": "v"}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
 * ...} with offsets counted from the end of the header.
 *
 * The header is copied before it is read, because a mapped file can change under us; where the
 * header is all that is wanted, nothing is mapped. A scan over
 * the copy bounds nesting and the number of values, so that the JSON library can be given hostile
 * text: it never recurses deeply nor builds a tree a hundred times the size of the file. Tensors
 * are kept in order of name; lookup is a binary search. */
#include "engine/io/safetensors.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/io/sniff.h"

#define DEPTH_LIMIT 4          /* a well-formed header nests 3 deep */
#define VALUE_LIMIT 1000000    /* JSON values: 100,000 tensors; SDXL has 2,600 */

struct safetensors {
    struct file_bytes bytes; /* of a file that is not mapped only the header is read */
    cJSON *header; /* owns the names */
    struct raw_tensor *tensors;
    size_t count;
};

/* Skips the string that opens at text[i]; returns the index of its closing quote, or `len`. */
static size_t scan_string(const char *text, size_t len, size_t i, bool *nul)
{
    for (i++; i < len && text[i] != '"'; i++) {
        if (text[i] == '\0' || (len - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0))
            *nul = true;
        if (text[i] == '\\')
            i++;
    }
    return i;
}

/* Whether the header is small and flat enough to be parsed. */
static bool scan_header(const char *text, size_t len, struct err *err)
{
    size_t depth = 0, values = 0;
    bool nul = false;
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '"':
            i = scan_string(text, len, i, &nul);
            break;
        case '{':
        case '[':
            depth++;
            values++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ',':
            values++;
            break;
        case '\0':
            nul = true;
            break;
        }
        if (nul)
            return err_set(err, ERR_INVALID, "safetensors header: a NUL byte");
        if (depth > DEPTH_LIMIT)
            return err_set(err, ERR_INVALID, "safetensors header: nested deeper than %d",
                           DEPTH_LIMIT);
        if (values > VALUE_LIMIT)
            return err_set(err, ERR_TOO_LARGE, "safetensors header: more than %d values",
                           VALUE_LIMIT);
    }
    return true;
}

/* A whole number that a double holds exactly. */
static bool read_size(const cJSON *item, size_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53))
        return false;
    *out = (size_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

/* Every format that the specification names, so that sizes are checked of those too that nothing
 * here reads. A name that is not in the list is a tensor that cannot be used, not a broken file. */
static void read_dtype(const char *name, enum dtype *dtype, size_t *size)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        size_t size;
    } known[] = {
        {"F32", DTYPE_F32, 4},         {"F16", DTYPE_F16, 2},         {"BF16", DTYPE_BF16, 2},
        {"F8_E4M3", DTYPE_F8_E4M3, 1}, {"F8_E5M2", DTYPE_F8_E5M2, 1}, {"I64", DTYPE_I64, 8},
        {"F64", DTYPE_F64, 8},         {"U64", DTYPE_OTHER, 8},       {"I32", DTYPE_OTHER, 4},
        {"U32", DTYPE_OTHER, 4},       {"I16", DTYPE_OTHER, 2},       {"U16", DTYPE_OTHER, 2},
        {"I8", DTYPE_OTHER, 1},        {"U8", DTYPE_OTHER, 1},        {"BOOL", DTYPE_OTHER, 1},
    };
    *dtype = DTYPE_OTHER;
    *size = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *dtype = known[i].dtype;
            *size = known[i].size;
        }
}

/* The tensor that `item` describes; from byte `start` of the file on there are `size` bytes. */
static bool read_tensor(const struct safetensors *st, const cJSON *item, size_t start, size_t size,
                        struct raw_tensor *out, struct err *err)
{
    char name[64];
    raw_tensor_show(name, sizeof name, item->string);
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *range = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsObject(item) || cJSON_GetArraySize(item) != 3 || !cJSON_IsString(dtype) ||
        !cJSON_IsArray(shape) || !cJSON_IsArray(range))
        return err_set(err, ERR_INVALID, "%s: wanted {dtype, shape, data_offsets}", name);

    *out = (struct raw_tensor){.name = item->string};
    size_t element, count = 1;
    read_dtype(dtype->valuestring, &out->dtype, &element);
    out->i8 = strcmp(dtype->valuestring, "I8") == 0;
    const cJSON *dim;
    cJSON_ArrayForEach(dim, shape) {
        size_t n;
        if (!read_size(dim, &n))
            return err_set(err, ERR_INVALID, "%s: a dimension is not a whole number", name);
        if (out->ndim == RAW_TENSOR_DIMS)
            return err_set(err, ERR_INVALID, "%s: more than %d dimensions", name, RAW_TENSOR_DIMS);
        if (__builtin_mul_overflow(count, n, &count))
            return err_set(err, ERR_INVALID, "%s: shape too large", name);
        out->shape[out->ndim++] = n;
    }

    size_t begin, end;
    if (cJSON_GetArraySize(range) != 2 || !read_size(range->child, &begin) ||
        !read_size(range->child->next, &end) || begin > end)
        return err_set(err, ERR_INVALID, "%s: data_offsets are not [begin, end]", name);
    if (end > size)
        return err_set(err, ERR_INVALID,
                       "%s ends at byte %zu of the data, but the file has only %zu (cut short?)",
                       name, end, size);
    out->fd = st->bytes.fd;
    out->offset = start + begin;
    out->data = st->bytes.data ? st->bytes.data + out->offset : NULL;
    out->bytes = end - begin;
    size_t want;
    if (element && (__builtin_mul_overflow(count, element, &want) || want != out->bytes))
        return err_set(err, ERR_INVALID,
                       "%s: shape wants %zu elements of %zu bytes, found %zu bytes", name, count,
                       element, out->bytes);
    return true;
}

static int by_place(const void *a, const void *b)
{
    const struct raw_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static bool check_overlap(const struct safetensors *st, struct err *err)
{
    struct raw_tensor *t = st->tensors;
    qsort(t, st->count, sizeof *t, by_place);
    for (size_t i = 1; i < st->count; i++) {
        char a[64], b[64];
        if (t[i].offset < t[i - 1].offset + t[i - 1].bytes)
            return err_set(err, ERR_INVALID, "%s and %s overlap",
                           raw_tensor_show(a, sizeof a, t[i - 1].name),
                           raw_tensor_show(b, sizeof b, t[i].name));
    }
    return true;
}

static bool read_metadata(const cJSON *metadata, struct err *err)
{
    if (!cJSON_IsObject(metadata))
        return err_set(err, ERR_INVALID, "__metadata__ is not an object");
    const cJSON *item;
    cJSON_ArrayForEach(item, metadata)
        if (!cJSON_IsString(item))
            return err_set(err, ERR_INVALID, "__metadata__ holds something that is not a string");
    return true;
}

static bool read_all(struct safetensors *st, size_t start, struct err *err)
{
    size_t room = (size_t)cJSON_GetArraySize(st->header), metadata = 0;
    st->tensors = calloc(room + 1, sizeof *st->tensors);
    if (!st->tensors)
        return err_set(err, ERR_INTERNAL, "out of memory for %zu tensors", room);
    const cJSON *item;
    cJSON_ArrayForEach(item, st->header) {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (metadata++)
                return err_set(err, ERR_INVALID, "__metadata__ is there twice");
            if (!read_metadata(item, err))
                return false;
        } else if (!read_tensor(st, item, start, st->bytes.size - start, &st->tensors[st->count++],
                                err)) {
            return false;
        }
    }
    return check_overlap(st, err) && raw_tensor_sort(st->tensors, st->count, err);
}

static bool parse(struct safetensors *st, struct err *err)
{
    unsigned char head[SNIFF_BYTES];
    size_t size = st->bytes.size, have = size < sizeof head ? size : sizeof head, len = 0;
    if (!file_bytes_read(&st->bytes, 0, head, have, err) ||
        !sniff_safetensors(head, have, size, err))
        return false;
    for (int i = 7; i >= 0; i--)
        len = len << 8 | head[i];
    char *text = malloc(len + 1);
    if (!text)
        return err_set(err, ERR_INTERNAL, "out of memory for a header of %zu bytes", len);
    bool ok = file_bytes_read(&st->bytes, 8, text, len, err) && scan_header(text, len, err);
    text[len] = '\0';
    if (ok) {
        st->header = cJSON_ParseWithOpts(text, NULL, true);
        if (!cJSON_IsObject(st->header))
            ok = err_set(err, ERR_INVALID, "safetensors header: not a JSON object");
    }
    free(text);
    return ok && read_all(st, 8 + len, err);
}

struct safetensors *safetensors_open_bytes(struct file_bytes *bytes, struct err *err)
{
    struct safetensors *st = calloc(1, sizeof *st);
    if (!st) {
        file_bytes_close(bytes);
        err_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    st->bytes = *bytes;
    if (parse(st, err))
        return st;
    safetensors_close(st);
    return NULL;
}

struct safetensors *safetensors_open_memory(const void *data, size_t size, struct err *err)
{
    struct file_bytes bytes;
    file_bytes_memory(&bytes, data, size);
    return safetensors_open_bytes(&bytes, err);
}

struct safetensors *safetensors_open_fd(int fd, const char *name, struct err *err)
{
    struct file_bytes bytes;
    struct safetensors *st =
        file_bytes_map(&bytes, fd, err) ? safetensors_open_bytes(&bytes, err) : NULL;
    if (!st && name)
        err_prefix(err, "%s", name);
    return st;
}

struct safetensors *safetensors_open_header(int fd, const char *name, struct err *err)
{
    struct file_bytes bytes;
    struct safetensors *st =
        file_bytes_unmapped(&bytes, fd, err) ? safetensors_open_bytes(&bytes, err) : NULL;
    if (!st && name)
        err_prefix(err, "%s", name);
    return st;
}

struct safetensors *safetensors_open(const char *path, struct err *err)
{
    struct safetensors *st = NULL;
    /* Not blocking: `path` could be a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        err_set(err, ERR_INVALID, "not a safetensors file");
    else
        st = safetensors_open_fd(fd, NULL, err);
    if (fd >= 0)
        close(fd);
    if (!st)
        err_about(err, path);
    return st;
}

void safetensors_close(struct safetensors *st)
{
    if (!st)
        return;
    free(st->tensors);
    cJSON_Delete(st->header);
    file_bytes_close(&st->bytes);
    free(st);
}

void safetensors_release(const struct safetensors *st, const void *data, size_t bytes)
{
    file_bytes_release(&st->bytes, data, bytes);
}

const struct raw_tensor *safetensors_find(const struct safetensors *st, const char *name)
{
    return raw_tensor_find(st->tensors, st->count, name);
}

size_t safetensors_count(const struct safetensors *st)
{
    return st->count;
}

const struct raw_tensor *safetensors_at(const struct safetensors *st, size_t i)
{
    return &st->tensors[i];
}

const char *safetensors_metadata(const struct safetensors *st, const char *key)
{
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(st->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}
