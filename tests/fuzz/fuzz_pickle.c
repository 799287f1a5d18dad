/* fuzz_pickle.c: any bytes as a file of PyTorch's, mapped and by its header alone, and as a bare
 * pickle inside an archive that is whole but for it. Whatever is found must be readable to its last
 * byte. `make fuzz TARGET=pickle` */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/pickle.h"
#include "engine/io/tensor_file.h"
#include "engine/io/torch_file.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_tensors(const struct tensor_file *mapped, const struct tensor_file *header)
{
    require(tensor_file_count(mapped) == tensor_file_count(header));
    for (size_t i = 0; i < tensor_file_count(mapped); i++) {
        const struct raw_tensor *t = tensor_file_at(mapped, i), *h = tensor_file_at(header, i);
        size_t count = 1;
        require(t->ndim >= 0 && t->ndim <= RAW_TENSOR_DIMS && strcmp(t->name, h->name) == 0);
        require(t->bytes == h->bytes && t->dtype == h->dtype && t->ndim == h->ndim);
        for (int d = 0; d < t->ndim; d++)
            count *= t->shape[d];
        require(!dtype_size(t->dtype) || count * dtype_size(t->dtype) == t->bytes);
        if (!t->bytes || t->bytes > 65536)
            continue;
        char *a = malloc(t->bytes), *b = malloc(t->bytes);
        struct err err;
        require(a && b && raw_tensor_read(t, a, &err));
        if (raw_tensor_read(h, b, &err))
            require(memcmp(a, b, t->bytes) == 0);
        free(a);
        free(b);
    }
}

static void check_file(const void *data, size_t size)
{
    struct err err = {0}, other = {0};
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    struct tensor_file *mapped = tensor_file_open_memory(data, size, &err);
    struct tensor_file *header = tensor_file_open_header(fd, NULL, &other);
    require(!mapped == !header && (mapped || (err.code != ERR_NONE && *err.msg && *other.msg)));
    if (mapped)
        check_tensors(mapped, header);
    tensor_file_close(mapped);
    tensor_file_close(header);
}

static unsigned char *put(unsigned char *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *to++ = (unsigned char)(i < 8 ? value >> 8 * i : 0);
    return to;
}

static unsigned char *put_text(unsigned char *to, const void *text, size_t size)
{
    memcpy(to, text, size);
    return to + size;
}

/* An archive of the pickle and two storages of 64 bytes. */
#define ENTRIES 3
static void check_archive(const void *pickle, size_t size)
{
    static const char *const names[ENTRIES] = {"a/data.pkl", "a/data/0", "a/data/1"};
    static const unsigned char zeros[64];
    unsigned char *zip = malloc(size + 1024), *p = zip;
    size_t at[ENTRIES], sizes[ENTRIES] = {size, sizeof zeros, sizeof zeros};
    require(zip);
    for (int i = 0; i < ENTRIES; i++) {
        at[i] = (size_t)(p - zip);
        p = put(put_text(p, "PK\3\4", 4), 0, 22);
        p = put(put(p, strlen(names[i]), 2), 0, 2);
        p = put_text(p, names[i], strlen(names[i]));
        p = put_text(p, i ? zeros : pickle, sizes[i]);
    }
    size_t directory = (size_t)(p - zip);
    for (int i = 0; i < ENTRIES; i++) {
        p = put(put_text(p, "PK\1\2", 4), 0, 16);
        p = put(put(put(p, sizes[i], 4), sizes[i], 4), strlen(names[i]), 2);
        p = put(put(p, 0, 12), at[i], 4);
        p = put_text(p, names[i], strlen(names[i]));
    }
    size_t length = (size_t)(p - zip) - directory;
    p = put(put(put_text(p, "PK\5\6", 4), 0, 4), ENTRIES, 2);
    p = put(put(put(put(p, ENTRIES, 2), length, 4), directory, 4), 0, 2);
    check_file(zip, (size_t)(p - zip));
    free(zip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used;
    bool more;
    struct err err = {0};
    struct pickle *p = pickle_read(data, size, &used, &more, &err);
    require((p || *err.msg) && used <= size);
    pickle_free(p);
    check_file(data, size);
    if (size > 2 && data[0] == 0x80)
        check_archive(data, size);
    return 0;
}
