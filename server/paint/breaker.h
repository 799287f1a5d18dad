/* breaker.h: leaves a server alone that fails again and again.
 *
 *     closed --5 failures in a row--> open --pause--> half-open --success--> closed
 *                                      ^----------------------failure--'
 *
 * Half-open lets one request through. Times are milliseconds of any clock that does not go back.
 * Not thread-safe. */
#ifndef PICTOR_SERVER_BREAKER_H
#define PICTOR_SERVER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 5
#define BREAKER_PAUSE_MS 10000

struct breaker {  /* zero: closed */
    int failures; /* in a row */
    int64_t open_until;
    bool probing;
};

/* What breaker_allows would say. */
static inline bool breaker_would_allow(const struct breaker *b, int64_t now)
{
    return b->failures < BREAKER_FAILURES || (!b->probing && now >= b->open_until);
}

/* Whether a request may be made now; if it may, breaker_success or breaker_failure must follow, or
 * breaker_unknown when nothing was learned (cancelled). */
static inline bool breaker_allows(struct breaker *b, int64_t now)
{
    if (!breaker_would_allow(b, now))
        return false;
    b->probing = b->failures >= BREAKER_FAILURES;
    return true;
}

static inline void breaker_success(struct breaker *b)
{
    *b = (struct breaker){0};
}

static inline void breaker_failure(struct breaker *b, int64_t now)
{
    b->failures++;
    b->probing = false;
    if (b->failures >= BREAKER_FAILURES)
        b->open_until = now + BREAKER_PAUSE_MS;
}

static inline void breaker_unknown(struct breaker *b)
{
    b->probing = false;
}

#endif
