/* pull_source.h: what `pictor pull` is told to fetch, as an address, a name and a promise. */
#ifndef PICTOR_SERVER_PULL_SOURCE_H
#define PICTOR_SERVER_PULL_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/sha256.h"

#define PULL_SOURCE_ENDING ".safetensors"
#define PULL_SOURCE_NAME 200

struct settings;

/* One of the files of a folder. */
struct pull_source_file {
    char *inner; /* its place below the folder: "unet/config.json" */
    char *url;
    char sha256[SHA256_HEX_SIZE]; /* "": not known */
    uint64_t size;                /* 0: not known */
};

struct pull_source {
    char *url;       /* owned; NULL: it is a folder */
    const char *key; /* from the settings or the environment, "" for none; borrowed */
    const char *hf_token, *civitai_token; /* which may become it */
    const atomic_bool *stop; /* once true, hubs are asked no more; may be NULL */
    bool public_only; /* hubs and addresses on the local network are refused: to be set */
    char name[PULL_SOURCE_NAME];  /* of the file here, with the ending once it was found */
    bool guessed; /* nothing said which ending, so that the content may be of any of them */
    char sha256[SHA256_HEX_SIZE]; /* "": not known */
    uint64_t size, slack;         /* 0: not known; by how much it may be off */
    struct pull_source_file *files; /* of a folder, all of them; owned */
    size_t file_count;
};

/* Fills `s`, which is zero but for a name, a hash and public_only that were set, from https://...,
 * hf:OWNER/REPO, hf:OWNER/REPO/FILE or civitai:VERSION; all but plain addresses ask Hugging Face
 * and CivitAI, and so do addresses of theirs. Keys are borrowed from the settings. To be freed also
 * where it fails. */
bool pull_source_find(struct pull_source *s, const struct settings *settings, const char *ref,
                      struct err *err);

/* What it is to be called: the last part of `path`, with or without an ending. What could be
 * anything but a plain file name is refused. */
bool pull_source_set_name(struct pull_source *s, const char *path, struct err *err);

/* The name and ending of `path` where there is none yet. */
bool pull_source_complete_name(struct pull_source *s, const char *path, struct err *err);

bool pull_source_set_sha256(struct pull_source *s, const char *hex, struct err *err);

/* What it owns; not itself. */
void pull_source_free(struct pull_source *s);

#endif
