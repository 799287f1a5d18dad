/* native_submit.h: jobs accepted: one, its repetition, several as one. */
#ifndef PICTOR_SERVER_NATIVE_SUBMIT_H
#define PICTOR_SERVER_NATIVE_SUBMIT_H

struct cJSON;
struct http_request;
struct settings;

void native_submit(struct http_request *req);       /* POST /api/jobs */
void native_submit_batch(struct http_request *req); /* POST /api/jobs/batch */
void native_submit_retry(struct http_request *req); /* POST /api/jobs/{id}/retry */

struct cJSON *native_submit_batch_schema(const struct settings *settings); /* owned */

#endif
