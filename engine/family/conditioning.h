/* conditioning.h: words to CLIP's states, with SD WebUI's attention weights. */
#ifndef PICTOR_ENGINE_FAMILY_CONDITIONING_H
#define PICTOR_ENGINE_FAMILY_CONDITIONING_H

#include "engine/family/family.h"
#include "engine/model/clip.h"
#include "engine/text/tokenizer.h"

/* Remembers the last few prompts: a batch, a retry or an unchanged negative prompt costs nothing.
 */
struct conditioning;

/* Borrows both. `pad`: the token that fills up a chunk. Returns owned. */
struct conditioning *conditioning_new(const struct clip *clip, const struct tokenizer *tokenizer,
                                      int pad, struct err *err);
void conditioning_free(struct conditioning *c);

/* States of the text encoder's last layer but skip - 1; 77 tokens a chunk. As struct family's
 * `words`, planning included. */
bool conditioning_encode(struct conditioning *c, struct ops *o, const char *prompt, int skip,
                         struct family_words *out, struct err *err);

#endif
