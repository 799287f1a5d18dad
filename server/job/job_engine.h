/* job_engine.h: a job's request, and settings, in the engine's words. */
#ifndef PICTOR_SERVER_JOB_ENGINE_H
#define PICTOR_SERVER_JOB_ENGINE_H

#include "engine/pictor.h"
#include "server/job/job.h"

/* Picture `index` of the job, with the seeds of job_seed. What the job leaves open has the engine's
 * default; init, mask and callbacks are left empty. `out` borrows the job's strings. */
void job_engine_params(const struct job_params *job, int index, struct pictor_params *out);

/* The engine that these settings ask for: `cpu` "auto" or "" is the best that the CPU has, threads
 * and memory_limit (bytes) 0 are the engine's own choice. `out` borrows `cpu`. */
void job_engine_options(int threads, const char *cpu, const char *precision, size_t memory_limit,
                        struct pictor_engine_options *out);

/* What of this the table says: each field to its place in `engine`, but for empty texts. */
void job_engine_copy(const struct job_table *table, const void *job, void *engine);

#endif
