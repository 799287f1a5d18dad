/* guides.h: the pictures that ControlNets lead by, as a family takes them. */
#ifndef PICTOR_ENGINE_PIPELINE_GUIDES_H
#define PICTOR_ENGINE_PIPELINE_GUIDES_H

#include "engine/family/family.h"
#include "engine/pipeline/canvas.h"

struct guides {
    const float *at[PICTOR_CONTROLS_MAX]; /* [height, width, 3] in 0..1, or -1, in the arena */
    const float *regions[PICTOR_CONTROLS_MAX]; /* [height / factor, width / factor], or NULL */
};

/* Of each of the params' controls, fitted to width x height pixels, of which a latent pixel has
 * `factor` a side; where the mask's surroundings alone are painted, cut out as they are. */
bool guides_new(struct guides *g, struct ops *o, const struct pictor_params *p,
                const struct canvas *canvas, int width, int height, int factor, struct err *err);

/* Whether there is one for each of the model's ControlNets, and each is within range. */
bool guides_check(const struct pictor_params *p, size_t nets, struct err *err);

#endif
