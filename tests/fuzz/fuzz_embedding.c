/* fuzz_embedding.c: any bytes as a textual inversion: what its header alone says is what the whole
 * file says, and its vectors are numbers. `make fuzz TARGET=embedding` */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/family/embedding.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void read_vectors(const struct checkpoint *cp, const struct pictor_embedding_info *info)
{
    float *at[EMBEDDING_ENCODERS] = {NULL};
    struct err err = {0};
    for (int i = 0; i < EMBEDDING_ENCODERS; i++) {
        size_t n = (size_t)info->vectors * (size_t)info->widths[i];
        at[i] = n ? malloc(n * sizeof *at[i]) : NULL;
        require(!n || at[i]);
    }
    bool ok = embedding_read(cp, info, at, &err);
    require(ok || *err.msg);
    for (int i = 0; ok && i < EMBEDDING_ENCODERS; i++)
        for (size_t k = 0; k < (size_t)info->vectors * (size_t)info->widths[i]; k++)
            require(isfinite(at[i][k]));
    for (int i = 0; i < EMBEDDING_ENCODERS; i++)
        free(at[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pictor_files files = {.count = 1};
    struct pictor_embedding_info whole = {0}, header = {0};
    struct err err = {0};
    int fd = memfd_create("embedding", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(files.items[0].name, sizeof files.items[0].name, "embedding");
    files.items[0].fd = fd;
    struct checkpoint *cp = checkpoint_open_files(&files, &err);
    struct checkpoint *head = checkpoint_open_headers(&files, NULL);
    require(cp || *err.msg);
    bool is = cp && embedding_describe(cp, &whole, &err);
    if (cp && head) {
        require(embedding_describe(head, &header, NULL) == is);
        require(memcmp(&whole, &header, sizeof whole) == 0);
    }
    if (is) {
        require(whole.vectors >= 1 && whole.vectors <= PICTOR_EMBEDDING_VECTORS);
        read_vectors(cp, &whole);
    }
    checkpoint_free(head);
    checkpoint_free(cp);
    close(fd);
    return 0;
}
