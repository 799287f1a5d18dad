/* native_workers.h: who paints, for who administers; and what workers elsewhere say of themselves
 * when they claim (native_worker.h). Thread-safe. */
#ifndef PICTOR_SERVER_NATIVE_WORKERS_H
#define PICTOR_SERVER_NATIVE_WORKERS_H

#include <stdbool.h>

#include "engine/base/err.h"

struct cJSON;
struct http_request;
struct roster_worker;

void native_workers_list(struct http_request *req); /* GET /api/workers */

/* Fields of a claim, borrowed. What is left out is not known. */
struct native_worker_about {
    const char *version, *host, *device;
    double memory, disk, step_seconds, pace;
    struct cJSON *families, *files, *models, *warm; /* arrays of texts, checked below */
};

/* Completes the properties of the claim's schema. */
void native_workers_schema(struct cJSON *properties);

/* False: *param has what is wrong. roster_worker_free in any case. */
bool native_workers_about(const struct native_worker_about *about, const char *owner,
                          struct roster_worker *out, const char **param, struct err *err);

#endif
