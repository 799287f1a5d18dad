/* descriptors.h: how many descriptors this process may have, and whether they are enough.
 *
 * Connections of strangers come from the same account as the files of accepted jobs; so their
 * number is held against it before the first of them comes, and accepting one never fails for want
 * of descriptors. */
#ifndef PICTOR_SERVER_DESCRIPTORS_H
#define PICTOR_SERVER_DESCRIPTORS_H

#include <stdbool.h>

#include "engine/base/err.h"

struct settings;

/* What is kept for all that is no connection, without what is open already. */
int descriptors_reserved(const struct settings *s);

/* Raises the limit as far as this process may. ERR_INVALID, with the numbers, when max_connections
 * and the rest do not fit below it. At the start, before anything is opened. */
bool descriptors_check(const struct settings *s, struct err *err);

#endif
