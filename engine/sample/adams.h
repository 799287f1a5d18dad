/* adams.h: the samplers that extrapolate the slope from those of the last steps with fixed weights
 * or in log sigma: PLMS, IPNDM and DEIS. */
#ifndef PICTOR_ENGINE_SAMPLE_ADAMS_H
#define PICTOR_ENGINE_SAMPLE_ADAMS_H

#include "engine/sample/sampler.h"

bool adams_plms(struct sampler_state *s, struct err *err);
bool adams_ipndm(struct sampler_state *s, struct err *err);
bool adams_deis(struct sampler_state *s, struct err *err);

#endif
