/* euler.h: the samplers that walk straight lines: Euler, Euler a, DDIM, theirs with
 * CFG++, Heun, Restart and LCM. */
#ifndef PICTOR_ENGINE_SAMPLE_EULER_H
#define PICTOR_ENGINE_SAMPLE_EULER_H

#include "engine/sample/sampler.h"

bool euler_ancestral(struct sampler_state *s, struct err *err); /* eta 0: Euler; also DDIM */
bool euler_cfg_pp(struct sampler_state *s, struct err *err);
bool euler_heun(struct sampler_state *s, struct err *err); /* also Restart, by its plan */
bool euler_lcm(struct sampler_state *s, struct err *err);

#endif
