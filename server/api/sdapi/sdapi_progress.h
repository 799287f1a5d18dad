/* sdapi_progress.h: watching and stopping the jobs that this client may see. */
#ifndef PICTOR_SERVER_SDAPI_PROGRESS_H
#define PICTOR_SERVER_SDAPI_PROGRESS_H

struct http_request;

void sdapi_progress_get(struct http_request *req);       /* GET /sdapi/v1/progress */
void sdapi_progress_interrupt(struct http_request *req); /* POST /sdapi/v1/interrupt */
void sdapi_progress_skip(struct http_request *req);      /* POST /sdapi/v1/skip */
void sdapi_progress_task(struct http_request *req);      /* POST /internal/progress, small body */
void sdapi_progress_pending(struct http_request *req);   /* GET /internal/pending-tasks */

#endif
