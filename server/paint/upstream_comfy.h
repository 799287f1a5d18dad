/* upstream_comfy.h: a job as a run of a workflow of ComfyUI's.
 *
 * The workflow is the operator's file, as ComfyUI saves it for its API: nodes by number, each with
 * class_type and inputs. Texts in it name what comes from the job: "%prompt%", "%seed%", "%width%"
 * and so on become the value, as a number where that is all of the text; "%steps:30%" says what is
 * meant when the job does not. "%init_image%" and "%mask%" are pictures, which are uploaded first.
 * No state. */
#ifndef PICTOR_SERVER_UPSTREAM_COMFY_H
#define PICTOR_SERVER_UPSTREAM_COMFY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct cJSON;
struct job_params;

#define UPSTREAM_COMFY_KIND "comfyui"
#define UPSTREAM_COMFY_MODELS "/models/checkpoints"
#define UPSTREAM_COMFY_UPLOAD "/upload/image"
#define UPSTREAM_COMFY_NAME 300 /* bytes of a picture's name there */

/* Reads the file and checks that it is a workflow; owned. NULL: `err` says why. */
struct cJSON *upstream_comfy_read(const char *path, struct err *err);

/* Whether a placeholder of this name is in it. */
bool upstream_comfy_wants(const struct cJSON *workflow, const char *name);

/* Whether it has a place for all that the job brings, and the job all that it needs. */
bool upstream_comfy_fits(const struct cJSON *workflow, const struct job_params *p, const char *name,
                         struct err *err);

/* The body of POST /prompt for picture `index`; owned. init and mask: what the uploaded ones are
 * called; client: who is told of the run. NULL without memory. */
char *upstream_comfy_order(const struct cJSON *workflow, const struct job_params *p, int index,
                           const char *model, const char *init, const char *mask,
                           const char *client);

/* Where a run is, by an answer to GET /queue. */
enum upstream_comfy_place { UPSTREAM_COMFY_NOWHERE, UPSTREAM_COMFY_WAITS, UPSTREAM_COMFY_RUNS };
/* *ahead: how many runs are before one that waits. */
enum upstream_comfy_place upstream_comfy_queued(const struct cJSON *queue, const char *id,
                                                int *ahead);

/* What a message of its WebSocket says of a run; `id` "": of any. */
enum upstream_comfy_news {
    UPSTREAM_COMFY_NOTHING,
    UPSTREAM_COMFY_BEGUN,
    UPSTREAM_COMFY_STEP, /* *step of *steps */
    UPSTREAM_COMFY_OVER
};
enum upstream_comfy_news upstream_comfy_heard(const struct cJSON *message, const char *id,
                                              int *step, int *steps);

/* The file of a preview in a binary message; NULL: there is none. */
const char *upstream_comfy_preview(const char *message, size_t size, size_t *file_size);

/* The name in an answer to an upload; false: there is none. */
bool upstream_comfy_name(const struct cJSON *answer, char name[UPSTREAM_COMFY_NAME]);

/* Whether an answer to GET /history/ID says that the run is over. *answer is then an answer as
 * OpenAI's API has it (owned), with the address of its picture within `base_url`; or NULL, and
 * `err` says why there is none. */
bool upstream_comfy_over(const struct cJSON *history, const char *id, const char *base_url,
                         struct cJSON **answer, struct err *err);

#endif
