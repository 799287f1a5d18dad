/* stable_words.h: the textual inversions of a Stable Diffusion model: names, and the vectors that
 * they stand for. */
#ifndef PICTOR_ENGINE_FAMILY_STABLE_WORDS_H
#define PICTOR_ENGINE_FAMILY_STABLE_WORDS_H

#include "engine/family/embedding.h"
#include "engine/text/vocabulary.h"

/* Starts as {0}. */
struct stable_words {
    struct vocabulary *vocabulary;      /* NULL: there are none */
    float *vectors[EMBEDDING_ENCODERS]; /* [all vectors, width] for each text encoder */
};

/* From now on these, as pictor_model_embed has them, and no others; on failure none. */
bool stable_words_load(struct stable_words *w, const struct tokenizer *tokenizer,
                       const struct pictor_model_info *model, const struct pictor_embedding *list,
                       size_t count, struct err *err);
void stable_words_free(struct stable_words *w);

#endif
