/* bpe.h: byte-pair merges (Sennrich et al. 2016): of the neighbours in a word that have a merge,
 * those of the lowest rank become one, until none has.
 *
 * Tokens are ids throughout, and merges are numbered in order of rank, so the vocabulary's strings
 * are not needed, only a table from two ids to a third. Read-only once it is filled. */
#ifndef PICTOR_ENGINE_TEXT_BPE_H
#define PICTOR_ENGINE_TEXT_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct bpe;

/* For at most so many merges. Returns owned. */
struct bpe *bpe_new(size_t merges, struct err *err);
void bpe_free(struct bpe *b);

/* `left` and `right` become `id`, above 0 and higher the later the merge comes. */
void bpe_add(struct bpe *b, int left, int right, int id);

/* The ids of the 256 bytes, as GPT-2 and those after it number them: printable bytes of Latin-1
 * first. */
void bpe_bytes(int ids[256]);

/* What bpe_merge works in; starts as {0}. One thread at a time. */
struct bpe_work {
    struct bpe_symbol *symbols;
    uint64_t *heap;
    size_t heap_count, room;
};
/* Room for words of at most `longest` ids. */
bool bpe_work_room(struct bpe_work *w, size_t longest, struct err *err);
void bpe_work_free(struct bpe_work *w);

/* Merges a word of `n` ids in place; returns how many are left. Linear but for a logarithm. */
size_t bpe_merge(const struct bpe *b, struct bpe_work *w, int *ids, size_t n);

#endif
