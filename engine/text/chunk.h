/* chunk.h: a prompt as the text encoder takes it: chunks of 75 weighted tokens between a start and
 * an end token, the last one filled up. */
#ifndef PICTOR_ENGINE_TEXT_CHUNK_H
#define PICTOR_ENGINE_TEXT_CHUNK_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"
#include "engine/text/tokenizer.h"
#include "engine/text/vocabulary.h"

#define CHUNK_LENGTH 77
#define CHUNK_LIMIT 216    /* chunks a prompt: 4,000 characters of four tokens; their cost grows
                            * with them */
#define CHUNK_TOTAL 216    /* of all the texts that a prompt becomes while a picture is painted */
#define CHUNK_BACKTRACK 20 /* SD WebUI's comma_padding_backtrack */

/* How a prompt is read. */
struct chunk_style {
    int backtrack;   /* a full chunk ends behind a comma that is at most so many tokens back */
    bool literal;    /* brackets and BREAK are text */
    bool unweighted; /* they are read, but every weight is 1 */
    /* Words that become vectors of their own; NULL: none. Borrowed. */
    const struct vocabulary *vocabulary;
};

struct chunk {
    int ids[CHUNK_LENGTH]; /* the vocabulary's vectors have those from TOKENIZER_VOCAB on */
    float weights[CHUNK_LENGTH]; /* 1 for start, end and filling */
};

struct chunk_list {
    struct chunk *at; /* [count], count >= 1: an empty prompt is one chunk of filling */
    size_t count;
    size_t tokens; /* of the prompt itself, for messages: filling before a BREAK counts too */
    bool weighted; /* some weight is not 1 */
};

/* SD WebUI syntax to chunks (see prompt.h). `pad` fills up a chunk behind its end token:
 * TOKENIZER_END for OpenAI's CLIP, 0 for OpenCLIP. Fails with ERR_TOO_LARGE above CHUNK_LIMIT.
 * `style` NULL: CHUNK_BACKTRACK and nothing else. */
bool chunk_prompt(const struct tokenizer *t, const char *prompt, int pad,
                  const struct chunk_style *style, struct chunk_list *out, struct err *err);
/* Chunks of filling behind those there are, until there are `count`; at most CHUNK_LIMIT. */
void chunk_fill(struct chunk_list *list, size_t count, int pad);
/* Whether so many texts of up to so many chunks are within CHUNK_TOTAL; ERR_TOO_LARGE. */
bool chunk_check_total(size_t texts, size_t chunks, struct err *err);
void chunk_list_free(struct chunk_list *list); /* frees what is inside, zeroes the struct */

#endif
