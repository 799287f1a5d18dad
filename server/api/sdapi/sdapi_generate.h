/* sdapi_generate.h: POST /sdapi/v1/txt2img and img2img: a request becomes a job, the client waits
 * (suspended), the finished job becomes the answer. Body: ROUTE_BODY_IMAGES. */
#ifndef PICTOR_SERVER_SDAPI_GENERATE_H
#define PICTOR_SERVER_SDAPI_GENERATE_H

struct http_request;

void sdapi_generate_txt2img(struct http_request *req);
void sdapi_generate_img2img(struct http_request *req);

#endif
