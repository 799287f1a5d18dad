/* notes.h: what a request says without any effect on what paints it: a mask's blur where there is
 * no mask, a negative prompt where there is no guidance, a sampler where an upstream is not told of
 * it. A request is not refused for it, and its job says so: the field `notes` of its params, lines
 * "mask_blur: no effect without a mask" (intake_note). What prompts and guidance say to a local
 * model is intake_settle's. Thread-safe; no state. */
#ifndef PICTOR_SERVER_NOTES_H
#define PICTOR_SERVER_NOTES_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/job/job_field.h"

struct intake_model;
struct job_params;

/* Which fields a request has said something of: those that are not empty before they are filled. A
 * field that is never empty counts as said when it holds something else than it usually does. */
void notes_given(const struct job_params *p, bool given[JOB_TABLE_MAX]);

/* Adds to the `notes` of a job that is filled and settled. */
bool notes_add(const struct intake_model *model, const bool given[JOB_TABLE_MAX],
                struct job_params *p, struct err *err);

/* A seed that was given, and that `model` is not told of: a job cannot know whether it was. */
bool notes_seed(const struct intake_model *model, struct job_params *p, struct err *err);

/* Why a field says nothing to jobs that it does not apply to (job_field_applies): "no effect
 * without a mask". */
const char *notes_part(const struct job_field *f);

#endif
