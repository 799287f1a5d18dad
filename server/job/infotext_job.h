/* infotext_job.h: a job as an infotext, and an infotext as a job.
 *
 * Both go by the table of fields, whose order and keys are the text's. What a text does not say has
 * the value that is never written: a job, its text and the job of that text paint the same picture.
 * Thread-safe; no state. */
#ifndef PICTOR_SERVER_INFOTEXT_JOB_H
#define PICTOR_SERVER_INFOTEXT_JOB_H

#include "server/job/infotext.h"
#include "server/job/job.h"

/* What the text of one picture is made from, beside the job's parameters. */
struct infotext_picture {
    uint64_t seed, subseed; /* this picture's own */
    const char *model_name; /* file stem, "pictor-mini"; NULL or "": left out */
    const char *model_hash; /* sha256 of the file in hex, its first ten digits are written;
                               NULL or "": left out */
    const char *revised_prompt; /* what an upstream says it painted; NULL or "": left out */
};

/* The key of that. */
#define INFOTEXT_REVISED "Revised prompt"

/* UTF-8, malloc'd. NULL only without memory. */
char *infotext_write(const struct job_params *params, const struct infotext_picture *picture);

/* By another table; `job` begins with its struct job_params. */
char *infotext_write_by(const struct job_table *table, const void *job,
                        const struct infotext_picture *picture);

/* The job that the text speaks of: usual values but for what it says, by word or by silence, which
 * is marked in said[index of the field]. What cannot be read is as if it were not there. The model
 * is named as the text names it; pictures to begin from are none. `job` begins with its struct
 * job_params and need not be initialised; it is to be freed, also after a failure (no memory). */
bool infotext_to_job(const struct infotext *t, const struct job_table *table, void *job,
                     bool said[JOB_TABLE_MAX], struct err *err);

#endif
