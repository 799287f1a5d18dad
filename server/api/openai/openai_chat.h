/* openai_chat.h: POST /v1/chat/completions, for clients that speak nothing else: the last message
 * of the user becomes a job, and the answer is the picture, in the message's text as Markdown and
 * in its `images`. */
#ifndef PICTOR_SERVER_OPENAI_CHAT_H
#define PICTOR_SERVER_OPENAI_CHAT_H

struct cJSON;
struct http_request;
struct settings;

void openai_chat_complete(struct http_request *req);

/* The body, for the description of the API; owned. */
struct cJSON *openai_chat_schema(const struct settings *settings);

#endif
