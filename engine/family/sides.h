/* sides.h: sides of pictures for the families whose own are multiples of more pixels than may be
 * asked for. No state. */
#ifndef PICTOR_ENGINE_FAMILY_SIDES_H
#define PICTOR_ENGINE_FAMILY_SIDES_H

#include "engine/family/family.h"

/* As struct family's `fit`: programs ask for sides in steps of 8, as of Stable Diffusion, or have
 * them from a picture. What is painted is a little smaller then, and stretched. */
bool sides_fit(int multiple, const struct pictor_params *asked, struct family_fitted *fitted);

#endif
