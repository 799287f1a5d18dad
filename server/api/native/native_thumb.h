/* native_thumb.h: pictures as small as walls of them need. */
#ifndef PICTOR_SERVER_NATIVE_THUMB_H
#define PICTOR_SERVER_NATIVE_THUMB_H

struct http_request;

void native_thumb(struct http_request *req); /* GET /api/images/{id}/thumb */

#endif
