/* flow.h: what the families of flow transformers have in common beside their networks. No state. */
#ifndef PICTOR_ENGINE_FAMILY_FLOW_H
#define PICTOR_ENGINE_FAMILY_FLOW_H

#include "engine/family/family.h"
#include "engine/model/weights.h"

#define FLOW_MULTIPLE 16 /* of sides */

/* As struct family's `fit`: programs ask for sides in steps of 8, as of Stable Diffusion, or have
 * them from a picture. What is painted is a little smaller then, and stretched. */
bool flow_fit(const struct family_model *m, const struct pictor_params *asked,
              struct family_fitted *fitted);

/* As struct family's `wake`; on failure they rest. */
bool flow_wake(struct weights *weights, struct device *dev, const struct checkpoint *cp,
               struct err *err);

/* Whether a file's name or title has `word` (lower case) in it; a folder's has not. */
bool flow_is_called(const struct checkpoint *cp, const char *word);

/* A family's call once more, of `size` bytes, to be freed with free(). */
struct family_call *flow_copy(const struct family_call *call, size_t size, struct err *err);

/* The bytes of the tensors whose names begin so were read and are not needed for now. */
void flow_release(const struct checkpoint *cp, const char *prefix);

#endif
