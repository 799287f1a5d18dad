/* t5_words.h: prompts as T5 and CLIP understand them together, for the families that have both:
 * FLUX.1 and Stable Diffusion 3. Brackets weigh nothing and stay in the text. Remembers the last
 * few prompts. */
#ifndef PICTOR_ENGINE_FAMILY_T5_WORDS_H
#define PICTOR_ENGINE_FAMILY_T5_WORDS_H

#include "engine/family/family.h"
#include "engine/model/clip.h"
#include "engine/model/t5.h"

#define T5_WORDS_CLIPS 2

struct t5_words_how {
    const struct t5 *t5; /* NULL: the model has none, and its states are zeros */
    int padded;          /* T5's tokens are filled up to so many */
    const struct clip *clips[T5_WORDS_CLIPS]; /* what each pools is side by side */
    int pads[T5_WORDS_CLIPS];                 /* the token that fills up a chunk */
    int clip_count;
    /* The state of CLIP's layer before the last stand in front of T5's, side by side and filled up
     * with zeros, chunk by chunk; else a prompt has one chunk, and what it pools alone counts. */
    bool stated;
    int text;  /* channels of a state */
    int width; /* of what `take` makes of a token */
    /* out [tokens, width] = what the network makes of the states [tokens, text] before all else. */
    void (*take)(void *ctx, struct ops *o, const float *states, int tokens, float *out);
    /* The encoder is to work now, and what the network has read in place may go. May be NULL. */
    void (*begin)(void *ctx);
    void *ctx;
};

struct t5_words;

/* Reads T5's vocabulary where the model has T5, and borrows it from the checkpoint. ERR_INVALID:
 * there is none. Returns owned. */
struct t5_words *t5_words_new(const struct checkpoint *cp, const struct t5_words_how *how,
                              struct err *err);
void t5_words_free(struct t5_words *w);

/* Forgets prompts: the text encoders or the network are other ones now. */
void t5_words_forget(struct t5_words *w);

/* As struct family's `words`; `pooled` is what the CLIPs pool. ERR_TOO_LARGE: a prompt of more than
 * T5_VOCABULARY_MOST tokens of T5's, or, where its chunks are stated, of more than
 * T5_WORDS_CHUNKS. */
#define T5_WORDS_CHUNKS 16
#define T5_WORDS_CHUNK 75 /* tokens of a prompt in one */
bool t5_words_say(struct t5_words *w, struct ops *o, const struct family_prompt *prompt,
                  struct family_words *out, struct err *err);

#endif
