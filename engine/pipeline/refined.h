/* refined.h: two models as one denoiser: the second takes over where enough of the noise is gone,
 * and keeps on to the end of the pass (the SD WebUI's refiner; Podell et al. 2023, section 2.5, has
 * the idea). */
#ifndef PICTOR_ENGINE_PIPELINE_REFINED_H
#define PICTOR_ENGINE_PIPELINE_REFINED_H

#include "engine/pipeline/guided.h"

struct refined {
    struct guided *first, *second; /* borrowed, both new */
    double at;                     /* 0..1: of the trained times, the share that is behind; or, */
    bool by_steps;                 /* with this, of the first's `calls` */
    bool switched;                 /* the second has taken over */
    bool (*before)(void *ctx, struct err *err); /* called before it does; may be NULL */
    void *ctx;
};

/* Borrows r. */
struct denoiser refined_denoiser(struct refined *r);

#endif
