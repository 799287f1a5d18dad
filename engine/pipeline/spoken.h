/* spoken.h: what the prompts of one pass of a picture became, at every time of it. */
#ifndef PICTOR_ENGINE_PIPELINE_SPOKEN_H
#define PICTOR_ENGINE_PIPELINE_SPOKEN_H

#include "engine/family/family.h"
#include "engine/text/wording.h"

struct spoken {
    struct wording wording;
    struct family_words *words[WORDING_MAX]; /* of each part, a text each */
};

/* Parses and encodes; while planning, everything but the states. `pass` NULL: no prompt changes.
 * The states are the family's (see family.h). */
bool spoken_new(struct spoken *s, struct family_model *m, struct ops *o,
                const struct pictor_params *params, const struct editing_pass *pass,
                struct err *err);
void spoken_free(struct spoken *s); /* frees what is inside, zeroes the struct */

/* What part `part` says in call `call` of the network; spoken->wording.count: the negative one. */
static inline size_t spoken_text_at(const struct spoken *s, int part, int call)
{
    return editing_text_at(&s->wording.parts[part].editing, call);
}

#endif
