/* compose.h: the policy of a model that cannot compose large pictures and would repeat its subject
 * on them, but was taught to paint details over an enlarged one: the built-in model. */
#ifndef PICTOR_ENGINE_FAMILY_COMPOSE_H
#define PICTOR_ENGINE_FAMILY_COMPOSE_H

#include "engine/family/family.h"

/* A picture of words alone on a canvas that is clearly wider than high, or higher than wide, is
 * composed on a square, which is what such a network was taught, as large as fits into the canvas
 * and no larger than `side` x `side`; then the canvas around it is painted from its edges. Else,
 * from twice the pixels of `side` x `side` on, pictures are composed at that size, in the shape
 * asked for; then enlarged and painted over for details, at strength `detail`, up to the model's
 * native size; a second pass that was asked for says no more than the size. Painting over a picture
 * at a strength that leaves its composition begins with the details. What comes out is enlarged to
 * what was asked for by the network inside the binary. False: `asked` is small enough. */
bool compose_fit(const struct family_facts *facts, int side, double detail,
                 const struct pictor_params *asked, struct family_fitted *fitted);

#endif
