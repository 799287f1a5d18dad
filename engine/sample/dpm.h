/* dpm.h: the DPM-Solver family: DPM2, DPM2 a, DPM++ 2M and DPM++ 2S a. */
#ifndef PICTOR_ENGINE_SAMPLE_DPM_H
#define PICTOR_ENGINE_SAMPLE_DPM_H

#include "engine/sample/sampler.h"

bool dpm_2(struct sampler_state *s, struct err *err); /* DPM2; with eta DPM2 a */
bool dpm_pp_2m(struct sampler_state *s, struct err *err);
bool dpm_pp_2s_ancestral(struct sampler_state *s, struct err *err);

#endif
