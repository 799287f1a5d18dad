/* native_experiment.h: experiments, named sweeps over fields of a request: docs/api.md. A record of
 * the store names the jobs; it goes on without those that are removed. */
#ifndef PICTOR_SERVER_NATIVE_EXPERIMENT_H
#define PICTOR_SERVER_NATIVE_EXPERIMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct app;
struct cJSON;
struct http_request;
struct settings;
struct store_record;

#define NATIVE_EXPERIMENT_KIND "sweep" /* of its record */
#define NATIVE_EXPERIMENT_CELLS 200
#define NATIVE_EXPERIMENT_AXES 4
#define NATIVE_EXPERIMENT_NAME 200 /* bytes */

void native_experiment_list(struct http_request *req);   /* GET /api/experiments */
void native_experiment_get(struct http_request *req);    /* GET /api/experiments/{id} */
void native_experiment_change(struct http_request *req); /* POST /api/experiments/{id} */
void native_experiment_delete(struct http_request *req); /* DELETE /api/experiments/{id} */
void native_experiment_export(struct http_request *req); /* GET /api/experiments/{id}/export */

struct cJSON *native_experiment_change_schema(const struct settings *settings); /* owned */

/* The record of the request's {id}; free its body. False: it has replied. */
bool native_experiment_find(struct http_request *req, struct store_record *record);
/* What the record says, owned; NULL when it is damaged. */
struct cJSON *native_experiment_body(const struct store_record *record);

/* An experiment as it is answered, with the state of its jobs; owned. `visible_key` as queue_get's.
 * `whole`: each cell has its job as well. */
struct cJSON *native_experiment_json(const struct app *app, const char *visible_key,
                                     const struct store_record *record, bool whole);

/* What axis `i` says in cell `cell`, of axes whose last goes fastest. Borrowed. */
const struct cJSON *native_experiment_value(const struct cJSON *axes, size_t i, size_t cell);

#endif
