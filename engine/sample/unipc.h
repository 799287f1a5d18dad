/* unipc.h: UniPC, a predictor and a corrector of up to third order. */
#ifndef PICTOR_ENGINE_SAMPLE_UNIPC_H
#define PICTOR_ENGINE_SAMPLE_UNIPC_H

#include "engine/sample/sampler.h"

bool unipc_loop(struct sampler_state *s, struct err *err);

#endif
