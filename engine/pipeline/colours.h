/* colours.h: a painted picture takes over the colours of the one that it was begun from, as the SD
 * WebUI's option img2img_color_correction: the histograms of its L*a*b* channels become the other
 * one's, and each pixel keeps the luminosity that it was painted with. No state; any thread. */
#ifndef PICTOR_ENGINE_PIPELINE_COLOURS_H
#define PICTOR_ENGINE_PIPELINE_COLOURS_H

#include "engine/pictor.h"

/* Both are RGB, of any sizes. In place. */
void colours_match(const struct pictor_image *like, struct pictor_image *image);

#endif
