/* others.h: the models of a picture beside its own: one that paints the second pass, and one that
 * refines, that is, takes over towards the end of a pass. */
#ifndef PICTOR_ENGINE_PIPELINE_OTHERS_H
#define PICTOR_ENGINE_PIPELINE_OTHERS_H

#include "engine/pipeline/model.h"

/* Who begins a pass, 0 or 1, of a picture that `own` was asked for as `asked` says. */
struct pictor_model *others_painter(struct pictor_model *own, const struct pictor_params *asked,
                                    int pass);

/* Who takes over in a pass; NULL: nobody. `painted` is what is painted for `asked`. */
struct pictor_model *others_refiner(struct pictor_model *own, const struct pictor_params *asked,
                                    const struct pictor_params *painted, int pass);

/* Whether they can go on with each other's latents, and with what is asked for. */
bool others_check(struct pictor_model *own, const struct pictor_params *asked, struct err *err);

/* Bytes of the weights of all that paint; with `turns`, at most, when all others rest while one is
 * at work. */
size_t others_weights(struct pictor_model *own, const struct pictor_params *asked, bool turns);

/* Whether they can take turns so: there are several, and all can rest. */
bool others_take_turns(struct pictor_model *own, const struct pictor_params *asked);

/* From now on `m` is awake, and with `turns` alone is. */
bool others_wake(struct pictor_model *own, const struct pictor_params *asked, bool turns,
                 struct pictor_model *m, struct err *err);

#endif
