/* vocabulary.h: words that stand for vectors of their own: the names of textual inversions.
 *
 * As in the SD WebUI a word is found by its token ids, wherever they stand in a prompt, and the
 * longest one counts; so case says nothing, as it says nothing to CLIP. ComfyUI's way to write one,
 * "embedding:NAME" or "embedding:NAME.pt", is read, too. */
#ifndef PICTOR_ENGINE_TEXT_VOCABULARY_H
#define PICTOR_ENGINE_TEXT_VOCABULARY_H

#include "engine/text/tokenizer.h"

struct vocabulary;

/* Word `i` is names[i], or what is behind its last slash, and stands for vectors[i] (at least 1) of
 * them. What two names have in common is the first one's. Read-only afterwards. Returns owned. */
struct vocabulary *vocabulary_new(const struct tokenizer *t, const char *const *names,
                                  const int *vectors, size_t count, struct err *err);
void vocabulary_free(struct vocabulary *v); /* NULL is fine */

struct vocabulary_match {
    size_t word;
    size_t tokens; /* how many of the ids it takes */
    int first;     /* the id that its first vector has in chunks, TOKENIZER_VOCAB or more */
    int vectors;   /* whose ids follow each other */
};

/* Whether a word begins at the first of `count` (at least 1) ids. `v` may be NULL. */
bool vocabulary_match(const struct vocabulary *v, const int *ids, size_t count,
                      struct vocabulary_match *out);

/* Which word the id of a vector is of. */
size_t vocabulary_word(const struct vocabulary *v, int id);

#endif
