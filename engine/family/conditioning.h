/* conditioning.h: words to CLIP's states, with SD WebUI's attention weights. */
#ifndef PICTOR_ENGINE_FAMILY_CONDITIONING_H
#define PICTOR_ENGINE_FAMILY_CONDITIONING_H

#include "engine/family/family.h"
#include "engine/model/clip.h"
#include "engine/text/tokenizer.h"

/* Remembers the last few prompts: a batch, a retry or an unchanged negative prompt costs nothing.
 */
struct conditioning;

#define CONDITIONING_ENCODERS 2

/* A text encoder and how it is read. */
struct conditioning_encoder {
    const struct clip *clip; /* borrowed */
    int pad;                 /* the token that fills up a chunk */
    int skip; /* which of its layers is read, counted from its end; 0: the request says it */
};

/* Of 1..CONDITIONING_ENCODERS encoders, whose states stand side by side. Borrows the tokenizer.
 * Returns owned. */
struct conditioning *conditioning_new(const struct conditioning_encoder *encoders, int count,
                                      const struct tokenizer *tokenizer, struct err *err);
void conditioning_free(struct conditioning *c);

/* From now on these words stand for vectors of their own, `vectors` [.., width] for each encoder;
 * NULL: none do. Borrows all of it. Forgets prompts. */
void conditioning_name(struct conditioning *c, const struct vocabulary *vocabulary,
                       const float *const vectors[CONDITIONING_ENCODERS]);

/* Forgets prompts: the text encoders are other ones now. */
void conditioning_forget(struct conditioning *c);

/* As struct family's `words`, planning included. Of the params: clip_skip, which is for encoders
 * that do not say themselves which layer is read, and how prompts are read. `pooled` is the first
 * chunk's, of the last encoder. Texts with fewer chunks than another one get empty ones. */
bool conditioning_encode(struct conditioning *c, struct ops *o, const struct pictor_params *params,
                         const struct family_prompt *prompt, struct family_words *out,
                         struct err *err);
/* One chunk whose states, and what is pooled, are zeros. */
void conditioning_zeros(const struct conditioning *c, struct family_words *out);

#endif
