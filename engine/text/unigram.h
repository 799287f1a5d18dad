/* unigram.h: words to token ids by a unigram model (Kudo 2018) as SentencePiece runs it: T5's
 * tokenizer. Its vocabulary comes with a model: in a `spiece.model` (spiece.h) or a GGUF file.
 *
 * Read-only after unigram_new: any number of threads may use one. */
#ifndef PICTOR_ENGINE_TEXT_UNIGRAM_H
#define PICTOR_ENGINE_TEXT_UNIGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/text/tokenizer.h"

/* SentencePiece's numbers. */
enum unigram_type {
    UNIGRAM_NORMAL = 1,
    UNIGRAM_UNKNOWN = 2, /* what stands for everything else: there is one */
    UNIGRAM_CONTROL = 3, /* is in no text */
    UNIGRAM_GIVEN = 4,   /* a word by itself wherever it stands */
    UNIGRAM_UNUSED = 5,
    UNIGRAM_BYTE = 6
};

struct unigram_piece {
    const char *text; /* UTF-8, no terminator; spaces are U+2581 */
    size_t len;
    float score; /* logarithm of its probability */
    enum unigram_type type;
};

#define UNIGRAM_MOST 1000000   /* pieces */
#define UNIGRAM_PIECE_MOST 256 /* bytes of one; SentencePiece trains ones of 16 characters */
#define UNIGRAM_FORM_MOST 64   /* bytes of what is replaced, and of what by; NFKC has 33 */

/* What a vocabulary says. The number of a piece is its id. */
struct unigram_source {
    const struct unigram_piece *pieces;
    size_t count;
    /* How characters are brought to one form: the size of a double-array trie (4 bytes), the trie
     * of what is replaced, and what by, each ended by a 0; size 0: nothing is. More than
     * UNIGRAM_FORM_MOST bytes are never replaced, and never come of it. */
    const unsigned char *forms;
    size_t forms_size;
    bool prefix;   /* a text begins with a space */
    bool collapse; /* spaces around a text go, and of several together all but one */
};

struct unigram;

/* Copies `pieces`; borrows their texts and `forms`. ERR_INVALID for what cannot be; whatever is
 * taken is safe to use. Returns owned. */
struct unigram *unigram_new(const struct unigram_source *source, struct err *err);
void unigram_free(struct unigram *u);

/* The id of the piece that is exactly `text`, of any type; -1: there is none. */
int unigram_find(const struct unigram *u, const char *text);
size_t unigram_count(const struct unigram *u);

/* Appends the ids of `text` (`len` bytes). A byte that is not UTF-8 is U+FFFD. Time is `len` times
 * the longest piece at the most. On failure `ids` is unchanged but for spare room. */
bool unigram_encode(const struct unigram *u, const char *text, size_t len,
                    struct tokenizer_ids *ids, struct err *err);

#endif
