/* native_submit.h: jobs accepted: one, its repetition, several as one. */
#ifndef PICTOR_SERVER_NATIVE_SUBMIT_H
#define PICTOR_SERVER_NATIVE_SUBMIT_H

#include "server/api/native/native_job.h"
#include "server/queue/queue.h"

struct app;
struct cJSON;
struct http_request;
struct settings;

void native_submit(struct http_request *req);       /* POST /api/jobs */
void native_submit_batch(struct http_request *req); /* POST /api/jobs/batch */
void native_submit_retry(struct http_request *req); /* POST /api/jobs/{id}/retry */

/* A priority above 0 goes before everybody else's jobs, so it takes `admin`. */
bool native_submit_may(bool admin, const struct native_job *job, char param[64], struct err *err);

/* What a job's repetition takes: its params, checked again, and its pictures (free each's data,
 * also after a failure). */
bool native_submit_repeat(const struct app *app, struct job *job,
                          struct job_input inputs[INPUTS_MAX], size_t *count,
                          const char **param, struct err *err);

struct cJSON *native_submit_batch_schema(const struct settings *settings); /* owned */

#endif
