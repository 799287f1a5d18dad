/* editing.h: prompts that change while a picture is painted, as SD WebUI has them: [from:to:when],
 * [to:when], [from::when] and [a|b|c], which takes turns. Their brackets nest, also with those of
 * attention (prompt.h), which stay in the text as they are.
 *
 * What is not quite syntax is text; a prompt with a | that belongs to no [a|b] has no syntax at
 * all, as there. Time is counted in calls of the network. `when` is a fraction of a pass where it
 * has a point in it, else a call's number. Both go on counting in a second pass: 1.5 is its middle,
 * and 25 its fifth call where the first pass has 20. */
#ifndef PICTOR_ENGINE_TEXT_EDITING_H
#define PICTOR_ENGINE_TEXT_EDITING_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define EDITING_BYTES (1 << 20) /* of all the different texts that a prompt becomes */

struct editing_pass {
    int calls;  /* of the network, 1.. */
    int before; /* in the pass before this one; 0: this is the first */
    bool old;   /* `when` below 1 is a fraction, whether it has a point or not, as SD WebUI had it
                   before 1.6; of one pass, whatever `before` says */
};

struct editing_entry {
    int until; /* the last call, counted from 0, that takes it; the last entry is for all others */
    size_t text; /* which one */
};

struct editing {
    struct editing_entry *entries; /* [count], count >= 1, in order of `until` */
    size_t count;
    char **texts; /* [text_count], all different */
    int *uses;    /* [text_count], of how many entries it is the text */
    size_t text_count;
};

/* `text` is UTF-8 of at most PROMPT_BYTES. */
bool editing_parse(const char *text, const struct editing_pass *pass, struct editing *out,
                   struct err *err);
/* One text that stays. */
bool editing_plain(const char *text, struct editing *out, struct err *err);

/* Which text call number `call`, from 0, takes. SD WebUI's calls 0 and 1 both take what is for
 * until 1. */
size_t editing_text_at(const struct editing *e, int call);

void editing_free(struct editing *e); /* frees what is inside, zeroes the struct */

#endif
