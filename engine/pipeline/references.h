/* references.h: pictures that a network is shown beside what it paints. No state. */
#ifndef PICTOR_ENGINE_PIPELINE_REFERENCES_H
#define PICTOR_ENGINE_PIPELINE_REFERENCES_H

#include "engine/family/family.h"

#define REFERENCES_MOST 10

struct references {
    struct family_reference at[REFERENCES_MOST];
    size_t count;
};

/* Whether the params' pictures can be shown to a model; ERR_INVALID. */
bool references_check(const struct family_facts *facts, const struct pictor_params *p,
                      struct err *err);

/* Their latents, in the arena: each picture as large as it is, but with no more pixels than
 * 1024x1024, cut about its middle to whole latent pixels. */
bool references_new(struct references *r, struct ops *o, const struct family_model *m,
                    const struct pictor_params *p, struct err *err);

#endif
