/* native_list.h: the list of jobs and what it is searched by: docs/api.md. */
#ifndef PICTOR_SERVER_NATIVE_LIST_H
#define PICTOR_SERVER_NATIVE_LIST_H

struct http_request;

void native_list(struct http_request *req); /* GET /api/jobs */

#endif
