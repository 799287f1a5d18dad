/* now.h: the clocks, in milliseconds. */
#ifndef PICTOR_SERVER_NOW_H
#define PICTOR_SERVER_NOW_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Of the monotonic clock: deadlines and spans, which a step of the wall clock must not touch. */
static inline int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* A condition variable whose timed waits end by that clock. */
static inline void now_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
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
