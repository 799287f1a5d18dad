/* ids.h: names that cannot be guessed and are safe as file names: lower-case hex digits. */
#ifndef PICTOR_SERVER_IDS_H
#define PICTOR_SERVER_IDS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define IDS_DIGITS_MAX 64

/* Writes `digits` (even, 2..64) random hex digits and a NUL. */
bool ids_random(char *out, size_t digits, struct err *err);

/* Whether it is exactly a job's or picture's id: 32 hex digits. NULL is not. */
bool ids_valid(const char *text);
/* Whether it is a SHA-256 as this program writes it: 64 hex digits. NULL is not. */
bool ids_sha256(const char *text);

#endif
