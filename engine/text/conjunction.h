/* conjunction.h: several prompts in one, `a cat :1.2 AND a dog :0.5`, each of which leads the
 * picture by itself, as much as its weight says (Liu et al. 2022, "Compositional visual generation
 * with composable diffusion models"; the syntax is SD WebUI's). */
#ifndef PICTOR_ENGINE_TEXT_CONJUNCTION_H
#define PICTOR_ENGINE_TEXT_CONJUNCTION_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define CONJUNCTION_MAX 16 /* parts; each costs an answer of the network in every step */

struct conjunction {
    struct conjunction_part {
        char *text;
        double weight; /* 1 where none is written */
    } at[CONJUNCTION_MAX];
    int count; /* at least 1 */
};

/* Splits `text` at the word AND, in capitals. A part ends in `:` and its weight, or not; a text
 * without an AND, too: "a:1.5" is "a" of weight 1.5. White space at a part's end goes. */
bool conjunction_parse(const char *text, struct conjunction *out, struct err *err);
void conjunction_free(struct conjunction *c); /* frees what is inside, zeroes the struct */

#endif
