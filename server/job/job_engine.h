/* job_engine.h: a job's request in the engine's words. */
#ifndef PICTOR_SERVER_JOB_ENGINE_H
#define PICTOR_SERVER_JOB_ENGINE_H

#include "engine/pictor.h"
#include "server/job/job.h"

/* Picture `index` of the job, with the seeds of job_seed. What the job leaves open has the engine's
 * default; init, mask and callbacks are left empty. `out` borrows the job's strings. */
void job_engine_params(const struct job_params *job, int index, struct pictor_params *out);

#endif
