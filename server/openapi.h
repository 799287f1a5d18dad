/* openapi.h: the APIs as one OpenAPI 3.1 document, made of the table of routes and of the tables
 * that parse requests. */
#ifndef PICTOR_SERVER_OPENAPI_H
#define PICTOR_SERVER_OPENAPI_H

struct http_request;

void openapi_serve(struct http_request *req); /* GET /openapi.json */

#endif
