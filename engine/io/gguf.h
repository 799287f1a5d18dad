/* gguf.h: reader of GGUF, the container of GGML's programs (gguf.h of GGML, versions 2 and 3).
 *
 * Dimensions are stored the fastest first and come out the other way round; one that a converter
 * changed comes out as it was (comfy.gguf.orig_shape.NAME). Nothing in the file is believed.
 * Read-only after opening. */
#ifndef PICTOR_ENGINE_IO_GGUF_H
#define PICTOR_ENGINE_IO_GGUF_H

#include <stddef.h>

#include "engine/io/file_bytes.h"
#include "engine/io/raw_tensor.h"

struct gguf;

/* Borrows what `bytes` points at until gguf_close. */
struct gguf *gguf_open(const struct file_bytes *bytes, struct err *err);
void gguf_close(struct gguf *g);

/* In order of name. */
const struct raw_tensor *gguf_tensors(const struct gguf *g, size_t *count);

/* A string of the header, "general.architecture" for example; NULL when there is none. */
const char *gguf_metadata(const struct gguf *g, const char *key);

/* An array of the header as it lies there: `count` numbers of `size` bytes each, little-endian, or,
 * `size` 0, strings, each behind its length of eight bytes; they may go beyond `bytes` where the
 * file changed since. Where the file is not in memory it is a copy, the caller's to free; else
 * *copy is NULL. ERR_NOT_FOUND: there is none. */
struct gguf_array {
    size_t count, size, bytes;
    const unsigned char *data;
};
bool gguf_array(const struct gguf *g, const char *key, struct gguf_array *out, void **copy,
                struct err *err);
bool gguf_has_array(const struct gguf *g, const char *key);

#endif
