/* t5_words.c: What a text became is [tokens, width] of the network's own, and behind it what the
 * CLIPs pool. */
#include "engine/family/t5_words.h"

#include <stdlib.h>
#include <string.h>

#include "engine/family/said.h"
#include "engine/family/t5_vocabulary.h"
#include "engine/text/tokenizer.h"

#define CHUNK 77
#define WITHIN T5_WORDS_CHUNK

struct t5_words {
    struct t5_words_how how;
    struct said *said;
    struct t5_vocabulary *vocabulary;
    struct tokenizer *tokenizer; /* CLIP's */
};

static bool read_vocabulary(struct t5_words *w, const struct checkpoint *cp, struct err *err)
{
    size_t rows = (size_t)t5_vocab(w->how.t5);
    if (!(w->vocabulary = t5_vocabulary_read(cp, err)))
        return false;
    return t5_vocabulary_count(w->vocabulary) <= rows ||
           err_set(err, ERR_INVALID,
                   "T5's vocabulary: wanted at most %zu pieces, which the text encoder has, found "
                   "%zu",
                   rows, t5_vocabulary_count(w->vocabulary));
}

struct t5_words *t5_words_new(const struct checkpoint *cp, const struct t5_words_how *how,
                              struct err *err)
{
    struct t5_words *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(err, ERR_INTERNAL, "no memory for words");
        return NULL;
    }
    w->how = *how;
    if ((w->said = said_new(err)) && (w->tokenizer = tokenizer_new(err)) &&
        (!how->t5 || read_vocabulary(w, cp, err)))
        return w;
    t5_words_free(w);
    return NULL;
}

void t5_words_free(struct t5_words *w)
{
    if (!w)
        return;
    said_free(w->said);
    t5_vocabulary_free(w->vocabulary);
    tokenizer_free(w->tokenizer);
    free(w);
}

void t5_words_forget(struct t5_words *w)
{
    said_forget(w->said);
}

/* ---- a text ---- */

/* What a text is to either: tokens of T5's with its end, and of CLIP's without any. */
struct ids {
    struct tokenizer_ids t5, clip;
};

static void ids_free(struct ids *ids)
{
    tokenizer_ids_free(&ids->t5);
    tokenizer_ids_free(&ids->clip);
}

static int chunks_of(const struct t5_words *w, const struct ids *ids)
{
    int n = (int)((ids->clip.count + WITHIN - 1) / WITHIN);
    return n && w->how.stated ? n : 1;
}

static bool read_text(const struct t5_words *w, const char *text, struct ids *ids, struct err *err)
{
    *ids = (struct ids){0};
    if (!tokenizer_encode(w->tokenizer, text, strlen(text), &ids->clip, err))
        return false;
    if (chunks_of(w, ids) > T5_WORDS_CHUNKS)
        return err_set(err, ERR_TOO_LARGE, "wanted a prompt of at most %d tokens, got %zu",
                       T5_WORDS_CHUNKS * WITHIN, ids->clip.count);
    return !w->vocabulary || t5_vocabulary_tokens(w->vocabulary, text, &ids->t5, err);
}

/* How long all texts of a prompt are. */
struct lengths {
    int chunks, t5;
};

static int tokens_of(const struct t5_words *w, const struct lengths *n)
{
    return n->t5 + (w->how.stated ? CHUNK * n->chunks : 0);
}

static bool measure(const struct t5_words *w, const struct family_prompt *prompt,
                    struct lengths *out, struct err *err)
{
    *out = (struct lengths){1, w->how.padded};
    for (size_t i = 0; i < prompt->count; i++) {
        struct ids ids;
        bool ok = read_text(w, prompt->texts[i], &ids, err);
        if (ok && (int)ids.t5.count > out->t5)
            out->t5 = (int)ids.t5.count;
        if (ok && chunks_of(w, &ids) > out->chunks)
            out->chunks = chunks_of(w, &ids);
        ids_free(&ids);
        if (!ok)
            return false;
    }
    return true;
}

static int pooled_width(const struct t5_words *w)
{
    int sum = 0;
    for (int i = 0; i < w->how.clip_count; i++)
        sum += clip_projection(w->how.clips[i]);
    return sum;
}

/* One chunk by one CLIP: its states into channels from `from` on of states [CHUNK, text], which may
 * be NULL, what it pools into `pooled`, of the first chunk alone. */
static void say_chunk(const struct t5_words *w, struct ops *o, const struct ids *ids, int which,
                      int chunk, size_t from, float *states, float *pooled)
{
    size_t mark = arena_mark(o->arena);
    const struct clip *clip = w->how.clips[which];
    size_t width = (size_t)clip_width(clip), first = (size_t)chunk * WITHIN, n = 0;
    bool real = !arena_planning(o->arena);
    float *own = arena_alloc(o->arena, CHUNK * width, sizeof *own);
    float *whole = arena_alloc(o->arena, (size_t)clip_projection(clip), sizeof *whole);
    int row[CHUNK];
    row[n++] = TOKENIZER_START;
    for (size_t i = first; i < ids->clip.count && n <= WITHIN; i++)
        row[n++] = ids->clip.at[i];
    row[n++] = TOKENIZER_END;
    while (n < CHUNK)
        row[n++] = w->how.pads[which];
    clip_encode(o, clip, row, CHUNK, NULL, 2, own, whole);
    for (int i = 0; i < CHUNK && real && states; i++)
        memcpy(states + (size_t)i * (size_t)w->how.text + from, own + (size_t)i * width,
               width * sizeof *own);
    if (real && chunk == 0)
        memcpy(pooled, whole, (size_t)clip_projection(clip) * sizeof *whole);
    arena_reset(o->arena, mark);
}

/* out: [tokens, width] and what is pooled. */
static void encode(const struct t5_words *w, struct ops *o, struct ids *ids,
                   const struct lengths *n, float *out)
{
    size_t mark = arena_mark(o->arena), text = (size_t)w->how.text;
    int tokens = tokens_of(w, n), padded[T5_VOCABULARY_MOST];
    bool real = !arena_planning(o->arena);
    float *states = arena_alloc(o->arena, (size_t)tokens * text, sizeof *states);
    float *pooled = real ? out + (size_t)tokens * (size_t)w->how.width : NULL;
    if (real)
        memset(states, 0, (size_t)tokens * text * sizeof *states);
    for (int c = 0; c < (w->how.stated ? n->chunks : 1); c++)
        for (size_t i = 0, from = 0, at = 0; i < (size_t)w->how.clip_count; i++) {
            bool kept = real && w->how.stated;
            say_chunk(w, o, ids, (int)i, c, from, kept ? states + (size_t)c * CHUNK * text : NULL,
                      real ? pooled + at : NULL);
            from += (size_t)clip_width(w->how.clips[i]);
            at += (size_t)clip_projection(w->how.clips[i]);
        }
    for (int i = 0; i < n->t5; i++)
        padded[i] = i < (int)ids->t5.count ? ids->t5.at[i] : 0;
    if (w->how.t5 && w->how.begin && real)
        w->how.begin(w->how.ctx);
    if (w->how.t5)
        t5_encode(o, w->how.t5, padded, n->t5,
                  real ? states + (size_t)(tokens - n->t5) * text : states);
    w->how.take(w->how.ctx, o, states, tokens, out);
    arena_reset(o->arena, mark);
}

static bool say(struct t5_words *w, struct ops *o, const char *text, const struct lengths *n,
                const float **out, struct err *err)
{
    bool dry = arena_planning(o->arena);
    int tokens = tokens_of(w, n);
    size_t count = (size_t)tokens * (size_t)w->how.width + (size_t)pooled_width(w);
    *out = dry ? NULL : said_find(w->said, text, tokens, n->chunks);
    if (*out)
        return true;
    struct ids ids;
    float *added = NULL;
    bool ok = read_text(w, text, &ids, err) &&
              (dry || (added = said_add(w->said, text, tokens, n->chunks, count, err)));
    if (ok)
        encode(w, o, &ids, n, added);
    ids_free(&ids);
    if (ok && !dry && device_stopped(o->dev)) {
        said_drop(w->said);
        return err_set(err, ERR_CANCELLED, "cancelled");
    }
    *out = added;
    return ok;
}

bool t5_words_say(struct t5_words *w, struct ops *o, const struct family_prompt *prompt,
                  struct family_words *out, struct err *err)
{
    struct lengths n;
    if (!measure(w, prompt, &n, err))
        return false;
    if (!arena_planning(o->arena))
        said_begin(w->said);
    int tokens = tokens_of(w, &n);
    size_t states = (size_t)tokens * (size_t)w->how.width;
    for (size_t i = 0; i < prompt->count; i++) {
        const float *numbers;
        if (!say(w, o, prompt->texts[i], &n, &numbers, err))
            return false;
        out[i] = (struct family_words){.tokens = tokens,
                                       .states = numbers,
                                       .pooled = numbers ? numbers + states : NULL,
                                       .negative = prompt->negative};
    }
    return true;
}
