/* conditioning.c: Chunks are encoded one by one and stand one after another on the token axis,
 * encoders side by side on the channel axis. A token's weight scales its vector; the chunk's mean
 * is then put back to what it was, so that weights move attention about without brightening the
 * picture (SD WebUI's "original" emphasis). */
#include "engine/family/conditioning.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/chunk.h"

#define KEPT 4

struct entry {
    char *prompt;
    int skip, tokens;
    float *states; /* [tokens, width], then what is pooled */
    unsigned used; /* clock of the last use */
};

struct conditioning {
    struct conditioning_encoder encoders[CONDITIONING_ENCODERS];
    int count;
    const struct tokenizer *tokenizer;
    size_t width, pooled; /* of all encoders; of the last */
    float *zeros;         /* a chunk's states and what is pooled */
    unsigned clock;
    struct entry kept[KEPT];
};

struct conditioning *conditioning_new(const struct conditioning_encoder *encoders, int count,
                                      const struct tokenizer *tokenizer, struct err *err)
{
    struct conditioning *c = calloc(1, sizeof *c);
    assert(count >= 1 && count <= CONDITIONING_ENCODERS);
    if (c) {
        c->count = count;
        c->tokenizer = tokenizer;
        for (int i = 0; i < count; i++) {
            c->encoders[i] = encoders[i];
            c->width += (size_t)clip_width(encoders[i].clip);
        }
        c->pooled = (size_t)clip_projection(encoders[count - 1].clip);
        c->zeros = calloc(CHUNK_LENGTH * c->width + c->pooled, sizeof *c->zeros);
    }
    if (c && c->zeros)
        return c;
    err_set(err, ERR_INTERNAL, "no memory for conditioning");
    conditioning_free(c);
    return NULL;
}

static void entry_free(struct entry *e)
{
    free(e->prompt);
    free(e->states);
    *e = (struct entry){0};
}

void conditioning_forget(struct conditioning *c)
{
    for (int i = 0; i < KEPT; i++)
        entry_free(&c->kept[i]);
}

void conditioning_free(struct conditioning *c)
{
    if (!c)
        return;
    conditioning_forget(c);
    free(c->zeros);
    free(c);
}

static double mean_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static void weigh(float *states, const struct chunk *chunk, size_t width)
{
    size_t n = CHUNK_LENGTH * width;
    double before = mean_of(states, n);
    for (size_t i = 0; i < CHUNK_LENGTH; i++)
        for (size_t j = 0; j < width; j++)
            states[i * width + j] *= chunk->weights[i];
    double after = mean_of(states, n);
    if (after == 0) /* every weight was zero */
        return;
    float back = (float)(before / after);
    for (size_t i = 0; i < n; i++)
        states[i] *= back;
}

static int layer_of(const struct conditioning_encoder *e, int skip)
{
    return e->skip ? e->skip : skip;
}

/* A planning pass: how many tokens there are, and what a chunk takes. */
static bool plan(const struct conditioning *c, struct ops *o, const char *prompt, int skip,
                 struct family_words *out, struct err *err)
{
    struct chunk_list list;
    if (!chunk_prompt(c->tokenizer, prompt, c->encoders[0].pad, &list, err))
        return false;
    *out = (struct family_words){.tokens = (int)list.count * CHUNK_LENGTH};
    chunk_list_free(&list);
    for (int i = 0; i < c->count; i++)
        clip_encode(o, c->encoders[i].clip, NULL, CHUNK_LENGTH, layer_of(&c->encoders[i], skip),
                    NULL, NULL);
    return true;
}

/* The kept prompt, if it is one of them; else NULL, and *place is where it may go. */
static struct entry *find(struct conditioning *c, const char *prompt, int skip,
                          struct entry **place)
{
    struct entry *oldest = &c->kept[0];
    for (int i = 0; i < KEPT; i++) {
        struct entry *e = &c->kept[i];
        if (e->prompt && e->skip == skip && strcmp(e->prompt, prompt) == 0)
            return e;
        if (e->used < oldest->used)
            oldest = e;
    }
    *place = oldest;
    return NULL;
}

/* One encoder's share of all chunks: states [.., c->width] from column `at` on. `buffer`: a chunk
 * of the encoder's states, and what it pools. */
static void encode_chunks(const struct conditioning *c, struct ops *o,
                          const struct conditioning_encoder *e, int skip,
                          const struct chunk_list *list, size_t at, float *states, float *pooled,
                          float *buffer)
{
    size_t width = (size_t)clip_width(e->clip);
    float *other = buffer + CHUNK_LENGTH * width;
    for (size_t i = 0; i < list->count; i++) {
        clip_encode(o, e->clip, list->at[i].ids, CHUNK_LENGTH, layer_of(e, skip), buffer,
                    i == 0 && pooled ? pooled : other);
        if (list->weighted)
            weigh(buffer, &list->at[i], width);
        for (size_t j = 0; j < CHUNK_LENGTH; j++)
            memcpy(states + (i * CHUNK_LENGTH + j) * c->width + at, buffer + j * width,
                   width * sizeof *states);
    }
}

static bool encode(struct conditioning *c, struct ops *o, const char *prompt, int skip,
                   struct entry *out, struct err *err)
{
    struct entry fresh = {.skip = skip, .prompt = strdup(prompt)};
    size_t at = 0;
    bool ok = true;
    for (int i = 0; ok && i < c->count; i++) {
        const struct conditioning_encoder *e = &c->encoders[i];
        size_t width = (size_t)clip_width(e->clip), pooled = (size_t)clip_projection(e->clip);
        struct chunk_list list;
        if (!(ok = chunk_prompt(c->tokenizer, prompt, e->pad, &list, err)))
            break;
        size_t tokens = list.count * CHUNK_LENGTH;
        fresh.tokens = (int)tokens;
        if (i == 0)
            fresh.states = malloc((tokens * c->width + c->pooled) * sizeof *fresh.states);
        float *buffer = malloc((CHUNK_LENGTH * width + pooled) * sizeof *buffer);
        ok = (fresh.prompt && fresh.states && buffer) ||
             err_set(err, ERR_INTERNAL, "no memory for a prompt of %zu tokens", tokens);
        if (ok)
            encode_chunks(c, o, e, skip, &list, at, fresh.states,
                          i == c->count - 1 ? fresh.states + tokens * c->width : NULL, buffer);
        at += width;
        free(buffer);
        chunk_list_free(&list);
    }
    if (!ok) {
        entry_free(&fresh);
        return false;
    }
    entry_free(out);
    *out = fresh;
    return true;
}

static struct family_words words_of(const struct conditioning *c, int tokens, const float *states)
{
    return (struct family_words){.tokens = tokens,
                                 .states = states,
                                 .pooled = c->pooled ? states + (size_t)tokens * c->width : NULL};
}

void conditioning_zeros(const struct conditioning *c, struct family_words *out)
{
    *out = words_of(c, CHUNK_LENGTH, c->zeros);
}

bool conditioning_encode(struct conditioning *c, struct ops *o, const char *prompt, int skip,
                         struct family_words *out, struct err *err)
{
    if (arena_planning(o->arena))
        return plan(c, o, prompt, skip, out, err);
    struct entry *place, *e = find(c, prompt, skip, &place);
    if (!e) {
        if (!encode(c, o, prompt, skip, place, err))
            return false;
        e = place;
    }
    e->used = ++c->clock;
    *out = words_of(c, e->tokens, e->states);
    return true;
}
