/* openai_responses.h: /v1/responses with the image_generation tool. Every response is one or more
 * calls of it; no text model is behind them. A response is a job, so it is kept, found again, and
 * continued (previous_response_id) as long as its job is. */
#ifndef PICTOR_SERVER_OPENAI_RESPONSES_H
#define PICTOR_SERVER_OPENAI_RESPONSES_H

struct http_request;

void openai_responses_create(struct http_request *req); /* POST /v1/responses */
void openai_responses_get(struct http_request *req);    /* GET /v1/responses/{id} */
void openai_responses_delete(struct http_request *req); /* DELETE /v1/responses/{id} */
void openai_responses_cancel(struct http_request *req); /* POST /v1/responses/{id}/cancel */

#endif
