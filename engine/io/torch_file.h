/* torch_file.h: reader of what torch.save writes (.ckpt, .pt, .pth, .bin): the zip archive of
 * PyTorch 1.6 and later, and the row of pickles of earlier versions.
 *
 * The tensors are those of the state dict: the dict under "state_dict", "model", "params_ema" or
 * "params", the first of these that there is, or all of the file. Those in dicts inside of it are
 * named by the way to them, "string_to_param.*". A tensor that lies in the file as it is read
 * points there; a view with other strides is copied when the file is opened.
 * Nothing in the file is believed (pickle.h, zip.h); every view is checked against the storage, and
 * every storage against the file. Read-only after opening. */
#ifndef PICTOR_ENGINE_IO_TORCH_FILE_H
#define PICTOR_ENGINE_IO_TORCH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/io/file_bytes.h"
#include "engine/io/raw_tensor.h"

struct torch_file;

/* Borrows what `bytes` points at until torch_file_close. */
struct torch_file *torch_file_open(const struct file_bytes *bytes, struct err *err);
void torch_file_close(struct torch_file *tf);

/* In order of name. */
const struct raw_tensor *torch_file_tensors(const struct torch_file *tf, size_t *count);

/* A string that stands in the file's outermost dict; NULL when there is none. */
const char *torch_file_metadata(const struct torch_file *tf, const char *key);
/* A whole number there; `otherwise` when there is none. */
int64_t torch_file_integer(const struct torch_file *tf, const char *key, int64_t otherwise);

#endif
