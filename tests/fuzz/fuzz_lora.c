/* fuzz_lora.c: any bytes as a LoRA for the tiny SD 1.x model: once as a whole file and once as the
 * header of one whose data is zeros, so that mutations of names and shapes get past the length
 * field. What fits is added to its weights. `make fuzz TARGET=lora`, in the repository's folder. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/model/lora.h"

#define MODEL "tests/golden/tiny/tiny-ldm.safetensors"
#define HEADER_ROOM 65536
#define DATA (1 << 18) /* more than any matrix of the model but the vocabulary */

static struct checkpoint *cp;
static struct device *dev;

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void merge(const struct lora *l)
{
    struct err err = {0};
    struct lora_use use = {l, 1, 1};
    size_t changed = 0;
    for (size_t i = 0; i < checkpoint_count(cp); i++) {
        const struct raw_tensor *t = checkpoint_at(cp, i);
        if (!lora_changes(&use, t))
            continue;
        size_t n = t->bytes / dtype_size(t->dtype);
        float *w = malloc(n * sizeof *w);
        require(w);
        dtype_to_f32(t->dtype, t->data, w, n);
        require(lora_add(&use, dev, t, w, &err)); /* what it was opened with fits */
        free(w);
        changed++;
    }
    require(changed > 0);
}

static void check(const void *data, size_t size)
{
    struct err err = {0};
    int fd = memfd_create("lora", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    struct lora *l = lora_open(fd, "fuzz", cp, &err);
    close(fd);
    require(l || (err.code != ERR_NONE && *err.msg));
    if (l)
        merge(l);
    lora_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char file[8 + HEADER_ROOM + DATA];
    struct err err;
    if (!cp) {
        struct device_options options = {.threads = 1};
        cp = checkpoint_open(MODEL, &err);
        dev = device_new(&options, &err);
        require(cp && dev);
        log_set_level(LOG_ERROR); /* not of each that fits in part */
    }
    check(data, size);
    if (size <= HEADER_ROOM) {
        unsigned char *start = file + HEADER_ROOM - size; /* so that the data stays where it is */
        memcpy(start + 8, data, size);
        for (int i = 0; i < 8; i++)
            start[i] = (unsigned char)((uint64_t)size >> 8 * i);
        check(start, 8 + size + DATA);
    }
    return 0;
}
