/* extra_paths.h: ComfyUI's extra_model_paths.yaml, as far as that is folders by kind.
 *
 * It is a small part of YAML: sections, and in them `name: folder` or `name: |` with a folder a
 * line; `base_path` is what the others are relative to, and is itself relative to the file. No
 * state. */
#ifndef PICTOR_SERVER_EXTRA_PATHS_H
#define PICTOR_SERVER_EXTRA_PATHS_H

#include <stdbool.h>

#include "engine/base/err.h"

/* A name of the file, "checkpoints", and a folder; false stops the reading. */
typedef bool extra_paths_fn(void *ctx, const char *name, const char *folder);

/* False when `each` stopped it, or with an error: it cannot be read, or a line is none of these. */
bool extra_paths_read(const char *path, extra_paths_fn *each, void *ctx, struct err *err);

#endif
