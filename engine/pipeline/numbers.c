#include "engine/pipeline/numbers.h"

#include <math.h>

bool numbers_check(const float *numbers, size_t n, const char *network, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return err_set(err, ERR_INVALID,
                           "the model's %s made numbers that are none (NaN or infinite): its "
                           "weights are broken",
                           network);
    return true;
}

void numbers_to_bytes(const float *numbers, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float v = (numbers[i] + 1) * 127.5f;
        out[i] = (uint8_t)(v > 0 ? v < 255 ? v : 255 : 0);
    }
}
