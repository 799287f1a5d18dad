/* golden_words.h: prompts whose states are known, as the guidance takes them, and asking a family
 * for those of one text. */
#ifndef PICTOR_TESTS_UNIT_GOLDEN_WORDS_H
#define PICTOR_TESTS_UNIT_GOLDEN_WORDS_H

#include "engine/pipeline/spoken.h"

/* Prompts that stay as they are, each of weight 1, and the negative one behind them. Borrows
 * `words`; wording_free(&s.wording). */
static inline struct spoken spoken_of(struct family_words *words, int prompts)
{
    struct spoken s = {.wording = {.count = prompts}};
    for (int i = 0; i <= prompts; i++) {
        struct err err;
        s.wording.parts[i].weight = 1;
        assert_true(editing_plain("", &s.wording.parts[i].editing, &err));
        s.words[i] = &words[i];
    }
    return s;
}

/* What one text says, as struct family's `words`. */
static inline bool words_ask(struct family_model *m, struct ops *o,
                             const struct pictor_params *params, const char *text, bool negative,
                             struct family_words *out, struct err *err)
{
    const char *texts[] = {text};
    struct family_prompt prompt = {.texts = texts, .count = 1, .negative = negative};
    return m->family->words(m, o, params, &prompt, out, err);
}

#endif
