/* sdapi_ignored.h: what a request says without any effect here.
 *
 * A field that would change the picture and cannot be honoured is an error (sdapi_job.h). Some of
 * what SD WebUI's clients send they expect to be skipped where it is not known: names of styles,
 * VAEs and networks, fields and settings of extensions and of other servers. That is painted
 * without them, and the answer's "info" names them. Thread-safe; no state. */
#ifndef PICTOR_SERVER_SDAPI_IGNORED_H
#define PICTOR_SERVER_SDAPI_IGNORED_H

#include <stdbool.h>

#include "server/api/sdapi/sdapi_request.h"

struct app;
struct err;
struct intake_model;
struct job_params;

/* Adds to the job's notes (server/job/notes.h), of which sdapi_ignored says what the body has. */
bool sdapi_ignored_note(const struct intake_model *model, const struct sdapi_request *request,
                        struct job_params *params, struct err *err);

/* "style x, sd_vae y.safetensors, <lora:z:0.8>": UTF-8, malloc'd, "" when nothing was; of bounded
 * length. NULL only without memory. `body` is what `request` was parsed from, `params` what became
 * of it, `options` are the effective ones; `upstream`: what paints has none of our LoRAs. */
char *sdapi_ignored(const struct app *app, const struct sdapi_request *request,
                    const struct cJSON *body, const struct cJSON *options,
                    const struct job_params *params, bool upstream);

#endif
