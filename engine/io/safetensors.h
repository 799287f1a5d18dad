/* safetensors.h: reader of .safetensors files.
 *
 * Nothing in the file is believed: the header is bounded, every dtype, shape, offset and product is
 * checked when it is opened, so that a tensor that can be found can also be read.
 * Read-only after opening: any number of threads may look tensors up. */
#ifndef PICTOR_ENGINE_IO_SAFETENSORS_H
#define PICTOR_ENGINE_IO_SAFETENSORS_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/io/file_bytes.h"
#include "engine/io/raw_tensor.h"

struct safetensors;

/* Maps the file. A file that another process shortens while it is mapped kills the reader with
 * SIGBUS: that is one reason why models are read in the worker process. Returns owned. */
struct safetensors *safetensors_open(const char *path, struct err *err);

/* The same of a descriptor, which may be closed afterwards; `name` is for messages, or NULL. */
struct safetensors *safetensors_open_fd(int fd, const char *name, struct err *err);

/* Reads the header alone and maps nothing, for processes that a file must not be able to kill.
 * Tensors are checked as above but have no data: raw_tensor_read fetches it. Borrows `fd`. */
struct safetensors *safetensors_open_header(int fd, const char *name, struct err *err);

/* The same over bytes that are already in memory and outlive the result. Borrows `data`. */
struct safetensors *safetensors_open_memory(const void *data, size_t size, struct err *err);

/* The same of bytes that were opened one way or another; takes them, also when it fails. */
struct safetensors *safetensors_open_bytes(struct file_bytes *bytes, struct err *err);

void safetensors_close(struct safetensors *st);

/* Gives back the memory of bytes that were read, if they lie in this file's mapping; reading them
 * again is fine, but slower. */
void safetensors_release(const struct safetensors *st, const void *data, size_t bytes);

/* NULL when there is none. Tensors and names are valid until the close. */
const struct raw_tensor *safetensors_find(const struct safetensors *st, const char *name);

/* In order of name; i < safetensors_count. */
size_t safetensors_count(const struct safetensors *st);
const struct raw_tensor *safetensors_at(const struct safetensors *st, size_t i);

/* A string of the header's __metadata__; NULL when there is none. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);

#endif
