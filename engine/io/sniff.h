/* sniff.h: what a file is that should be a model, told from its first bytes. People have downloads
 * that are none: login pages, Git LFS pointers, halves of files. No state. */
#ifndef PICTOR_ENGINE_IO_SNIFF_H
#define PICTOR_ENGINE_IO_SNIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define SNIFF_BYTES 512           /* as many are enough */
#define SNIFF_HEADER (16 << 20)   /* bytes of a header; SDXL's has 0.3 MB, LoRAs with lists of all
                                     their training's captions have some MB */
#define SNIFF_SIZE_UNKNOWN UINT64_MAX

/* The kinds of files that are read. */
enum sniff_kind {
    SNIFF_SAFETENSORS,
    SNIFF_TORCH, /* what PyTorch writes: a pickle, or a zip archive with one in it */
    SNIFF_GGUF
};

/* Which of them a file of `size` bytes is that begins with `head` (the first SNIFF_BYTES or more of
 * it, or all of it), as far as they say. If it is none, ERR_INVALID or ERR_UNSUPPORTED says what it
 * is: "this is a web page (HTML), ...". */
bool sniff_weights(const void *head, size_t have, uint64_t size, enum sniff_kind *kind,
                   struct err *err);

/* The same where nothing but a .safetensors file will do. */
bool sniff_safetensors(const void *head, size_t have, uint64_t size, struct err *err);

#endif
