/* native_worker_run.h: what a worker on another machine says and fetches while it has a job
 * (native_worker.h). */
#ifndef PICTOR_SERVER_NATIVE_WORKER_RUN_H
#define PICTOR_SERVER_NATIVE_WORKER_RUN_H

struct cJSON;
struct http_request;
struct settings;

void native_worker_run_heartbeat(struct http_request *req); /* POST .../jobs/{id}/heartbeat */
void native_worker_run_image(struct http_request *req);     /* POST .../jobs/{id}/image */
void native_worker_run_end(struct http_request *req);       /* POST .../jobs/{id}/end */
void native_worker_run_inputs(struct http_request *req);    /* GET .../jobs/{id}/inputs */
void native_worker_run_file(struct http_request *req);      /* GET /api/worker/files/{sha256} */

struct cJSON *native_worker_run_schema_heartbeat(const struct settings *settings);
struct cJSON *native_worker_run_schema_end(const struct settings *settings);

#endif
