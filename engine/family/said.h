/* said.h: what texts became, kept for the prompts to come: a batch, a retry or an unchanged
 * negative prompt costs nothing. For the families whose text encoders read a prompt as a whole. */
#ifndef PICTOR_ENGINE_FAMILY_SAID_H
#define PICTOR_ENGINE_FAMILY_SAID_H

#include <stddef.h>

#include "engine/base/err.h"

struct said;

struct said *said_new(struct err *err); /* returns owned */
void said_free(struct said *s);

/* A prompt begins: the texts until the next call are its own. All of them are there until
 * FAMILY_PROMPTS more have begun. */
void said_begin(struct said *s);

/* What a text of so many tokens became; NULL: it is not kept. `form`: of several ways in which so
 * many tokens may be a text, which. */
const float *said_find(struct said *s, const char *text, int tokens, int form);

/* Room for `count` floats of a text that is not kept, to be filled. NULL: there is no memory. */
float *said_add(struct said *s, const char *text, int tokens, int form, size_t count,
                struct err *err);
/* Forgets all: what read them is another one now. */
void said_forget(struct said *s);
/* Forgets the text that was added last. */
void said_drop(struct said *s);

#endif
