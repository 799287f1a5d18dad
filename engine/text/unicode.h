/* unicode.h: what prompts need to know about characters. The one user of libutf8proc. */
#ifndef PICTOR_ENGINE_TEXT_UNICODE_H
#define PICTOR_ENGINE_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

enum unicode_class {
    UNICODE_OTHER,
    UNICODE_LETTER, /* categories L* */
    UNICODE_NUMBER, /* categories N* */
    UNICODE_SPACE   /* White_Space */
};

/* Reads one character from `len` > 0 bytes of UTF-8; returns how many bytes it takes. A byte that
 * is not UTF-8 counts as one character, -1. */
size_t unicode_next(const char *text, size_t len, int *character);

enum unicode_class unicode_class(int character);

/* A letter, a number or an underscore: what \w means to Python. */
bool unicode_is_word(int character);

/* Where the white space that begins at `at` ends. */
const char *unicode_skip_space(const char *at, const char *end);

/* The text as CLIP's vocabulary was made for: control characters gone, curly quotes straight,
 * full-width forms and Latin ligatures taken apart, NFC, lower case. Returns owned, terminated;
 * ERR_INVALID for what is not UTF-8. */
char *unicode_clean(const char *text, size_t len, size_t *out_len, struct err *err);

/* The text in normal form C. Returns owned; ERR_INVALID for what is not UTF-8. */
char *unicode_compose(const char *text, size_t len, size_t *out_len, struct err *err);

/* Whether the text from `at` to `end` begins with `word`, in ASCII, and no letter, digit or
 * underscore follows. */
bool unicode_begins_word(const char *at, const char *end, const char *word);

#endif
