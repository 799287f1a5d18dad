#include "server/store/shares.h"

#include <math.h>

#define UNIT 1e9
#define FARTHEST 9e18 /* of clocks that are wrong: it still fits */
/* Of 2^x: what is left of very long ago, and of a clock that was far ahead. */
#define LEAST -40.0
#define MOST 60.0
#define NOTHING 1e-12 /* milliseconds, about 2^LEAST: it has a logarithm */

double shares_left(int64_t used, int64_t at_ms)
{
    double x = (double)used / UNIT - (double)at_ms / SHARES_HALF_MS;
    return exp2(fmin(fmax(x, LEAST), MOST));
}

int64_t shares_used(int64_t used, double ms, int64_t at_ms)
{
    double sum = fmax(shares_left(used, at_ms) + ms, NOTHING);
    double used_log = ((double)at_ms / SHARES_HALF_MS + log2(sum)) * UNIT;
    return llround(fmin(fmax(used_log, -FARTHEST), FARTHEST));
}
