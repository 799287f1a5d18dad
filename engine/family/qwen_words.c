/* qwen_words.c: What a text became is kept until FAMILY_PROMPTS prompts were asked for after it,
 * and then as long as all that is kept is not much. A prompt that changes while it is painted is
 * many texts: they are of one age. */
#include "engine/family/qwen_words.h"

#include <stdlib.h>
#include <string.h>

#define KEPT 64
/* Chunks that are kept: what the prompts of a picture's two passes may have, or more. */
#define KEPT_CHUNKS (2 * (size_t)FAMILY_CHUNKS)
#define KEPT_BYTES ((size_t)64 << 20) /* of what no picture at work can need */

struct entry {
    char *text;
    float *states; /* [tokens, width] */
    int tokens;
    uint64_t used; /* the prompt, counted from 1, that it was last a text of */
};

struct qwen_words {
    const struct qwen3 *qwen;
    struct qwen_words_how how;
    struct qwen_tokenizer *tokenizer;
    struct entry *kept;
    size_t count, room;
    uint64_t clock; /* prompts so far */
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
    if ((w->tokenizer = qwen_tokenizer_new(err)))
        return w;
    free(w);
    return NULL;
}

static void entry_free(struct entry *e)
{
    free(e->text);
    free(e->states);
}

void qwen_words_forget(struct qwen_words *w)
{
    for (size_t i = 0; i < w->count; i++)
        entry_free(&w->kept[i]);
    w->count = 0;
}

void qwen_words_free(struct qwen_words *w)
{
    if (!w)
        return;
    qwen_words_forget(w);
    free(w->kept);
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

static size_t bytes_of(const struct qwen_words *w, const struct entry *e)
{
    return (size_t)e->tokens * (size_t)w->how.width * sizeof *e->states;
}

/* Lets go of what was asked for longest ago, but of nothing that a picture may need, whose own
 * prompts came last; `chunks` more are to come. */
static void make_room(struct qwen_words *w, size_t chunks)
{
    for (;;) {
        struct entry *oldest = NULL;
        size_t old = 0, sum = chunks;
        for (size_t i = 0; i < w->count; i++) {
            struct entry *e = &w->kept[i];
            sum += family_chunks(e->tokens);
            if (e->used + FAMILY_PROMPTS <= w->clock)
                old += bytes_of(w, e);
            if (e->used < w->clock && (!oldest || e->used < oldest->used))
                oldest = e;
        }
        if (!oldest)
            return;
        bool needed = oldest->used + FAMILY_PROMPTS > w->clock;
        if (sum <= KEPT_CHUNKS && (needed || (old <= KEPT_BYTES && w->count <= KEPT)))
            return;
        entry_free(oldest);
        *oldest = w->kept[--w->count];
    }
}

static struct entry *find(struct qwen_words *w, const char *text, int tokens)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->kept[i].tokens == tokens && strcmp(w->kept[i].text, text) == 0)
            return &w->kept[i];
    return NULL;
}

static struct entry *add(struct qwen_words *w, const char *text, int tokens, struct err *err)
{
    make_room(w, family_chunks(tokens));
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : KEPT;
        struct entry *kept = realloc(w->kept, room * sizeof *kept);
        if (!kept) {
            err_set(err, ERR_INTERNAL, "no memory for words");
            return NULL;
        }
        w->kept = kept;
        w->room = room;
    }
    struct entry *e = &w->kept[w->count];
    *e = (struct entry){.text = strdup(text), .tokens = tokens};
    e->states = malloc(bytes_of(w, e));
    if (e->text && e->states) {
        w->count++;
        return e;
    }
    entry_free(e);
    err_set(err, ERR_INTERNAL, "no memory for words of %d tokens", tokens);
    return NULL;
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
    struct tokenizer_ids ids = {0};
    struct entry *e = dry ? NULL : find(w, text, tokens);
    *states = e ? e->states : NULL;
    if (e) {
        e->used = w->clock;
        return true;
    }
    bool ok = ids_of(w, text, &ids, err) && (dry || (e = add(w, text, tokens, err))) &&
              encode(w, o, &ids, tokens, e ? e->states : NULL, err);
    tokenizer_ids_free(&ids);
    if (e && !ok) { /* it is the last one */
        w->count--;
        entry_free(e);
    } else if (e) {
        e->used = w->clock;
        *states = e->states;
    }
    return ok;
}

bool qwen_words_say(struct qwen_words *w, struct ops *o, const struct family_prompt *prompt,
                    struct family_words *out, struct err *err)
{
    int tokens;
    if (!count_tokens(w, prompt, &tokens, err))
        return false;
    w->clock += !arena_planning(o->arena);
    for (size_t i = 0; i < prompt->count; i++) {
        const float *states;
        if (!say(w, o, prompt->texts[i], tokens, &states, err))
            return false;
        out[i] =
            (struct family_words){.tokens = tokens, .states = states, .negative = prompt->negative};
    }
    return true;
}
