/* styles.h: named pieces of prompts in a file as the SD WebUI has it: CSV whose first line names
 * the columns `name`, `prompt` and `negative_prompt`. Thread-safe; no state: the file is read each
 * time. */
#ifndef PICTOR_SERVER_STYLES_H
#define PICTOR_SERVER_STYLES_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define STYLES_BYTES (1 << 20) /* of the file */

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

/* A style's piece and a prompt: in place of "{prompt}" in it, or behind the prompt and a comma.
 * Owned; ERR_TOO_LARGE above `limit` bytes. */
char *styles_merge(const char *piece, const char *prompt, size_t limit, struct err *err);

#endif
