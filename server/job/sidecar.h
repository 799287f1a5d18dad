/* sidecar.h: what lies beside a model file and tells people about it: NAME.json (A1111's card),
 * NAME.civitai.info (CivitAI's description of the version), NAME.preview.png and the like.
 *
 * They are strangers' files: bounded, and what is broken is left out. No state. */
#ifndef PICTOR_SERVER_SIDECAR_H
#define PICTOR_SERVER_SIDECAR_H

#include <limits.h>
#include <stdbool.h>

struct sidecar {
    char trigger[512];      /* words that it wants in prompts, or "" */
    char description[1024]; /* plain text, cut */
    char base[64];          /* "SD 1.5", as it stands there */
    double weight;          /* preferred; 0: not said */
    char preview[PATH_MAX]; /* of a picture, or "" */
};

/* Where a file of this ending beside it would be; false: its path is too long. */
bool sidecar_beside(const char *path, const char *ending, char out[PATH_MAX]);

/* `path`: of the model file or folder. Whether there is anything. */
bool sidecar_read(const char *path, struct sidecar *out);

#endif
