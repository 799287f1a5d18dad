/* native_fields.h: what a request may have, and what a picture's text says of it: docs/api.md. */
#ifndef PICTOR_SERVER_NATIVE_FIELDS_H
#define PICTOR_SERVER_NATIVE_FIELDS_H

struct cJSON;
struct http_request;
struct settings;

void native_fields_schema(struct http_request *req);   /* GET /api/schema */
void native_fields_infotext(struct http_request *req); /* POST /api/infotext */

/* Of the body; owned. */
struct cJSON *native_fields_infotext_schema(const struct settings *settings);

#endif
