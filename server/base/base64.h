/* base64.h: pictures as text.
 *
 * Encoding is strict: standard alphabet, padded, one line. Decoding forgives what clients get
 * wrong: white space and other characters outside the alphabet are skipped, the URL-safe letters
 * are taken, missing padding is fine, and a "data:...;base64," prefix is dropped. */
#ifndef PICTOR_SERVER_BASE64_H
#define PICTOR_SERVER_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

size_t base64_encoded_size(size_t size); /* without the NUL; SIZE_MAX when it would overflow */

/* Writes base64_encoded_size(size) characters, no NUL; returns the end. */
char *base64_encode_to(char *out, const void *data, size_t size);

/* malloc'd, NUL-terminated; NULL only without memory. */
char *base64_encode(const void *data, size_t size);

/* *data is malloc'd (never NULL, also when *size is 0). ERR_INVALID for a single left-over
 * character, letters after the padding, or a data: URL that is not base64. */
bool base64_decode(const char *text, size_t text_size, uint8_t **data, size_t *size,
                   struct err *err);

#endif
