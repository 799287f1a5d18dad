/* upscalers.h: what pictures can be enlarged by: the ways that the engine knows by name, and
 * networks in files (server/job/files.h, FOLDERS_UPSCALER). */
#ifndef PICTOR_SERVER_UPSCALERS_H
#define PICTOR_SERVER_UPSCALERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

struct files;
struct job_params;

/* The names that no file has, by index, NULL past the end; those of latents begin with "Latent".
 * engine/pipeline/upscaler.c knows them by these names. */
const char *upscalers_known(int index);

/* The one that this is in any case, as upscalers_known has it; NULL: none. */
const char *upscalers_canonical(const char *name);

#define UPSCALERS_NAME 200

/* A network in a file, open to be read. */
struct upscaler_file {
    char name[UPSCALERS_NAME]; /* "": none */
    int fd;
    uint64_t size;
    int64_t mtime_ms;
};

/* Opens the file that has this name; none if it is a known one. ERR_NOT_FOUND. */
bool upscalers_open(struct files *f, const char *name, struct upscaler_file *out, struct err *err);
void upscalers_close(struct upscaler_file *file); /* zeroed is fine */

/* What a job's second pass wants, if it has one. */
bool upscalers_open_job(struct files *f, const struct job_params *job, struct upscaler_file *out,
                        struct err *err);

/* Whether there is one of this name; ERR_INVALID says what there is instead. */
bool upscalers_check(struct files *f, const char *name, struct err *err);

/* Whether there is one for pictures, which latents' are not. *own (may be NULL) is the name as
 * upscalers_known has it, or NULL: a file's. */
bool upscalers_check_pictures(struct files *f, const char *name, const char **own,
                              struct err *err);

#endif
