#include "engine/family/qwen_words.h"

#include <stdlib.h>
#include <string.h>

#include "engine/family/said.h"

struct qwen_words {
    const struct qwen3 *qwen;
    struct qwen_words_how how;
    struct qwen_tokenizer *tokenizer;
    struct said *said; /* states [tokens, width] */
};

struct qwen_words *qwen_words_new(const struct qwen3 *qwen, const struct qwen_words_how *how,
                                  struct err *err)
{
    struct qwen_words *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(err, ERR_INTERNAL, "no memory for words");
        return NULL;
    }
    w->qwen = qwen;
    w->how = *how;
    if ((w->tokenizer = qwen_tokenizer_new(err)) && (w->said = said_new(err)))
        return w;
    qwen_words_free(w);
    return NULL;
}

void qwen_words_forget(struct qwen_words *w)
{
    said_forget(w->said);
}

void qwen_words_free(struct qwen_words *w)
{
    if (!w)
        return;
    said_free(w->said);
    qwen_tokenizer_free(w->tokenizer);
    free(w);
}

static bool ids_of(const struct qwen_words *w, const char *text, struct tokenizer_ids *ids,
                   struct err *err)
{
    return qwen_tokenizer_prompt(w->tokenizer, w->how.chat, text, strlen(text), ids, err) &&
           (ids->count <= QWEN_WORDS_MOST ||
            err_set(err, ERR_TOO_LARGE, "wanted a prompt of at most %d tokens, got %zu",
                    QWEN_WORDS_MOST, ids->count));
}

/* states [tokens, width]; `ids` are filled up with padding, where it is seen. Planning counts.
 * False: it was stopped, and there are no states. */
static bool encode(struct qwen_words *w, struct ops *o, struct tokenizer_ids *ids, int tokens,
                   float *states, struct err *err)
{
    size_t mark = arena_mark(o->arena), wide = (size_t)w->how.count * (size_t)qwen3_width(w->qwen);
    int seen = (int)ids->count, padded[QWEN_WORDS_MOST];
    int told = w->how.multiple ? seen : tokens;
    float *taken = arena_alloc(o->arena, (size_t)told * wide, sizeof *taken);
    for (int i = 0; i < told; i++)
        padded[i] = i < seen ? ids->at[i] : QWEN_TOKENIZER_PAD;
    if (w->how.begin && !arena_planning(o->arena))
        w->how.begin(w->how.ctx);
    qwen3_encode(o, w->qwen, padded, told, seen, w->how.after, w->how.count, taken);
    w->how.take(w->how.ctx, o, taken, told, tokens, states);
    arena_reset(o->arena, mark);
    return arena_planning(o->arena) || !device_stopped(o->dev) ||
           err_set(err, ERR_CANCELLED, "cancelled");
}

/* In how many tokens all texts are told. */
static bool count_tokens(struct qwen_words *w, const struct family_prompt *prompt, int *tokens,
                         struct err *err)
{
    *tokens = w->how.padded;
    for (size_t i = 0; i < prompt->count; i++) {
        struct tokenizer_ids ids = {0};
        bool ok = ids_of(w, prompt->texts[i], &ids, err);
        if (ok && (int)ids.count > *tokens)
            *tokens = (int)ids.count;
        tokenizer_ids_free(&ids);
        if (!ok)
            return false;
    }
    int more = w->how.multiple ? *tokens % w->how.multiple : 0;
    *tokens += more ? w->how.multiple - more : 0;
    return true;
}

static bool say(struct qwen_words *w, struct ops *o, const char *text, int tokens,
                const float **states, struct err *err)
{
    bool dry = arena_planning(o->arena);
    size_t count = (size_t)tokens * (size_t)w->how.width;
    struct tokenizer_ids ids = {0};
    float *added = NULL;
    *states = dry ? NULL : said_find(w->said, text, tokens, 0);
    if (*states)
        return true;
    bool ok = ids_of(w, text, &ids, err) &&
              (dry || (added = said_add(w->said, text, tokens, 0, count, err))) &&
              encode(w, o, &ids, tokens, added, err);
    tokenizer_ids_free(&ids);
    if (added && !ok) {
        said_drop(w->said);
        added = NULL;
    }
    *states = added;
    return ok;
}

bool qwen_words_say(struct qwen_words *w, struct ops *o, const struct family_prompt *prompt,
                    struct family_words *out, struct err *err)
{
    int tokens;
    if (!count_tokens(w, prompt, &tokens, err))
        return false;
    if (!arena_planning(o->arena))
        said_begin(w->said);
    for (size_t i = 0; i < prompt->count; i++) {
        const float *states;
        if (!say(w, o, prompt->texts[i], tokens, &states, err))
            return false;
        out[i] =
            (struct family_words){.tokens = tokens, .states = states, .negative = prompt->negative};
    }
    return true;
}
