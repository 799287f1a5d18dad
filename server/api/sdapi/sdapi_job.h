/* sdapi_job.h: a txt2img or img2img request as a job.
 *
 * What pictor cannot do and what would change the picture is refused, in the words SD WebUI uses
 * where it has some; what changes nothing is ignored. No I/O; thread-safe. */
#ifndef PICTOR_SERVER_SDAPI_JOB_H
#define PICTOR_SERVER_SDAPI_JOB_H

#include <stdbool.h>

#include "server/api/sdapi/sdapi_request.h"
#include "server/job/job.h"

struct settings;

/* Paints in place of a sampler that is not known, as in the WebUI since 1.10; sdapi_ignored.h names
 * it. An unknown scheduler is the sampler's own. */
#define SDAPI_JOB_SAMPLER "DPM++ 2M"

/* Why a request cannot be a job. */
struct sdapi_fault {
    int status;        /* 400, 422, 500 */
    const char *param; /* the request's field, or NULL */
    const char *crash; /* the exception's name when the WebUI would fail with 500, else NULL */
    char message[256];
};

/* `options` are the effective ones (sdapi_options.h). Everything is checked against `settings`; a
 * random seed is drawn. `out` (job_params_free) is empty on failure; has_init and has_mask say what
 * pictures the request brings. */
bool sdapi_job_make(const struct sdapi_request *request, const struct cJSON *options,
                    const char *model, const struct settings *settings, struct job_params *out,
                    struct sdapi_fault *fault);

#endif
