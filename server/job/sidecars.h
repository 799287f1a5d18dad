/* sidecars.h: what lies beside model files, remembered: lists of thousands of files are asked for
 * often, and what lies beside them changes seldom. A file's are looked at again after a while, and
 * read again when one of them, or the folder that they lie in, has another size or time.
 * Thread-safe, but for sidecars_new and sidecars_free. */
#ifndef PICTOR_SERVER_SIDECARS_H
#define PICTOR_SERVER_SIDECARS_H

#include <stdbool.h>

#include "engine/base/err.h"
#include "server/job/sidecar.h"

struct sidecars;

/* Returns owned. */
struct sidecars *sidecars_new(struct err *err);
void sidecars_free(struct sidecars *s); /* NULL is fine */

/* As sidecar_read, but that it may be what it was up to two seconds ago. */
bool sidecars_get(struct sidecars *s, const char *path, struct sidecar *out);

#endif
