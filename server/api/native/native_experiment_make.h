/* native_experiment_make.h: new experiments, and those made once more. */
#ifndef PICTOR_SERVER_NATIVE_EXPERIMENT_MAKE_H
#define PICTOR_SERVER_NATIVE_EXPERIMENT_MAKE_H

struct cJSON;
struct http_request;
struct settings;

void native_experiment_make(struct http_request *req);  /* POST /api/experiments */
void native_experiment_rerun(struct http_request *req); /* POST /api/experiments/{id}/rerun */

struct cJSON *native_experiment_make_schema(const struct settings *settings); /* owned */

#endif
