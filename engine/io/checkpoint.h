/* checkpoint.h: the weights of a model behind one face, however many files they are stored in. What
 * kind of model it is is for others to say (engine/family).
 *
 * Names are those of the single-file ("LDM") layout:
 *     model.diffusion_model.input_blocks.0.0.weight
 *     first_stage_model.decoder.conv_in.weight
 *     cond_stage_model.transformer.text_model.final_layer_norm.weight
 * A diffusers folder (unet/ vae/ text_encoder/ text_encoder_2/) is translated to them when it is
 * opened; what text encoders are called is in names.h.
 * Read-only after opening: any number of threads may look tensors up. */
#ifndef PICTOR_ENGINE_IO_CHECKPOINT_H
#define PICTOR_ENGINE_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/io/file_bytes.h"
#include "engine/io/gguf.h"
#include "engine/io/names.h"
#include "engine/io/raw_tensor.h"
#include "engine/pictor.h"

struct checkpoint;

struct pictor_files;

/* What pictor_files_open opened or pictor_files_add put together. A network that is given by itself
 * replaces the whole file's; metadata is the first file's. Returns owned. */
struct checkpoint *checkpoint_open_files(const struct pictor_files *files, struct err *err);

/* The same from the files' headers alone: tensors have no data (raw_tensor.h), and nothing is
 * mapped. Borrows `files`. */
struct checkpoint *checkpoint_open_headers(const struct pictor_files *files, struct err *err);

/* A .safetensors file or a diffusers folder. Returns owned. */
struct checkpoint *checkpoint_open(const char *path, struct err *err);

/* A single-file checkpoint in memory. Borrows `data` until checkpoint_free. */
struct checkpoint *checkpoint_open_memory(const void *data, size_t size, struct err *err);

void checkpoint_free(struct checkpoint *cp);

/* NULL when there is none. Valid until checkpoint_free. */
const struct raw_tensor *checkpoint_find(const struct checkpoint *cp, const char *ldm_name);
const struct raw_tensor *checkpoint_findf(const struct checkpoint *cp, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Every tensor, in order of name: i < checkpoint_count. */
size_t checkpoint_count(const struct checkpoint *cp);
const struct raw_tensor *checkpoint_at(const struct checkpoint *cp, size_t i);

/* Whether some tensor's name begins so. */
bool checkpoint_has(const struct checkpoint *cp, const char *prefix);

/* The tensor, if it has `ndim` dimensions of the sizes in `shape` (0: any) and a dtype that
 * dtype_to_f32 converts. A linear layer [n, k] and a 1x1 convolution [n, k, 1, 1] stand for each
 * other, and for a linear layer [n, 4 k] a convolution over patches [n, k, 2, 2] does; `out` has
 * the ndim that was asked for. The error names the tensor, what was wanted and what was found.
 * `out` borrows from the checkpoint. */
bool checkpoint_get(const struct checkpoint *cp, const char *ldm_name, int ndim,
                    const size_t *shape, struct raw_tensor *out, struct err *err);

/* The dimensions of a tensor that has to be there with `ndim` of them, each
 * 1..CHECKPOINT_SIZE_LIMIT, and otherwise as checkpoint_get wants it. */
#define CHECKPOINT_SIZE_LIMIT (1 << 20) /* 20 times CLIP's vocabulary */
bool checkpoint_sizes(const struct checkpoint *cp, const char *ldm_name, int ndim, int *out,
                      struct err *err);

/* The tensor's bytes were read and are not needed for now: they need no longer take up memory.
 * Reading them again is fine. */
void checkpoint_release(const struct checkpoint *cp, const struct raw_tensor *t);

/* The name of the file that holds a whole model, or its UNet; "" of a folder that says how it was
 * trained, and out of memory. */
const char *checkpoint_name(const struct checkpoint *cp);

/* What the files' opener said. */
enum pictor_variant checkpoint_variant(const struct checkpoint *cp);

/* A string of the file's metadata (of the UNet's file in a folder), "modelspec.title" for example;
 * NULL when there is none. */
const char *checkpoint_metadata(const struct checkpoint *cp, const char *key);
int64_t checkpoint_integer(const struct checkpoint *cp, const char *key, int64_t otherwise);

/* A string of a folder's scheduler/scheduler_config.json, "prediction_type" for example; NULL when
 * there is none. */
const char *checkpoint_scheduler(const struct checkpoint *cp, const char *key);
/* Whether the value of `key` there is true; whether it is false. */
bool checkpoint_scheduler_is(const struct checkpoint *cp, const char *key);
bool checkpoint_scheduler_denies(const struct checkpoint *cp, const char *key);
/* A number there; `otherwise` when there is none. */
double checkpoint_scheduler_number(const struct checkpoint *cp, const char *key, double otherwise);

/* The bytes of the "tokenizer" of pictor_files_add; NULL when there is none, and of a GGUF, whose
 * arrays are found below. In a checkpoint of headers they are to be read (file_bytes_read). Valid
 * until checkpoint_free. */
const struct file_bytes *checkpoint_tokenizer(const struct checkpoint *cp);
/* Whether one of the files is a GGUF that has an array under `key`; and that array, as gguf_array
 * gives it. ERR_NOT_FOUND: there is none. */
bool checkpoint_has_array(const struct checkpoint *cp, const char *key);
bool checkpoint_array(const struct checkpoint *cp, const char *key, struct gguf_array *out,
                      void **copy, struct err *err);

/* Whether a folder's model_index.json says that `key` is true; `otherwise` when there is none, or
 * it does not say. */
bool checkpoint_pipeline_is(const struct checkpoint *cp, const char *key, bool otherwise);
/* A string there; NULL when there is none. */
const char *checkpoint_pipeline_text(const struct checkpoint *cp, const char *key);
/* Whether there is one. */
bool checkpoint_has_pipeline(const struct checkpoint *cp);

/* The same of a network's config.json ("config" of pictor_files_add). A number that is null there
 * is NAN. */
bool checkpoint_is_configured(const struct checkpoint *cp); /* whether there is one */
const char *checkpoint_config_text(const struct checkpoint *cp, const char *key);
bool checkpoint_config_is(const struct checkpoint *cp, const char *key, bool otherwise);
double checkpoint_config_number(const struct checkpoint *cp, const char *key, double otherwise);

#endif
