/* job_tags.h: the tags that a request gives its job: a list of texts, kept as one text with commas
 * between them, which no tag has. No state. */
#ifndef PICTOR_SERVER_JOB_TAGS_H
#define PICTOR_SERVER_JOB_TAGS_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/job/job.h"

struct cJSON;

/* *tags is malloc'd, or NULL for none: `list` NULL, null or empty. ERR_INVALID begins with "tags".
 */
bool job_tags_read(const struct cJSON *list, char **tags, struct err *err);

/* The next of them, from *at on, which moves behind it; false: there is none. */
bool job_tags_next(const char **at, char tag[JOB_MARK_SIZE]);

/* JSON Schema of a list. Owned. */
struct cJSON *job_tags_schema(void);

#endif
