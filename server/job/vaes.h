/* vaes.h: which VAE a picture is painted with. A VAE is a file of the folder `vaes` that takes the
 * place of the one in the checkpoint. */
#ifndef PICTOR_SERVER_VAES_H
#define PICTOR_SERVER_VAES_H

#include <limits.h>
#include <stdint.h>

#include "server/job/files.h"

struct pictor_files;

/* A file's place; empty texts: the checkpoint's own VAE. */
struct vaes_choice {
    char name[NAME_MAX + 1]; /* "vae-ft-mse.safetensors" */
    char path[PATH_MAX];
};

/* `choice` is what a request says: a name, with the folder and the ending or without; "none", the
 * checkpoint's own; NULL, "" or "automatic", the file that is called like the model with ".vae"
 * behind, if there is one. ERR_NOT_FOUND: there is no such VAE. `f` is of FOLDERS_VAE. */
bool vaes_choose(struct files *f, const char *model, const char *choice, struct vaes_choice *out,
                 struct err *err);

/* Which file it was, for whoever keeps models open. */
struct vaes_version {
    char name[NAME_MAX + 1]; /* "": the checkpoint's own */
    uint64_t size;
    int64_t mtime_ms;
};

/* Puts the file into the model's, in the place of the VAE that is there. */
bool vaes_add(const struct vaes_choice *choice, struct pictor_files *files,
              struct vaes_version *out, struct err *err);

#endif
