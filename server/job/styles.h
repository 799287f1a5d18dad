/* styles.h: named pieces of prompts in a file as the SD WebUI has it: CSV whose first line names
 * the columns `name`, `prompt` and `negative_prompt`. Thread-safe; no state: the file is read each
 * time. */
#ifndef PICTOR_SERVER_STYLES_H
#define PICTOR_SERVER_STYLES_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define STYLES_BYTES (1 << 20) /* of the file */
#define STYLES_MOST 64         /* of a request */
#define STYLES_NAME 200        /* bytes of a name */

struct styles {
    struct style {
        const char *name, *prompt, *negative; /* in `text` */
    } * at;
    size_t count;
    char *text;
};

/* A file that is not there has none. ERR_UNAVAILABLE: it cannot be read, or is too large;
 * ERR_INVALID: its first line is not one of such a file. */
bool styles_read(const char *path, struct styles *out, struct err *err);
void styles_free(struct styles *s); /* frees what is inside, zeroes the struct */

/* NULL: there is none of the name. */
const struct style *styles_find(const struct styles *s, const char *name);

/* Writes a style into the file, in place of one of the name or behind the others, and makes the
 * file where there is none. Other lines and columns stay as they are. Safe beside others of this
 * machine that do so, too; who reads meanwhile finds the file before or after. ERR_INVALID: a name
 * that is empty or cannot stand in such a file; ERR_TOO_LARGE. */
bool styles_put(const char *path, const struct style *style, struct err *err);

/* ERR_NOT_FOUND: there is none of the name. */
bool styles_remove(const char *path, const char *name, struct err *err);

/* A style's piece and a prompt: in place of "{prompt}" in it, or behind the prompt and a comma.
 * Owned; ERR_TOO_LARGE above `limit` bytes. */
char *styles_merge(const char *piece, const char *prompt, size_t limit, struct err *err);

/* Both pieces of a style, in place of *prompt and *negative, which are malloc'd. */
bool styles_add(const struct style *style, size_t limit, char **prompt, char **negative,
                struct err *err);

struct cJSON;
struct job_params;
struct settings;

/* What a request says of its prompts besides: a list of names of styles (NULL and null: none), all
 * of which have to be there, and whether what stands behind a '#' is a comment. Of the prompts of
 * both passes. ERR_INVALID for the list, which begins with "styles"; as styles_read. */
bool styles_prompts(const struct settings *settings, const struct cJSON *names, bool comments,
                    struct job_params *p, struct err *err);

#endif
