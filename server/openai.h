/* openai.h: the OpenAI dialect: its errors, its models, its pictures by URL. Painting is in
 * openai_images.h. Every path is in route.c, under /v1 and at the root. Thread-safe. */
#ifndef PICTOR_SERVER_OPENAI_H
#define PICTOR_SERVER_OPENAI_H

struct http_request;
struct http_problem;

/* {"error": {"message", "type", "param", "code"}} for what http.c and the queue find wrong. */
void openai_error(struct http_request *req, const struct http_problem *problem);

void openai_models(struct http_request *req);       /* GET /v1/models */
void openai_model(struct http_request *req);        /* GET /v1/models/{model...} */
void openai_model_delete(struct http_request *req); /* DELETE: never */
void openai_file(struct http_request *req);         /* GET /v1/images/files/{file} */

#endif
