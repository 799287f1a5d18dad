/* utf8.h: text between UTF-8 and code points. Anything malformed becomes U+FFFD. */
#ifndef PICTOR_ENGINE_IO_UTF8_H
#define PICTOR_ENGINE_IO_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define UTF8_MAX 4 /* bytes a code point takes at most */
#define UTF8_REPLACEMENT 0xFFFD

/* The code point at *s, which is moved past it; 0 at the terminating zero, which is not passed.
 * A malformed sequence gives UTF8_REPLACEMENT and moves one byte. */
uint32_t utf8_next(const char **s);

/* Writes a code point (surrogates and values past U+10FFFF as UTF8_REPLACEMENT), at most UTF8_MAX
 * bytes, without a terminating zero. Returns the end of what was written. */
char *utf8_put(char *out, uint32_t code_point);

#endif
