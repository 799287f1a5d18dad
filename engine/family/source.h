/* source.h: what networks that are shown what they paint over see of it. No state. */
#ifndef PICTOR_ENGINE_FAMILY_SOURCE_H
#define PICTOR_ENGINE_FAMILY_SOURCE_H

#include "engine/family/family.h"

/* What of the source a network may see: what a mask hides is grey, as is a picture that is not
 * there. out [pixels, 3], of pictures' pixels. */
void source_hide(const struct family_source *source, size_t pixels, float *out);

#endif
