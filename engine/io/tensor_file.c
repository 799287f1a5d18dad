#include "engine/io/tensor_file.h"

#include <stdlib.h>

#include "engine/io/file_bytes.h"
#include "engine/io/safetensors.h"
#include "engine/io/sniff.h"
#include "engine/io/torch_file.h"

struct tensor_file {
    struct file_bytes bytes; /* {0} of safetensors, which has them */
    struct safetensors *st;  /* one of these */
    struct torch_file *torch;
    struct gguf *gguf;
    const struct raw_tensor *tensors; /* theirs */
    size_t count;
};

static bool open_kind(struct tensor_file *tf, enum sniff_kind kind, struct err *err)
{
    struct file_bytes bytes;
    switch (kind) {
    case SNIFF_SAFETENSORS:
        bytes = tf->bytes;
        tf->bytes = (struct file_bytes){.fd = -1};
        if (!(tf->st = safetensors_open_bytes(&bytes, err)))
            return false;
        tf->count = safetensors_count(tf->st);
        tf->tensors = tf->count ? safetensors_at(tf->st, 0) : NULL;
        return true;
    case SNIFF_TORCH:
        if (!(tf->torch = torch_file_open(&tf->bytes, err)))
            return false;
        tf->tensors = torch_file_tensors(tf->torch, &tf->count);
        return true;
    case SNIFF_GGUF:
        if (!(tf->gguf = gguf_open(&tf->bytes, err)))
            return false;
        tf->tensors = gguf_tensors(tf->gguf, &tf->count);
        return true;
    }
    return false;
}

/* Takes the bytes, also when it fails. */
static struct tensor_file *open_bytes(struct file_bytes *bytes, const char *name, struct err *err)
{
    struct tensor_file *tf = calloc(1, sizeof *tf);
    unsigned char head[SNIFF_BYTES];
    size_t have = bytes->size < sizeof head ? bytes->size : sizeof head;
    enum sniff_kind kind;
    if (!tf) {
        file_bytes_close(bytes);
        err_set(err, ERR_INTERNAL, "no memory for a file of weights");
        return NULL;
    }
    tf->bytes = *bytes;
    if (file_bytes_read(bytes, 0, head, have, err) &&
        sniff_weights(head, have, bytes->size, &kind, err) && open_kind(tf, kind, err))
        return tf;
    tensor_file_close(tf);
    if (name)
        err_prefix(err, "%s", name);
    return NULL;
}

struct tensor_file *tensor_file_open_fd(int fd, const char *name, struct err *err)
{
    struct file_bytes bytes;
    if (file_bytes_map(&bytes, fd, err))
        return open_bytes(&bytes, name, err);
    if (name)
        err_prefix(err, "%s", name);
    return NULL;
}

struct tensor_file *tensor_file_open_header(int fd, const char *name, struct err *err)
{
    struct file_bytes bytes;
    if (file_bytes_unmapped(&bytes, fd, err))
        return open_bytes(&bytes, name, err);
    if (name)
        err_prefix(err, "%s", name);
    return NULL;
}

struct tensor_file *tensor_file_open_memory(const void *data, size_t size, struct err *err)
{
    struct file_bytes bytes;
    file_bytes_memory(&bytes, data, size);
    return open_bytes(&bytes, NULL, err);
}

void tensor_file_close(struct tensor_file *tf)
{
    if (!tf)
        return;
    safetensors_close(tf->st);
    torch_file_close(tf->torch);
    gguf_close(tf->gguf);
    file_bytes_close(&tf->bytes);
    free(tf);
}

void tensor_file_release(const struct tensor_file *tf, const void *data, size_t bytes)
{
    if (tf->st)
        safetensors_release(tf->st, data, bytes);
    else
        file_bytes_release(&tf->bytes, data, bytes);
}

const struct raw_tensor *tensor_file_find(const struct tensor_file *tf, const char *name)
{
    return raw_tensor_find(tf->tensors, tf->count, name);
}

size_t tensor_file_count(const struct tensor_file *tf)
{
    return tf->count;
}

const struct raw_tensor *tensor_file_at(const struct tensor_file *tf, size_t i)
{
    return &tf->tensors[i];
}

const char *tensor_file_metadata(const struct tensor_file *tf, const char *key)
{
    return tf->st      ? safetensors_metadata(tf->st, key)
           : tf->torch ? torch_file_metadata(tf->torch, key)
                       : gguf_metadata(tf->gguf, key);
}

int64_t tensor_file_integer(const struct tensor_file *tf, const char *key, int64_t otherwise)
{
    return tf->torch ? torch_file_integer(tf->torch, key, otherwise) : otherwise;
}

bool tensor_file_has_array(const struct tensor_file *tf, const char *key)
{
    return tf->gguf && gguf_has_array(tf->gguf, key);
}

bool tensor_file_array(const struct tensor_file *tf, const char *key, struct gguf_array *out,
                       void **copy, struct err *err)
{
    return gguf_array(tf->gguf, key, out, copy, err);
}
