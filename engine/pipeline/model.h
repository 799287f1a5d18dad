/* model.h: an engine and an opened model as the pipeline sees them.
 * Internal to the pipeline; programs use engine/pictor.h. */
#ifndef PICTOR_ENGINE_PIPELINE_MODEL_H
#define PICTOR_ENGINE_PIPELINE_MODEL_H

#include <stdatomic.h>

#include "engine/family/family.h"
#include "engine/pipeline/preview.h"

struct pictor_engine {
    struct device *dev;
    size_t memory_limit;
    struct arena arena; /* of the picture at work; its pages stay for the next of one size */
    char description[64];
    atomic_bool cancel, interrupt;
    struct pictor_upscaler *upscaler; /* the one inside the binary, once it was asked for */
};

struct pictor_model {
    struct pictor_engine *engine; /* borrowed */
    struct checkpoint *cp;        /* stays open: a family may read from it */
    struct family_model *family;
    struct preview preview;
    bool tiny;            /* previews are decoded by the family's `preview` */
    size_t control_count; /* of its ControlNets */
    bool resting;
};

/* Around a picture: from the first on its engine may be asked to stop it, which every operation
 * heeds. The second returns `ok`, or ERR_CANCELLED if it was: then what was painted, and what is
 * said to be wrong with it, comes of numbers that were not computed, and is freed. */
void model_begin(struct pictor_engine *e);
bool model_end(struct pictor_engine *e, bool ok, struct pictor_image *painted, struct err *err);

/* Awake again, if it rests. ERR_TOO_LARGE. */
bool model_wake(struct pictor_model *m, struct err *err);

#endif
