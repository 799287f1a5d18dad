/* native_queue.h: the queue as a whole: paused, resumed, put in order. */
#ifndef PICTOR_SERVER_NATIVE_QUEUE_H
#define PICTOR_SERVER_NATIVE_QUEUE_H

struct cJSON;
struct http_request;
struct settings;

void native_queue_get(struct http_request *req);    /* GET /api/queue */
void native_queue_pause(struct http_request *req);  /* POST /api/queue/pause */
void native_queue_resume(struct http_request *req); /* POST /api/queue/resume */
void native_queue_move(struct http_request *req);   /* POST /api/jobs/{id}/move */

struct cJSON *native_queue_move_schema(const struct settings *settings); /* of the body; owned */

#endif
