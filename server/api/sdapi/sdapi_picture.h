/* sdapi_picture.h: pictures in requests, and what is done to one finished picture. */
#ifndef PICTOR_SERVER_SDAPI_PICTURE_H
#define PICTOR_SERVER_SDAPI_PICTURE_H

#include <stdbool.h>
#include <stddef.h>

struct http_request;

/* A picture as requests carry it, base64 or a data: URL, as the bytes of a file whose header is
 * sound and within the limits. *data is malloc'd. On failure the reply is sent: URLs are refused.
 * `text` may be NULL. */
bool sdapi_picture_read(struct http_request *req, const char *text, void **data, size_t *size);

/* Whether it can be decoded to its end; else the reply is sent. */
bool sdapi_picture_check(struct http_request *req, const void *data, size_t size);

/* Of their bodies; owned. */
struct cJSON;
struct settings;
struct cJSON *sdapi_picture_schema_extras(const struct settings *settings);
struct cJSON *sdapi_picture_schema_image(const struct settings *settings);

/* POST /sdapi/v1/interrogate: the prompt that the picture itself says it was painted from, as its
 * caption; 501 where it says none, for no model here describes pictures. */
void sdapi_picture_interrogate(struct http_request *req);

/* Body: ROUTE_BODY_IMAGES. */
void sdapi_picture_info(struct http_request *req);         /* POST /sdapi/v1/png-info */
void sdapi_picture_extras(struct http_request *req);       /* POST .../extra-single-image */
void sdapi_picture_extras_batch(struct http_request *req); /* POST .../extra-batch-images */

#endif
