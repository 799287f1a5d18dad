/* wording.h: what the prompts of a picture say at which time: the prompts joined by AND, each with
 * its weight and the texts that it becomes, and the negative prompt, which is one. */
#ifndef PICTOR_ENGINE_TEXT_WORDING_H
#define PICTOR_ENGINE_TEXT_WORDING_H

#include "engine/text/conjunction.h"
#include "engine/text/editing.h"

#define WORDING_MAX (CONJUNCTION_MAX + 1)

struct wording {
    struct wording_part {
        double weight; /* of the negative prompt: 1 */
        struct editing editing;
    } parts[WORDING_MAX]; /* the prompts, then the negative one */
    int count;            /* of prompts, without the negative one */
};

/* `pass` NULL: nothing changes and nothing is joined; the prompts are read as they are. */
bool wording_parse(const char *prompt, const char *negative, const struct editing_pass *pass,
                   struct wording *out, struct err *err);
void wording_free(struct wording *w); /* frees what is inside, zeroes the struct */

#endif
