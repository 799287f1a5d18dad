/* tokenizer.h: words to CLIP token ids, as the tokenizer of Stable Diffusion does it.
 *
 * The vocabulary is inside the binary. A tokenizer is read-only after tokenizer_new: any number of
 * threads may use one. */
#ifndef PICTOR_ENGINE_TEXT_TOKENIZER_H
#define PICTOR_ENGINE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

enum {
    TOKENIZER_COMMA = 267,
    TOKENIZER_START = 49406,
    TOKENIZER_END = 49407,
    TOKENIZER_VOCAB = 49408
};

struct tokenizer;

struct tokenizer *tokenizer_new(struct err *err); /* returns owned */
void tokenizer_free(struct tokenizer *t);

/* A growing list of ids; starts as {0}. */
struct tokenizer_ids {
    int *at;
    size_t count, room;
};

void tokenizer_ids_free(struct tokenizer_ids *ids);
/* Room for so many more. */
bool tokenizer_ids_reserve(struct tokenizer_ids *ids, size_t more, struct err *err);

/* Appends the ids of `text` (`len` bytes of UTF-8), without start and end tokens. The words
 * <|startoftext|> and <|endoftext|> become the tokens of that name. Linear in `len`, but for a
 * logarithm in the longest word. On failure `ids` is unchanged but for spare room. */
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t len,
                      struct tokenizer_ids *ids, struct err *err);

#endif
