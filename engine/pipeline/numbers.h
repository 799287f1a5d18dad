/* numbers.h: what networks answer, before it is a picture. */
#ifndef PICTOR_ENGINE_PIPELINE_NUMBERS_H
#define PICTOR_ENGINE_PIPELINE_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

/* One number of a model's that is none is in all others a step later: what would come out is a
 * black picture. `network` is named in the error. */
bool numbers_check(const float *numbers, size_t n, const char *network, struct err *err);

/* -1..1 as 0..255 by cutting off, as the SD WebUI does; what is no number is 0. */
void numbers_to_bytes(const float *numbers, size_t n, uint8_t *out);

#endif
