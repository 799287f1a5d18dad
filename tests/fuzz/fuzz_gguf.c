/* fuzz_gguf.c: any bytes as a GGUF file, mapped and by its header alone: once as they are and once
 * with zeros behind them, so that mutations of names and shapes have data. Every number of whatever
 * is found must be readable. `make fuzz TARGET=gguf` */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/io/tensor_file.h"

#define DATA (1 << 17)
#define ROOM 65536
#define NUMBERS 4096 /* read at once */

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void read_numbers(const struct raw_tensor *t)
{
    static float some[NUMBERS];
    size_t count = raw_tensor_count(t), bytes;
    require(t->ndim >= 0 && t->ndim <= RAW_TENSOR_DIMS);
    if (t->dtype == DTYPE_OTHER || !t->bytes)
        return;
    require(raw_tensor_bytes(t->dtype, count, &bytes) && bytes == t->bytes);
    raw_tensor_floats(t, 0, count < NUMBERS ? count : NUMBERS, some);
    raw_tensor_floats(t, count - 1, 1, some);
    raw_tensor_floats(t, count / 3, count - count / 3 < NUMBERS ? count - count / 3 : 1, some);
}

static void check(const void *data, size_t size)
{
    struct err err = {0}, other = {0};
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    struct tensor_file *mapped = tensor_file_open_memory(data, size, &err);
    struct tensor_file *header = tensor_file_open_header(fd, NULL, &other);
    require(!mapped == !header);
    require(mapped || (err.code != ERR_NONE && strcmp(err.msg, other.msg) == 0));
    for (size_t i = 0; mapped && i < tensor_file_count(mapped); i++) {
        const struct raw_tensor *t = tensor_file_at(mapped, i), *h = tensor_file_at(header, i);
        require(strcmp(t->name, h->name) == 0 && t->offset == h->offset && t->bytes == h->bytes);
        require(tensor_file_find(mapped, t->name) == t);
        read_numbers(t);
    }
    if (mapped)
        tensor_file_metadata(mapped, "general.architecture");
    tensor_file_close(mapped);
    tensor_file_close(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char file[ROOM + DATA];
    if (size > ROOM)
        return 0;
    check(data, size);
    memcpy(file, data, size);
    memset(file + size, 0, DATA);
    check(file, size + DATA);
    return 0;
}
