/* spiece.h: reader of the file that SentencePiece keeps a vocabulary in, `spiece.model`: a message
 * of Protocol Buffers (sentencepiece_model.proto). Nothing in the file is believed. */
#ifndef PICTOR_ENGINE_TEXT_SPIECE_H
#define PICTOR_ENGINE_TEXT_SPIECE_H

#include "engine/text/unigram.h"

/* Of a unigram model; others are ERR_UNSUPPORTED. What `out` has borrows from `data`, but for its
 * pieces, which are the caller's to free. */
bool spiece_read(const void *data, size_t size, struct unigram_source *out, struct err *err);

#endif
