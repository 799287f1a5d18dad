/* folders.h: where files of which kind lie.
 *
 * Each kind has a folder of its own in the settings. Those are the first; further ones are below
 * what `model_paths` names, in place: nothing is copied or moved.
 *
 * Thread-safe, but for folders_new and folders_free. */
#ifndef PICTOR_SERVER_FOLDERS_H
#define PICTOR_SERVER_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/pictor.h"

enum folders_kind {
    FOLDERS_MODEL = PICTOR_KIND_MODEL,
    FOLDERS_LORA = PICTOR_KIND_LORA,
    FOLDERS_VAE = PICTOR_KIND_VAE,
    FOLDERS_UPSCALER = PICTOR_KIND_UPSCALER,
    FOLDERS_EMBEDDING = PICTOR_KIND_EMBEDDING,
    FOLDERS_CONTROLNET = PICTOR_KIND_CONTROLNET,
    FOLDERS_TEXT_ENCODER = PICTOR_KIND_TEXT_ENCODER,
    FOLDERS_KINDS = PICTOR_KIND_UNKNOWN
};

/* In model_paths: the cache of Hugging Face's libraries, wherever they keep it. */
#define FOLDERS_HUGGINGFACE "huggingface"

struct settings;
struct folders;

/* Borrows the settings; looks at no disk yet. Returns owned. */
struct folders *folders_new(const struct settings *settings, struct err *err);
void folders_free(struct folders *f); /* NULL is fine */

/* "model", "LoRA", "VAE", ...: for messages. */
const char *folders_kind_name(enum folders_kind kind);

/* The folder that the settings have for the kind: what is fetched goes there. */
const char *folders_own(const struct folders *f, enum folders_kind kind);

/* What a name of such a file may end in, the most wanted first; NULL-terminated. */
const char *const *folders_endings(enum folders_kind kind);

struct folders_place {
    char *path;
    char *prefix; /* of the names of what lies there, "" or "OWNER/REPO" */
    bool flat;    /* the folders in it are no part of it */
    bool quiet;   /* it holds other things, too: what is not understood there is no problem */
};

/* Where files of the kind lie now, the settings' own first; a place that there is not may be among
 * them. */
struct folders_list {
    struct folders_place *at;
    size_t count;
};
bool folders_of(struct folders *f, enum folders_kind kind, struct folders_list *out,
                struct err *err);
void folders_list_free(struct folders_list *list);

/* The path as a text that lives as long as `f`, one for each path; NULL without memory. */
const char *folders_keep(struct folders *f, const char *path);

#endif
