/* lms.h: LMS, the linear multistep sampler. */
#ifndef PICTOR_ENGINE_SAMPLE_LMS_H
#define PICTOR_ENGINE_SAMPLE_LMS_H

#include "engine/sample/sampler.h"

bool lms_loop(struct sampler_state *s, struct err *err);

#endif
