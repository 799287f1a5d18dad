/* tiny.h: the tiny autoencoder (TAESD) for previews of a kind of model, where other programs keep
 * it: A1111 in `VAE-approx`, ComfyUI in `vae_approx`. Thread-safe; no state. */
#ifndef PICTOR_SERVER_TINY_H
#define PICTOR_SERVER_TINY_H

#include <limits.h>
#include <stdint.h>

#include "engine/base/err.h"

struct settings;

struct tiny_file {
    char name[NAME_MAX + 1]; /* "": there is none */
    int fd;
    uint64_t size;
    int64_t mtime_ms;
};

/* `architecture`: of the model, "sd1". None where previews are to be fast, for other kinds, and
 * where there is no such file: "taesd_decoder" or "taesdxl_decoder" in the settings' folder of
 * VAEs, in those folders below `model_paths`, or in those that an extra_model_paths.yaml calls so.
 */
void tiny_open(const struct settings *settings, const char *architecture, struct tiny_file *out);
void tiny_close(struct tiny_file *file); /* zeroed is fine */

#endif
