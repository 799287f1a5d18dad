/* conditioning.c: Chunks are encoded one by one and stand one after another on the token axis. A
 * token's weight scales its vector; the chunk's mean is then put back to what it was, so that
 * weights move attention about without brightening the picture (SD WebUI's "original" emphasis). */
#include "engine/family/conditioning.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/chunk.h"

#define KEPT 4

struct entry {
    char *prompt;
    int skip, tokens;
    float *states; /* [tokens, width] */
    unsigned used; /* clock of the last use */
};

struct conditioning {
    const struct clip *clip;
    const struct tokenizer *tokenizer;
    int width, pad;
    unsigned clock;
    struct entry kept[KEPT];
};

struct conditioning *conditioning_new(const struct clip *clip, const struct tokenizer *tokenizer,
                                      int pad, struct err *err)
{
    struct conditioning *c = calloc(1, sizeof *c);
    if (!c) {
        err_set(err, ERR_INTERNAL, "no memory for conditioning");
        return NULL;
    }
    c->clip = clip;
    c->tokenizer = tokenizer;
    c->width = clip_width(clip);
    c->pad = pad;
    return c;
}

static void entry_free(struct entry *e)
{
    free(e->prompt);
    free(e->states);
    *e = (struct entry){0};
}

void conditioning_free(struct conditioning *c)
{
    if (!c)
        return;
    for (int i = 0; i < KEPT; i++)
        entry_free(&c->kept[i]);
    free(c);
}

static double mean_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static void weigh(float *states, const struct chunk *chunk, int width)
{
    size_t n = (size_t)CHUNK_LENGTH * (size_t)width;
    double before = mean_of(states, n);
    for (int i = 0; i < CHUNK_LENGTH; i++)
        for (int j = 0; j < width; j++)
            states[(size_t)i * (size_t)width + (size_t)j] *= chunk->weights[i];
    double after = mean_of(states, n);
    if (after == 0) /* every weight was zero */
        return;
    float back = (float)(before / after);
    for (size_t i = 0; i < n; i++)
        states[i] *= back;
}

/* A planning pass: how many tokens there are, and what a chunk takes. */
static bool plan(const struct conditioning *c, struct ops *o, const char *prompt, int skip,
                 struct family_words *out, struct err *err)
{
    struct chunk_list list;
    if (!chunk_prompt(c->tokenizer, prompt, c->pad, &list, err))
        return false;
    *out = (struct family_words){.tokens = (int)list.count * CHUNK_LENGTH};
    chunk_list_free(&list);
    clip_encode(o, c->clip, NULL, CHUNK_LENGTH, skip, NULL);
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

static bool encode(struct conditioning *c, struct ops *o, const char *prompt, int skip,
                   struct entry *out, struct err *err)
{
    struct chunk_list list;
    if (!chunk_prompt(c->tokenizer, prompt, c->pad, &list, err))
        return false;
    struct entry fresh = {.skip = skip, .tokens = (int)list.count * CHUNK_LENGTH};
    size_t chunk_size = (size_t)CHUNK_LENGTH * (size_t)c->width;
    fresh.prompt = strdup(prompt);
    fresh.states = malloc(list.count * chunk_size * sizeof *fresh.states);
    if (!fresh.prompt || !fresh.states) {
        chunk_list_free(&list);
        entry_free(&fresh);
        return err_set(err, ERR_INTERNAL, "no memory for a prompt of %d tokens", fresh.tokens);
    }
    for (size_t i = 0; i < list.count; i++) {
        float *states = fresh.states + i * chunk_size;
        clip_encode(o, c->clip, list.at[i].ids, CHUNK_LENGTH, skip, states);
        if (list.weighted)
            weigh(states, &list.at[i], c->width);
    }
    chunk_list_free(&list);
    entry_free(out);
    *out = fresh;
    return true;
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
    *out = (struct family_words){.tokens = e->tokens, .states = e->states};
    return true;
}
