/* tensor_file.h: a file of named tensors, whichever kind of file it is: told by its first bytes,
 * never by its name. .safetensors (safetensors.h), what PyTorch writes (torch_file.h), GGUF
 * (gguf.h).
 *
 * Read-only after opening: any number of threads may look tensors up. */
#ifndef PICTOR_ENGINE_IO_TENSOR_FILE_H
#define PICTOR_ENGINE_IO_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/gguf.h"
#include "engine/io/raw_tensor.h"

struct tensor_file;

/* Maps the file; `fd` may be closed afterwards; `name` is for messages, or NULL. A file that
 * another process shortens while it is mapped kills the reader with SIGBUS: that is one reason why
 * models are read in the worker process. Returns owned. */
struct tensor_file *tensor_file_open_fd(int fd, const char *name, struct err *err);

/* Reads what says which tensors there are and maps nothing, for processes that a file must not be
 * able to kill. Tensors are checked as above but have no data: raw_tensor_read fetches it. Borrows
 * `fd`. */
struct tensor_file *tensor_file_open_header(int fd, const char *name, struct err *err);

/* The same over bytes that are already in memory and outlive the result. Borrows `data`. */
struct tensor_file *tensor_file_open_memory(const void *data, size_t size, struct err *err);

void tensor_file_close(struct tensor_file *tf);

/* Gives back the memory of bytes that were read, if they lie in this file's mapping; reading them
 * again is fine, but slower. */
void tensor_file_release(const struct tensor_file *tf, const void *data, size_t bytes);

/* NULL when there is none. Tensors and names are valid until the close. */
const struct raw_tensor *tensor_file_find(const struct tensor_file *tf, const char *name);

/* In order of name; i < tensor_file_count. */
size_t tensor_file_count(const struct tensor_file *tf);
const struct raw_tensor *tensor_file_at(const struct tensor_file *tf, size_t i);

/* What the file says of itself under `key`; NULL when it says nothing. */
const char *tensor_file_metadata(const struct tensor_file *tf, const char *key);
/* A whole number that a file of PyTorch's has under `key`; `otherwise` when there is none. */
int64_t tensor_file_integer(const struct tensor_file *tf, const char *key, int64_t otherwise);
/* Whether it is a GGUF file that has an array under `key`, and that array (gguf.h). */
bool tensor_file_has_array(const struct tensor_file *tf, const char *key);
bool tensor_file_array(const struct tensor_file *tf, const char *key, struct gguf_array *out,
                       void **copy, struct err *err);

#endif
