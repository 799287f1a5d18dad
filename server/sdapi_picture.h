/* sdapi_picture.h: what is done to one finished picture. Body: ROUTE_BODY_IMAGES. */
#ifndef PICTOR_SERVER_SDAPI_PICTURE_H
#define PICTOR_SERVER_SDAPI_PICTURE_H

struct http_request;

void sdapi_picture_info(struct http_request *req);          /* POST /sdapi/v1/png-info */
void sdapi_picture_extras(struct http_request *req);        /* POST .../extra-single-image */
void sdapi_picture_extras_batch(struct http_request *req);  /* POST .../extra-batch-images */

#endif
