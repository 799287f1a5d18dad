/* native_tokens.h: how long the prompts of a request are for its model. */
#ifndef PICTOR_SERVER_NATIVE_TOKENS_H
#define PICTOR_SERVER_NATIVE_TOKENS_H

struct cJSON;
struct http_request;
struct settings;

void native_tokens_count(struct http_request *req);                    /* POST /api/tokens */
struct cJSON *native_tokens_schema(const struct settings *settings); /* of the body; owned */

#endif
