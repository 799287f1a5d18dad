/* prompt.h: the attention syntax of SD WebUI prompts: (x:1.2) (x) [x] BREAK and backslash escapes.
 *
 * Text that is not quite syntax is text: nothing a person types is an error but brackets nested
 * deeper than PROMPT_DEPTH, more than PROMPT_BYTES of it, and weights that no float holds. */
#ifndef PICTOR_ENGINE_TEXT_PROMPT_H
#define PICTOR_ENGINE_TEXT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define PROMPT_DEPTH 64
#define PROMPT_BYTES 131072 /* 32,000 characters, which OpenAI's API allows, of up to 4 bytes */

struct prompt_part {
    const char *text; /* `len` bytes, not terminated, escapes resolved */
    size_t len;
    double weight;
    bool is_break; /* a BREAK; text and weight mean nothing then */
};

struct prompt {
    struct prompt_part *parts; /* at least one; neighbours of equal weight are merged */
    size_t count;
    char *text; /* what the parts point into */
};

/* Reads `text`, which is UTF-8 and not needed afterwards. Linear time. */
bool prompt_parse(const char *text, struct prompt *out, struct err *err);
/* One part of weight 1: a text in which nothing is syntax. */
bool prompt_literal(const char *text, struct prompt *out, struct err *err);
void prompt_free(struct prompt *prompt); /* frees what is inside, zeroes the struct */

#endif
