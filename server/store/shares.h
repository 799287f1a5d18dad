/* shares.h: how much a key has used lately, as one number by which keys are compared at any time.
 *
 * What is used (milliseconds of painting, divided by the key's weight) counts half after each
 * SHARES_HALF_MS, so that whoever has painted all night does not wait for long for somebody who has
 * just come. All of it shrinks alike, so nothing need be written for that: the sum is kept as if
 * later use counted more, by 2^(time / half-life), and of that the binary logarithm, in billionths.
 * The least of two such numbers has used less, now and later on. 0: nothing was ever used. */
#ifndef PICTOR_SERVER_SHARES_H
#define PICTOR_SERVER_SHARES_H

#include <stdint.h>

#define SHARES_HALF_MS 900000 /* migrations/postgresql/0002_shares.sql has it, too */

/* What is left at `at_ms` (Unix milliseconds) of what was used, in milliseconds. */
double shares_left(int64_t used, int64_t at_ms);
/* After `ms` more at that time; below 0: less. */
int64_t shares_used(int64_t used, double ms, int64_t at_ms);

#endif
