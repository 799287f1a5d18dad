/* upstream_sdapi.h: a job as a request of the SD WebUI's API (A1111, Forge, SD.Next, koboldcpp,
 * sd-server), its answer, and how far it is.
 *
 * Seeds, steps, samplers and masks mean there what they mean here, so all of a job is sent that the
 * API has a field for; what the client left out is left to the server. One picture a request: not
 * all of these servers paint several, and a grid would come before them. */
#ifndef PICTOR_SERVER_UPSTREAM_SDAPI_H
#define PICTOR_SERVER_UPSTREAM_SDAPI_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;
struct job_params;
struct job_progress;
struct upstream_request;

#define UPSTREAM_SDAPI_KIND "sdapi"
#define UPSTREAM_SDAPI_MODELS "/sdapi/v1/sd-models"
#define UPSTREAM_SDAPI_INTERRUPT "/sdapi/v1/interrupt"
#define UPSTREAM_SDAPI_PROGRESS "/sdapi/v1/progress?skip_current_image=false"

/* For picture `index`, of checkpoint `model`. init and mask are encoded files, size 0: none; they
 * are sent as they are. Frees with upstream_request_free. */
bool upstream_sdapi_make(struct upstream_request *r, const struct job_params *p, int index,
                         const char *model, const void *init, size_t init_size, const void *mask,
                         size_t mask_size, struct err *err);

/* The answer {"images": [...]} as one of OpenAI's API. Takes `answer`, which may be NULL; owned. */
struct cJSON *upstream_sdapi_answer(struct cJSON *answer);

/* What the server says of the picture that it paints. *preview is the base64 of it so far, borrowed
 * from `answer`, or NULL. False: it paints none, or does not say. */
bool upstream_sdapi_progress(const struct cJSON *answer, struct job_progress *progress,
                             const char **preview);

#endif
