/* backoff.h: how long to wait after the n-th failure in a row. */
#ifndef PICTOR_SERVER_BACKOFF_H
#define PICTOR_SERVER_BACKOFF_H

/* least, 2 least, 4 least ... up to `most`, for failures = 1, 2, 3 ...; 0 for none. */
static inline int backoff_ms(int failures, int least, int most)
{
    if (failures <= 0)
        return 0;
    int ms = least;
    while (--failures > 0 && ms < most)
        ms = ms > most / 2 ? most : 2 * ms;
    return ms < most ? ms : most;
}

#endif
