/* words.h: lists of words in one text, between blanks. No state. */
#ifndef PICTOR_SERVER_WORDS_H
#define PICTOR_SERVER_WORDS_H

#include <stdbool.h>

/* Whether `word` is one of `words`. Two words in a row are none, and neither is "". */
bool words_have(const char *words, const char *word);

#endif
