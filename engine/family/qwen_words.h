/* qwen_words.h: prompts as Qwen3 understands them, for the families that have it as text encoder:
 * the chat that a prompt is put into, its tokens, the states after some layers. Brackets weigh
 * nothing and stay in the text. Remembers the last few prompts. */
#ifndef PICTOR_ENGINE_FAMILY_QWEN_WORDS_H
#define PICTOR_ENGINE_FAMILY_QWEN_WORDS_H

#include "engine/family/family.h"
#include "engine/model/qwen3.h"
#include "engine/text/qwen_tokenizer.h"

struct qwen_words;

struct qwen_words_how {
    enum qwen_tokenizer_chat chat;
    int padded;   /* to so many tokens with QWEN_TOKENIZER_PAD; 0: not at all */
    int multiple; /* what tokens become a multiple of, of which Qwen3 sees the prompt's own alone;
                     0: it sees all */
    int after[QWEN3_MAX_TAKEN]; /* layers whose states are taken, side by side */
    int count;
    int width; /* of what `take` makes of a token */
    /* out [all, width] = what the network makes of the states of `tokens` before all else; `all`
     * are more where `multiple` is. */
    void (*take)(void *ctx, struct ops *o, const float *states, int tokens, int all, float *out);
    /* The encoder is to work now, and what the network has read in place may go. May be NULL. */
    void (*begin)(void *ctx);
    void *ctx;
};

/* Borrows `qwen`. Returns owned. */
struct qwen_words *qwen_words_new(const struct qwen3 *qwen, const struct qwen_words_how *how,
                                  struct err *err);
void qwen_words_free(struct qwen_words *w);

/* What is remembered is no longer true: what the network makes of states has changed. */
void qwen_words_forget(struct qwen_words *w);

/* As struct family's `words`. ERR_TOO_LARGE: a prompt of more than QWEN_WORDS_MOST tokens. */
#define QWEN_WORDS_MOST 2048
bool qwen_words_say(struct qwen_words *w, struct ops *o, const struct family_prompt *prompt,
                    struct family_words *out, struct err *err);

#endif
