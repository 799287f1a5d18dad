/* rate.h: how many requests each of some names may make in a minute. Thread-safe. */
#ifndef PICTOR_SERVER_RATE_H
#define PICTOR_SERVER_RATE_H

#include <stdint.h>

#include "engine/base/err.h"

struct rate;

/* `per_minute` at once, and then one whenever its share of a minute has passed. Of very many names,
 * those beyond the first few thousand of the last minute share one count. */
struct rate *rate_new(int per_minute, struct err *err);
void rate_free(struct rate *r); /* NULL is fine */

/* Counts a request of `name` (a key, an address) at `now` (milliseconds of any steady clock) and
 * returns 0; or does not and returns the milliseconds until the next one may come. */
int64_t rate_take(struct rate *r, const char *name, int64_t now);

/* What rate_take would return, without counting anything. */
int64_t rate_wait(struct rate *r, const char *name, int64_t now);

/* How many requests of `name` could come at once, and in how many milliseconds it could be all
 * of them again. */
void rate_left(struct rate *r, const char *name, int64_t now, int *requests, int64_t *full_ms);

#endif
