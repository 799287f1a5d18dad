/* openai_chat.h: POST /v1/chat/completions, for clients that speak nothing else: the last message
 * of the user becomes a job, and the answer is the picture, in the message's text as Markdown and
 * in its `images`. */
#ifndef PICTOR_SERVER_OPENAI_CHAT_H
#define PICTOR_SERVER_OPENAI_CHAT_H

struct http_request;

void openai_chat_complete(struct http_request *req);

#endif
