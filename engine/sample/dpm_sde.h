/* dpm_sde.h: the stochastic half of the DPM++ family: DPM++ SDE, 2M SDE, 2M SDE Heun and 3M SDE. */
#ifndef PICTOR_ENGINE_SAMPLE_DPM_SDE_H
#define PICTOR_ENGINE_SAMPLE_DPM_SDE_H

#include "engine/sample/sampler.h"

bool dpm_sde_single(struct sampler_state *s, struct err *err);
bool dpm_sde_2m(struct sampler_state *s, struct err *err);
bool dpm_sde_2m_heun(struct sampler_state *s, struct err *err);
bool dpm_sde_3m(struct sampler_state *s, struct err *err);

#endif
