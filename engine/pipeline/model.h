/* model.h: an opened model as the pipeline sees it: the three networks and what goes with them.
 * Internal to the pipeline; programs use engine/pictor.h. */
#ifndef PICTOR_ENGINE_PIPELINE_MODEL_H
#define PICTOR_ENGINE_PIPELINE_MODEL_H

#include <stdatomic.h>

#include "engine/io/checkpoint.h"
#include "engine/model/clip.h"
#include "engine/model/unet.h"
#include "engine/model/vae.h"
#include "engine/pictor.h"
#include "engine/pipeline/conditioning.h"
#include "engine/sample/schedule.h"

struct pictor_engine {
    struct device *dev;
    struct tokenizer *tokenizer;
    size_t memory_limit;
    struct arena arena; /* of the job at work; its pages stay for the next of the same models */
    char description[64];
    atomic_bool cancel, interrupt;
};

#define MODEL_PREVIEW_ROWS 5 /* latent channels and a constant */

struct pictor_model {
    struct pictor_engine *engine; /* borrowed */
    struct checkpoint *cp;        /* stays open: token embeddings are read from it */
    struct sd1_arch arch;
    struct clip *clip;
    struct unet *unet;
    struct vae *vae;
    struct conditioning *conditioning;
    struct schedule schedule;
    struct pictor_model_info info;
    bool has_preview;
    float preview[MODEL_PREVIEW_ROWS][3]; /* latent to RGB in 0..1 */
};

#endif
