/* variants.h: the prompts of a job whose prompts choose (server/job/dynamic.h): its field
 * `variants`, a JSON list with the texts that each of its pictures chose, [{"prompt": ...}, ...],
 * made once when the job is accepted. The job's own prompts are those of one picture, the first at
 * first. Thread-safe. */
#ifndef PICTOR_SERVER_VARIANTS_H
#define PICTOR_SERVER_VARIANTS_H

#include "server/job/job.h"

struct settings;

/* Resolves the prompts, each picture's by its seed, if the settings want that and any of them
 * chooses; what they were becomes prompt_template and negative_template. A job that has variants
 * keeps them. `once`: all pictures have the first one's, and there is no list. Errors as
 * dynamic_resolve's, ERR_INVALID where that is ERR_NOT_FOUND; *param (may be NULL) names the
 * prompt. */
bool variants_make(const struct settings *settings, bool once, struct job_params *p,
                   const char **param, struct err *err);

/* The list, read. */
struct variants {
    struct cJSON *list; /* NULL: there are none */
    size_t count;       /* of different prompts to look at, at least 1 */
};
bool variants_read(const struct job_params *p, struct variants *out, struct err *err);
void variants_free(struct variants *v);

/* *out = the job with the prompts of picture `i`; borrows from both. */
void variants_view(const struct variants *v, size_t i, const struct job_params *p,
                   struct job_params *out);

/* The job's prompts are picture `index`'s from now on. */
bool variants_use(struct job_params *p, int index, struct err *err);

#endif
