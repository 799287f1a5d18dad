/* qwen_tokenizer.h: words to token ids as Qwen2, Qwen2.5 and Qwen3 have them: NFC, a split into
 * words, digits and runs of the rest, and byte-pair merges.
 *
 * The vocabulary, which is the same in all their models, is inside the binary. Read-only after
 * qwen_tokenizer_new: any number of threads may use one. */
#ifndef PICTOR_ENGINE_TEXT_QWEN_TOKENIZER_H
#define PICTOR_ENGINE_TEXT_QWEN_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/text/tokenizer.h"

enum {
    QWEN_TOKENIZER_PAD = 151643, /* <|endoftext|> */
    QWEN_TOKENIZER_START = 151644,
    QWEN_TOKENIZER_END = 151645,
    QWEN_TOKENIZER_THINK = 151667,
    QWEN_TOKENIZER_THOUGHT = 151668, /* </think> */
    QWEN_TOKENIZER_VOCAB = 151669    /* every id is below; tables have some rows more */
};

struct qwen_tokenizer;

struct qwen_tokenizer *qwen_tokenizer_new(struct err *err); /* returns owned */
void qwen_tokenizer_free(struct qwen_tokenizer *t);

/* Appends the ids of `text` (`len` bytes of UTF-8). `special`: the names of the 26 tokens behind
 * the vocabulary ("<|im_start|>") stand for them; else they are text as any other. Linear in `len`,
 * but for a logarithm in the longest word. On failure `ids` is unchanged but for spare room. */
bool qwen_tokenizer_encode(const struct qwen_tokenizer *t, const char *text, size_t len,
                           bool special, struct tokenizer_ids *ids, struct err *err);

/* How a prompt is put to the model: as what a user says, and an answer begins. */
enum qwen_tokenizer_chat {
    QWEN_TOKENIZER_CHAT,       /* Z-Image */
    QWEN_TOKENIZER_THOUGHTLESS /* behind an empty thought: FLUX.2 [klein] */
};

/* Appends the ids of the whole chat. What is in the prompt is text, whatever it looks like. */
bool qwen_tokenizer_prompt(const struct qwen_tokenizer *t, enum qwen_tokenizer_chat chat,
                           const char *prompt, size_t len, struct tokenizer_ids *ids,
                           struct err *err);

#endif
