/* composition.h: a short idea as the description of a painting, without any network: a grammar over
 * subject, composition, palette, light, medium and school, whose choices come from a seed. The same
 * idea and seed give the same words, whatever the machine. No state. */
#ifndef PICTOR_SERVER_COMPOSITION_H
#define PICTOR_SERVER_COMPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

#define COMPOSITION_THEME_MAX 2000 /* bytes of an idea */

/* Whether it is one: 1 to COMPOSITION_THEME_MAX bytes that are not all blank. */
bool composition_check(const char *theme, struct err *err);

/* `plain`: in words that the built-in model was told, beside those of the idea. Owned; NULL without
 * memory. */
char *composition_words(const char *theme, uint64_t seed, bool plain, struct err *err);

/* What somebody else has written as a prompt that means no more than its words: one line, without
 * quotation marks around it and without what has a meaning in prompts. In place. */
void composition_clean(char *text);

#endif
