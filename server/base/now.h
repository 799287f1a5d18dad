/* now.h: the clocks, in milliseconds. */
#ifndef PICTOR_SERVER_NOW_H
#define PICTOR_SERVER_NOW_H

#include <stdint.h>
#include <time.h>

/* Of the monotonic clock: deadlines and spans, which a step of the wall clock must not touch. */
static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Of the clock that, unlike the monotonic one, goes on while the machine sleeps. */
static inline int64_t now_boot_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* Since 1970: what is kept and shown. */
static inline int64_t now_unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

#endif
