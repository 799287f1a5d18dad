/* fuzz_safetensors.c: any bytes as a checkpoint, mapped and by its header alone: once as a whole
 * file and once as the header of one whose data is zeros, so that mutations of names and shapes get
 * past the length field. Whatever is found must be readable to its last byte.
 * `make fuzz TARGET=safetensors` */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/family/stable.h"
#include "engine/io/checkpoint.h"
#include "engine/io/names.h"
#include "engine/io/safetensors.h"

#define HEADER_ROOM 65536
#define DATA (8 << 20) /* room for a vocabulary of 49408 in width 64 */

static unsigned char file[8 + HEADER_ROOM + DATA];

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* Reads the first and the last element of every tensor, and all of the short ones. */
static void read_all(const struct raw_tensor *t)
{
    size_t size = dtype_size(t->dtype);
    require(t->ndim >= 0 && t->ndim <= RAW_TENSOR_DIMS);
    if (!size || !t->bytes)
        return;
    size_t count = 1;
    for (int i = 0; i < t->ndim; i++)
        count *= t->shape[i];
    require(count * size == t->bytes);
    float some[64];
    dtype_to_f32(t->dtype, t->data, some, count < 64 ? count : 1);
    dtype_to_f32(t->dtype, (const char *)t->data + t->bytes - size, some, 1);
}

/* The names as those of each kind of file. */
static void translate_all(const struct safetensors *st)
{
    for (int part = NAMES_UNET; part <= NAMES_WHOLE; part++) {
        struct names_layout layout = {0};
        for (size_t i = 0; i < safetensors_count(st); i++)
            names_scan(&layout, part, safetensors_at(st, i)->name);
        for (size_t i = 0; i < safetensors_count(st); i++) {
            char out[128];
            if (names_to_ldm(&layout, part, safetensors_at(st, i)->name, out, sizeof out))
                require(strlen(out) < sizeof out);
        }
    }
}

static void check_safetensors(const void *data, size_t size)
{
    struct err err = {0};
    struct safetensors *st = safetensors_open_memory(data, size, &err);
    require(st || (err.code != ERR_NONE && *err.msg));
    if (!st)
        return;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct raw_tensor *t = safetensors_at(st, i);
        require(safetensors_find(st, t->name) == t);
        read_all(t);
    }
    translate_all(st);
    safetensors_metadata(st, "format");
    safetensors_close(st);
}

/* Of a file of `size` bytes that begins with `have` bytes and goes on with zeros, its header alone
 * says what the whole of it says. */
static void check_header(const void *data, size_t have, size_t size, bool opens, bool runs)
{
    static struct pictor_files files = {.items = {{.name = "x.safetensors", .fd = -1}}, .count = 1};
    struct err err = {0};
    struct family_facts facts;
    int *fd = &files.items[0].fd;
    if (*fd < 0)
        *fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(ftruncate(*fd, 0) == 0 && ftruncate(*fd, (off_t)size) == 0);
    require(pwrite(*fd, data, have, 0) == (ssize_t)have);
    struct checkpoint *cp = checkpoint_open_headers(&files, &err);
    require((cp != NULL) == opens && (cp || *err.msg));
    const struct family *family = cp ? family_of(cp, &err) : NULL;
    require((family && family->read(cp, &facts, &err)) == runs);
    checkpoint_free(cp);
}

static void check_checkpoint(const void *data, size_t have, size_t size)
{
    struct err err = {0};
    struct checkpoint *cp = checkpoint_open_memory(data, size, &err);
    require(cp || *err.msg);
    if (!cp) {
        check_header(data, have, size, false, false);
        return;
    }
    static const char *const roots[] = {CLIP_FIRST, NULL};
    struct stable_config a;
    struct family_facts facts;
    const struct family *family = family_of(cp, &err);
    require(family || *err.msg);
    bool runs = family && family->read(cp, &facts, &err);
    require(runs || *err.msg);
    check_header(data, have, size, true, runs);
    if (stable_read(cp, "SD 1.x", roots, &a, &err)) {
        require(a.clip[0].layers >= 0 && a.clip[0].width % a.clip[0].heads == 0 &&
                a.clip[0].vocab >= 49408);
        require(a.unet.levels >= 1 && a.unet.levels <= UNET_LEVELS && a.unet.res_blocks >= 1);
        for (int i = 0; i < a.unet.levels; i++)
            require(a.unet.channels[i] > 0 && a.unet.channels[i] % 32 == 0);
        for (int i = 0; i < a.vae.levels; i++)
            require(a.vae.encoder_channels[i] > 0 && a.vae.decoder_channels[i] > 0);
    } else {
        require(*err.msg);
    }
    struct raw_tensor t;
    static const size_t any[4];
    if (checkpoint_get(cp, "a", 4, any, &t, &err) || checkpoint_get(cp, "a", 2, any, &t, &err))
        read_all(&t);
    checkpoint_free(cp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_safetensors(data, size);
    check_checkpoint(data, size, size);
    if (size <= HEADER_ROOM) {
        unsigned char *start = file + HEADER_ROOM - size; /* so that the data stays where it is */
        memcpy(start + 8, data, size);
        for (int i = 0; i < 8; i++)
            start[i] = (unsigned char)((uint64_t)size >> 8 * i);
        check_safetensors(start, 8 + size + DATA);
        check_checkpoint(start, 8 + size, 8 + size + DATA);
    }
    return 0;
}
