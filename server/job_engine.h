/* job_engine.h: a job's request in the engine's words. */
#ifndef PICTOR_SERVER_JOB_ENGINE_H
#define PICTOR_SERVER_JOB_ENGINE_H

#include "engine/pictor.h"
#include "server/job.h"

/* Picture `index` of the job: its seed is seed + index, or with a variation the subseed moves.
 * Init, mask and callbacks are left empty. `out` borrows the job's strings. */
void job_engine_params(const struct job_params *job, int index, struct pictor_params *out);

/* The seeds of that picture, for its infotext and its row. */
void job_engine_seeds(const struct job_params *job, int index, uint64_t *seed, uint64_t *subseed);

#endif
