/* native_job.h: jobs in the native API's JSON, in both directions: docs/api.md. Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_JOB_H
#define PICTOR_SERVER_NATIVE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "server/api/controls_given.h"
#include "server/job/job.h"
#include "server/job/inputs.h"
#include "server/queue/queue.h"

struct app;
struct cJSON;
struct settings;

/* A request, checked and complete. */
struct native_job {
    struct job_params params;
    int priority;
    char *tags; /* NULL: none */
    struct native_picture {
        uint8_t *data; /* malloc'd; NULL: none */
        size_t size;
    } init, mask, more[RELAY_IMAGES_MAX];
    struct controls_given controls;
};

/* `body` is changed. `key_id`: whose other jobs it may speak of, NULL: anybody's. On failure *param
 * names the field to blame, or is "" . */
bool native_job_read(const struct app *app, const char *key_id, struct cJSON *body,
                     struct native_job *out, char param[64], struct err *err);
void native_job_free(struct native_job *job);

/* Its pictures, as inputs that borrow them; returns how many there are. */
size_t native_job_inputs(const struct native_job *job, struct job_input inputs[INPUTS_MAX]);

/* JSON Schema of a request, with this server's limits and defaults. Owned. */
struct cJSON *native_job_schema(const struct settings *settings);

/* Owned by the caller; NULL only without memory. Of params: as requests have them, but without
 * pictures. */
struct cJSON *native_job_params_to_json(const struct job_params *p);
struct cJSON *native_job_to_json(const struct job *job);
struct cJSON *native_job_image_to_json(const struct job_image *image);
/* The same with what people say of it. */
struct cJSON *native_job_image_of(const struct job *job, const struct job_image *image);

#endif
