/* splitmix.h: splitmix64 (Steele, Lea and Flood 2014). What seeds mean hangs on it: it stays as it
 * is. */
#ifndef PICTOR_SERVER_SPLITMIX_H
#define PICTOR_SERVER_SPLITMIX_H

#include <stdint.h>

static inline uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
