/* openai_batch.h: /v1/batches for images: a file of requests that are painted while nobody waits,
 * and files of their answers. Behind everybody's own requests in the queue. */
#ifndef PICTOR_SERVER_OPENAI_BATCH_H
#define PICTOR_SERVER_OPENAI_BATCH_H

#include <stdint.h>

#include "server/store/store.h"

struct cJSON;
struct http_request;
struct app;
struct settings;

#define OPENAI_BATCH_KIND "batch"

/* A batch is a record of the store, whose body is this JSON, durable after every change:
 *   "batch"     what clients see, without its id
 *   "base_url"  where links lead
 *   "all"       its client may use everybody's files
 *   "output_seconds"  how long its files are kept; 0: as any
 *   "lines"     until it is final, an object for each request: "id" (custom_id), "job" once there
 *               is one, "quality" and "url" for its answer, "error" or "done" */
struct openai_batch {
    struct store_record record; /* its `body` is NULL */
    struct cJSON *body;
};

/* Takes `record`'s body. False: it is damaged, or there is no memory. */
bool openai_batch_open(struct openai_batch *b, struct store_record *record);
bool openai_batch_save(const struct app *app, const struct openai_batch *b, struct err *err);
void openai_batch_close(struct openai_batch *b);

const char *openai_batch_status(const struct openai_batch *b);
bool openai_batch_is_final(const struct openai_batch *b);
/* Whether the key whose batch it is was revoked. */
bool openai_batch_is_keyless(const struct app *app, const struct openai_batch *b);
/* Sets the status and, if it has one, its time ("completed" sets completed_at). */
void openai_batch_become(struct openai_batch *b, const char *status);

/* The body of a new one, for the description of the API; owned. */
struct cJSON *openai_batch_schema(const struct settings *settings);

void openai_batch_create(struct http_request *req); /* POST /v1/batches */
void openai_batch_list(struct http_request *req);   /* GET /v1/batches */
void openai_batch_get(struct http_request *req);    /* GET /v1/batches/{id} */
void openai_batch_cancel(struct http_request *req); /* POST /v1/batches/{id}/cancel */
void openai_batch_delete(struct http_request *req); /* DELETE /v1/batches/{id} */

#endif
