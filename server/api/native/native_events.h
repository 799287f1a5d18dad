/* native_events.h: the event streams of docs/api.md. */
#ifndef PICTOR_SERVER_NATIVE_EVENTS_H
#define PICTOR_SERVER_NATIVE_EVENTS_H

struct http_request;

void native_events_job(struct http_request *req); /* GET /api/jobs/{id}/events */
void native_events_all(struct http_request *req); /* GET /api/events */

#endif
