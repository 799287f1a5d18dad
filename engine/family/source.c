#include "engine/family/source.h"

void source_hide(const struct family_source *source, size_t pixels, float *out)
{
    float weight = (float)source->mask_weight;
    for (size_t i = 0; i < pixels; i++) {
        float kept = 1 - weight * (source->mask ? source->mask[i] : 1);
        for (size_t k = 0; k < 3; k++)
            out[3 * i + k] = source->picture ? kept * source->picture[3 * i + k] : 0;
    }
}
