/* dpm_solver.h: the DPM-Solvers that choose their own levels: DPM fast and DPM adaptive. */
#ifndef PICTOR_ENGINE_SAMPLE_DPM_SOLVER_H
#define PICTOR_ENGINE_SAMPLE_DPM_SOLVER_H

#include "engine/sample/sampler.h"

/* Spends exactly s->steps calls of the model; each of them is reported as a step. */
bool dpm_solver_fast(struct sampler_state *s, struct err *err);

/* As many calls as it takes; s->steps is only what the way is reported in. */
bool dpm_solver_adaptive(struct sampler_state *s, struct err *err);

#endif
