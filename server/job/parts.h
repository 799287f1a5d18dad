/* parts.h: what a UNet alone lacks to be a model: text encoders and a VAE, each a file of its own.
 *
 * Which they are, the settings say (`[parts NAME]`); else it is the file that is called like the
 * model with ".text_encoder", ".text_encoder_2" or ".vae" behind; else one of the names that such
 * files are published under ("clip_l"). Nothing is taken because it happens to be there: the VAEs
 * of two families look alike. Thread-safe. */
#ifndef PICTOR_SERVER_PARTS_H
#define PICTOR_SERVER_PARTS_H

#include <stdint.h>

#include "server/job/files.h"

struct pictor_files;
struct settings;

/* Where they may lie. Borrows. */
struct parts_places {
    const struct settings *settings;
    struct files *text_encoders, *vaes;
};

/* Opens the UNet at `path`, which is the model `name` of a family ("sdxl"), and all that it wants
 * besides. ERR_UNSUPPORTED: something is not there; the message says what, and what it may be
 * called. */
bool parts_open(const struct parts_places *places, const char *name, const char *path,
                const char *family, struct pictor_files *out, struct err *err);

/* Whether all of it is there; adds their sizes to *size, and *mtime_ms becomes that of the newest:
 * so whoever keeps the model open sees that one was replaced. */
bool parts_measure(const struct parts_places *places, const char *name, const char *family,
                   uint64_t *size, int64_t *mtime_ms, struct err *err);

#endif
