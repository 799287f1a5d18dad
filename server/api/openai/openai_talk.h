/* openai_talk.h: what chat and the Responses API share: of what was said to a model, what to paint,
 * as a request of the images API. No text model is behind them: the last thing that the user says
 * is the prompt. Thread-safe; no state. */
#ifndef PICTOR_SERVER_OPENAI_TALK_H
#define PICTOR_SERVER_OPENAI_TALK_H

#include <stdbool.h>

#include "server/api/openai/openai.h"

struct cJSON;

/* Moves the text of a message's content (a string, or a list of parts) to `request` as its
 * "prompt", and the pictures to its "images". Takes them out of `content`. `param` is what the body
 * calls it. */
bool openai_talk_content(struct cJSON *content, const char *param, struct cJSON *request,
                         struct openai_fault *f);

/* The text of a message's content, as its prompt would be; owned. NULL: there is none. */
char *openai_talk_words(const struct cJSON *content);
/* In place of it; pictures stay. `content` is the member of `message`. */
bool openai_talk_say(struct cJSON *message, const char *content, const char *text);

/* The last item of a list of messages that the user says; NULL: there is none. */
struct cJSON *openai_talk_last(const struct cJSON *messages);

/* Adds one more picture (taken; NULL: no memory) to the request's images. */
bool openai_talk_add_image(struct cJSON *request, struct cJSON *image, struct openai_fault *f);

/* A fault of the request that was made of a body names what the body has: `said` for the prompt and
 * the pictures. */
void openai_talk_blame(struct openai_fault *f, const char *said);

#endif
