/* vocabularies.h: prompts counted in tokens before a job is queued, for models whose words are in
 * their own files (T5's); by the files' headers, and nothing of them is mapped. The last model's
 * vocabulary is kept. Thread-safe. */
#ifndef PICTOR_SERVER_VOCABULARIES_H
#define PICTOR_SERVER_VOCABULARIES_H

#include "engine/pictor.h"

struct registry;
struct vocabularies;

struct vocabularies *vocabularies_new(struct err *err);
void vocabularies_free(struct vocabularies *v);

/* As pictor_prompt_tokens, for a local model of the registry and its architecture. Whoever has no
 * vocabulary that can be read is counted as far as that goes without. */
bool vocabularies_count(struct vocabularies *v, struct registry *registry, const char *model,
                        const char *architecture, const struct pictor_params *params,
                        bool negative, struct pictor_prompt_size *out, struct err *err);

#endif
