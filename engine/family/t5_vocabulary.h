/* t5_vocabulary.h: T5's words, wherever a model has them: in a tensor of its text encoder, in the
 * encoder's GGUF, or in a file of its own. */
#ifndef PICTOR_ENGINE_FAMILY_T5_VOCABULARY_H
#define PICTOR_ENGINE_FAMILY_T5_VOCABULARY_H

#include "engine/io/checkpoint.h"
#include "engine/text/tokenizer.h"

struct t5_vocabulary;

/* `cp` may be one of headers alone, of which everything that is wanted is copied; else it must
 * outlive the result. ERR_INVALID: there is none, and how to get one. Returns owned. */
struct t5_vocabulary *t5_vocabulary_read(const struct checkpoint *cp, struct err *err);
/* Of a spiece.model by itself. Returns owned. */
struct t5_vocabulary *t5_vocabulary_of_file(const struct file_bytes *file, struct err *err);
void t5_vocabulary_free(struct t5_vocabulary *v);

size_t t5_vocabulary_count(const struct t5_vocabulary *v); /* of pieces */

/* Appends the text's tokens and the one that ends it. ERR_TOO_LARGE: more than T5_VOCABULARY_MOST.
 * Any thread. */
#define T5_VOCABULARY_MOST 2048
bool t5_vocabulary_tokens(const struct t5_vocabulary *v, const char *text,
                          struct tokenizer_ids *ids, struct err *err);

#endif
