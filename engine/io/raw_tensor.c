#include "engine/io/raw_tensor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct raw_tensor *)a)->name, ((const struct raw_tensor *)b)->name);
}

bool raw_tensor_sort(struct raw_tensor *tensors, size_t count, struct err *err)
{
    if (count > 1) /* an empty list may be NULL, which qsort does not take */
        qsort(tensors, count, sizeof *tensors, by_name);
    char shown[96];
    for (size_t i = 1; i < count; i++)
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return err_set(err, ERR_INVALID, "tensor %s is there twice",
                           raw_tensor_show(shown, sizeof shown, tensors[i].name));
    return true;
}

const struct raw_tensor *raw_tensor_find(const struct raw_tensor *tensors, size_t count,
                                         const char *name)
{
    struct raw_tensor key = {.name = name};
    return count ? bsearch(&key, tensors, count, sizeof key, by_name) : NULL;
}

bool raw_tensor_read_at(int fd, size_t from, void *to, size_t bytes, struct err *err)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t n = pread(fd, (char *)to + got, bytes - got, (off_t)(from + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, ERR_IO, "cannot read the file: %s",
                           n ? strerror(errno) : "it became shorter");
        got += (size_t)n;
    }
    return true;
}

bool raw_tensor_read(const struct raw_tensor *t, void *to, struct err *err)
{
    if (!t->data)
        return raw_tensor_read_at(t->fd, t->offset, to, t->bytes, err);
    memcpy(to, t->data, t->bytes);
    return true;
}

size_t raw_tensor_count(const struct raw_tensor *t)
{
    size_t count = 1;
    for (int i = 0; i < t->ndim; i++)
        count *= t->shape[i];
    return count;
}

bool raw_tensor_bytes(enum dtype dtype, size_t count, size_t *bytes)
{
    size_t block = dtype_block(dtype);
    return count % block == 0 && !__builtin_mul_overflow(count / block, dtype_size(dtype), bytes);
}

void raw_tensor_floats(const struct raw_tensor *t, size_t first, size_t n, float *out)
{
    if (!t->scales)
        dtype_range_to_f32(t->dtype, t->data, first, out, n);
    for (size_t i = 0; t->scale != 0 && i < n; i++)
        out[i] *= t->scale;
    for (size_t i = 0; t->scales && i < n;) { /* a row at a time */
        size_t row = (first + i) / t->scales->width, at = (first + i) % t->scales->width;
        size_t some = t->scales->width - at < n - i ? t->scales->width - at : n - i;
        dtype_scales_read(t->scales, t->dtype, t->data, t->first_row, t->first_row + row, at,
                          out + i, some);
        i += some;
    }
}

const char *raw_tensor_shape(char *buf, size_t size, int ndim, const size_t *shape)
{
    size_t used = (size_t)snprintf(buf, size, "[");
    for (int i = 0; i < ndim && used < size; i++) {
        const char *comma = i ? ", " : "";
        used += (size_t)(shape[i] ? snprintf(buf + used, size - used, "%s%zu", comma, shape[i])
                                  : snprintf(buf + used, size - used, "%sany", comma));
    }
    if (used < size)
        snprintf(buf + used, size - used, "]");
    return buf;
}

const char *raw_tensor_show(char *buf, size_t size, const char *name)
{
    size_t n = 0;
    for (; name[n] && n + 1 < size; n++)
        buf[n] = name[n] < ' ' || name[n] > '~' ? '?' : name[n];
    buf[n] = '\0';
    return buf;
}
