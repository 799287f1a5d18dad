/* openai_images.h: POST /v1/images/generations, edits, variations: a request becomes a job, the
 * client waits (suspended, or reading a stream), the finished job becomes the answer. */
#ifndef PICTOR_SERVER_OPENAI_IMAGES_H
#define PICTOR_SERVER_OPENAI_IMAGES_H

struct http_request;

void openai_images_generate(struct http_request *req);
void openai_images_edit(struct http_request *req);
void openai_images_vary(struct http_request *req);

#endif
