/* steady.h: whether the wall clock is one to remove things by. One that jumped may jump back: it is
 * believed again when it has gone as steadily as the machine's own clock for a day. */
#ifndef PICTOR_SERVER_STEADY_H
#define PICTOR_SERVER_STEADY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define STEADY_JUMP_MS (INT64_C(60) * 60 * 1000) /* corrections of a clock are smaller */
#define STEADY_DAY_MS (24 * STEADY_JUMP_MS)

/* Zero-initialised: the first clock that is seen is believed. */
struct steady {
    bool seen;
    int64_t offset; /* of the wall clock to the machine's */
    int64_t since;  /* when the machine's clock said that it was steady again */
};

/* `boot` is the clock that no one sets and that goes on while the machine sleeps. *jumped (may be
 * NULL): it has, since it was asked last. */
static inline bool steady_believes(struct steady *s, int64_t unix_ms, int64_t boot_ms, bool *jumped)
{
    int64_t offset = unix_ms - boot_ms;
    bool jump = s->seen && llabs(offset - s->offset) > STEADY_JUMP_MS;
    if (jump)
        s->since = boot_ms;
    else if (!s->seen)
        s->since = boot_ms - STEADY_DAY_MS;
    s->seen = true;
    s->offset = offset;
    if (jumped)
        *jumped = jump;
    return boot_ms - s->since >= STEADY_DAY_MS;
}

#endif
