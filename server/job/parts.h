/* parts.h: what a UNet alone lacks to be a model: text encoders and a VAE, each a file of its own,
 * and T5's vocabulary.
 *
 * Which they are, the settings say (`[parts NAME]`); else it is the file that is called like the
 * model with ".text_encoder" (or "_2", "_3") or ".vae" behind; else one of the names that such
 * files are published under ("clip_l"); of several text encoders of one kind that which has the
 * words that the network takes. Nothing is taken because it happens to be there: the VAEs of two
 * families look alike. T5's vocabulary is in its own file (GGUF), or a `spiece.model` beside it or
 * in one of the folders of text encoders, or another T5 there (GGUF) has it. Thread-safe. */
#ifndef PICTOR_SERVER_PARTS_H
#define PICTOR_SERVER_PARTS_H

#include <stdint.h>

#include "engine/pictor.h"
#include "server/job/files.h"

struct folders;
struct settings;

/* Where they may lie. Borrows. */
struct parts_places {
    const struct settings *settings;
    struct files *text_encoders, *vaes;
    struct folders *folders;
};

/* Opens the UNet at `path`, which is the model `name` of a family ("sdxl"), and all that it wants
 * besides. ERR_UNSUPPORTED: something is not there; the message says what, and what it may be
 * called. */
bool parts_open(const struct parts_places *places, const char *name, const char *path,
                const char *family, struct pictor_files *out, struct err *err);

/* Whether the settings say that a model of that name was distilled, or is the base of such. */
enum pictor_variant parts_variant(const struct settings *settings, const char *model);

/* A model in one file that has T5 in it and lacks its vocabulary: adds that, where there is one.
 * False with an error that is no matter of whether there is. */
bool parts_complete(const struct parts_places *places, const char *path, const char *family,
                    struct pictor_files *files, struct err *err);

/* Of the i-th part that models want, what `pictor pull` calls it; and the n-th name that it is
 * looked for by. NULL past the last. FLUX.2 [klein] 9B wants another than 4B. */
const char *parts_pull(size_t i);
const char *parts_name(size_t i, size_t n);
#define PARTS_LARGE_PULL "qwen_3_8b"

/* Whether all of it is there of the UNet at `path`; adds their sizes to *size, and *mtime_ms
 * becomes that of the newest: so whoever keeps the model open sees that one was replaced. */
bool parts_measure(const struct parts_places *places, const char *name, const char *path,
                   const char *family, uint64_t *size, int64_t *mtime_ms, struct err *err);

#endif
