/* conditioning.h: words to what the UNet attends to, with SD WebUI's attention weights. */
#ifndef PICTOR_ENGINE_PIPELINE_CONDITIONING_H
#define PICTOR_ENGINE_PIPELINE_CONDITIONING_H

#include "engine/model/clip.h"
#include "engine/text/chunk.h"

/* Remembers the last few prompts: a batch, a retry or an unchanged negative prompt costs nothing.
 */
struct conditioning;

/* Borrows both. Returns owned. */
struct conditioning *conditioning_new(const struct clip *clip, const struct tokenizer *tokenizer,
                                      int width, struct err *err);
void conditioning_free(struct conditioning *c);

/* How many tokens `prompt` makes: 77 a chunk. */
bool conditioning_tokens(struct conditioning *c, const char *prompt, int *tokens, struct err *err);

/* *out: [tokens, width], valid until the next call but one (a prompt and its negative). */
bool conditioning_encode(struct conditioning *c, struct ops *o, const char *prompt, int skip,
                         const float **out, struct err *err);

#endif
