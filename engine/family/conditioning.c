/* conditioning.c: Chunks are encoded one by one and stand one after another on the token axis,
 * encoders side by side on the channel axis. A token's weight scales its vector; the chunk's mean
 * is then put back to what it was, so that weights move attention about without brightening the
 * picture (SD WebUI's "original" emphasis). */
#include "engine/family/conditioning.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/chunk.h"

#define KEPT FAMILY_PROMPTS
/* Chunks that are kept: what the prompts of a picture's two passes may have, or more. */
#define KEPT_CHUNKS (2 * FAMILY_CHUNKS) /* a second pass may have its own */

/* How a prompt is read. */
struct reading {
    int skip;
    struct chunk_style style;
    bool balanced; /* the mean is put back */
};

struct entry {
    char **texts; /* [count]; NULL: a free place */
    int *uses;
    size_t count;
    struct reading reading;
    size_t chunks; /* of each text */
    float *states; /* [count] of [tokens, width], then what is pooled */
    unsigned used; /* clock of the last use */
};

struct conditioning {
    struct conditioning_encoder encoders[CONDITIONING_ENCODERS];
    int count;
    const struct tokenizer *tokenizer;
    size_t width, pooled;                /* of all encoders; of the last */
    float *zeros;                        /* a chunk's states and what is pooled */
    const struct vocabulary *vocabulary; /* borrowed, or NULL */
    const float *vectors[CONDITIONING_ENCODERS];
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
    for (size_t i = 0; e->texts && i < e->count; i++)
        free(e->texts[i]);
    free(e->texts);
    free(e->uses);
    free(e->states);
    *e = (struct entry){0};
}

void conditioning_forget(struct conditioning *c)
{
    for (int i = 0; i < KEPT; i++)
        entry_free(&c->kept[i]);
}

void conditioning_name(struct conditioning *c, const struct vocabulary *vocabulary,
                       const float *const vectors[CONDITIONING_ENCODERS])
{
    conditioning_forget(c);
    c->vocabulary = vocabulary;
    for (int i = 0; i < CONDITIONING_ENCODERS; i++)
        c->vectors[i] = vocabulary ? vectors[i] : NULL;
}

void conditioning_free(struct conditioning *c)
{
    if (!c)
        return;
    conditioning_forget(c);
    free(c->zeros);
    free(c);
}

static int layer_of(const struct conditioning_encoder *e, int skip)
{
    return e->skip ? e->skip : skip;
}

static struct reading reading_of(const struct conditioning *c, const struct pictor_params *p)
{
    struct reading r = {
        .skip = p->clip_skip,
        .style = family_style(p),
        .balanced = p->emphasis == PICTOR_EMPHASIS_ORIGINAL,
    };
    if (p->syntax != PICTOR_SYNTAX_PLAIN)
        r.style.vocabulary = c->vocabulary;
    return r;
}

static bool same_reading(const struct reading *a, const struct reading *b)
{
    return a->skip == b->skip && a->style.backtrack == b->style.backtrack &&
           a->style.literal == b->style.literal && a->style.unweighted == b->style.unweighted &&
           a->style.vocabulary == b->style.vocabulary && a->balanced == b->balanced;
}

/* ---- a prompt's chunks ---- */

/* Those of all texts, as many each; lists_free. */
struct lists {
    struct chunk_list *at;
    size_t count, chunks;
    bool weighted; /* some weight is not 1 */
};

static void lists_free(struct lists *l)
{
    for (size_t i = 0; l->at && i < l->count; i++)
        chunk_list_free(&l->at[i]);
    free(l->at);
    *l = (struct lists){0};
}

static bool lists_read(const struct conditioning *c, const struct family_prompt *prompt,
                       const struct reading *reading, int pad, struct lists *out, struct err *err)
{
    *out = (struct lists){.at = calloc(prompt->count, sizeof *out->at), .count = prompt->count};
    bool ok = out->at || err_set(err, ERR_INTERNAL, "no memory for a prompt's chunks");
    for (size_t i = 0; ok && i < prompt->count; i++) {
        ok = chunk_prompt(c->tokenizer, prompt->texts[i], pad, &reading->style, &out->at[i], err);
        if (ok && out->at[i].count > out->chunks)
            out->chunks = out->at[i].count;
        out->weighted |= out->at[i].weighted;
    }
    ok = ok && chunk_check_total(out->count, out->chunks, err);
    for (size_t i = 0; ok && i < out->count; i++)
        chunk_fill(&out->at[i], out->chunks, pad);
    if (!ok)
        lists_free(out);
    return ok;
}

/* A planning pass: how many tokens there are, and what a chunk takes. */
static bool plan(const struct conditioning *c, struct ops *o, const struct family_prompt *prompt,
                 const struct reading *reading, struct family_words *out, struct err *err)
{
    struct lists lists;
    if (!lists_read(c, prompt, reading, c->encoders[0].pad, &lists, err))
        return false;
    for (size_t i = 0; i < prompt->count; i++)
        out[i] = (struct family_words){.tokens = (int)lists.chunks * CHUNK_LENGTH};
    lists_free(&lists);
    for (int i = 0; i < c->count; i++)
        clip_encode(o, c->encoders[i].clip, NULL, CHUNK_LENGTH, NULL,
                    layer_of(&c->encoders[i], reading->skip), NULL, NULL);
    return true;
}

/* ---- what is kept ---- */

static bool is_of(const struct entry *e, const struct family_prompt *prompt,
                  const struct reading *reading)
{
    if (!e->texts || e->count != prompt->count || !same_reading(&e->reading, reading))
        return false;
    for (size_t i = 0; i < e->count; i++)
        if (e->uses[i] != (prompt->uses ? prompt->uses[i] : 1) ||
            strcmp(e->texts[i], prompt->texts[i]) != 0)
            return false;
    return true;
}

/* The kept prompt, if it is one of them. */
static struct entry *find(struct conditioning *c, const struct family_prompt *prompt,
                          const struct reading *reading)
{
    for (int i = 0; i < KEPT; i++)
        if (is_of(&c->kept[i], prompt, reading))
            return &c->kept[i];
    return NULL;
}

/* A place for a prompt of so many chunks; what was used least lately goes. */
static struct entry *make_room(struct conditioning *c, size_t chunks)
{
    for (;;) {
        struct entry *place = NULL, *oldest = NULL;
        size_t sum = chunks;
        for (int i = 0; i < KEPT; i++) {
            struct entry *e = &c->kept[i];
            sum += e->texts ? e->count * e->chunks : 0;
            if (!e->texts)
                place = e;
            else if (!oldest || e->used < oldest->used)
                oldest = e;
        }
        if (place && (sum <= KEPT_CHUNKS || !oldest))
            return place;
        entry_free(oldest);
    }
}

static bool entry_init(struct entry *e, const struct family_prompt *prompt,
                       const struct reading *reading, size_t chunks, size_t floats)
{
    *e = (struct entry){.texts = calloc(prompt->count, sizeof *e->texts),
                        .uses = malloc(prompt->count * sizeof *e->uses),
                        .states = malloc(prompt->count * floats * sizeof *e->states),
                        .count = prompt->count,
                        .reading = *reading,
                        .chunks = chunks};
    bool ok = e->texts && e->uses && e->states;
    for (size_t i = 0; ok && i < prompt->count; i++) {
        e->uses[i] = prompt->uses ? prompt->uses[i] : 1;
        ok = (e->texts[i] = strdup(prompt->texts[i])) != NULL;
    }
    if (!ok)
        entry_free(e);
    return ok;
}

/* ---- encoding ---- */

/* Floats of one text: states and what is pooled. */
static size_t text_size(const struct conditioning *c, size_t chunks)
{
    return chunks * CHUNK_LENGTH * c->width + c->pooled;
}

/* One encoder's share of one chunk of all texts. */
struct share {
    float *first;        /* of the first text */
    size_t text, stride; /* floats from text to text, from token to token */
    size_t width, texts;
    const int *uses;
};

static double mean_of(const struct share *s)
{
    double sum = 0, uses = 0;
    for (size_t t = 0; t < s->texts; t++) {
        double part = 0;
        for (size_t i = 0; i < CHUNK_LENGTH; i++)
            for (size_t j = 0; j < s->width; j++)
                part += s->first[t * s->text + i * s->stride + j];
        sum += s->uses[t] * part;
        uses += s->uses[t];
    }
    return sum / (uses * (double)(CHUNK_LENGTH * s->width));
}

/* Chunk `k` of the lists; the mean is that of all texts, as often as each is there. */
static void weigh(const struct share *s, const struct lists *lists, size_t k, bool balanced)
{
    double before = mean_of(s);
    for (size_t t = 0; t < s->texts; t++)
        for (size_t i = 0; i < CHUNK_LENGTH; i++)
            for (size_t j = 0; j < s->width; j++)
                s->first[t * s->text + i * s->stride + j] *= lists->at[t].at[k].weights[i];
    double after = mean_of(s);
    if (after == 0 || !balanced) /* 0: every weight was zero */
        return;
    float back = (float)(before / after);
    for (size_t t = 0; t < s->texts; t++)
        for (size_t i = 0; i < CHUNK_LENGTH; i++)
            for (size_t j = 0; j < s->width; j++)
                s->first[t * s->text + i * s->stride + j] *= back;
}

/* One encoder's share of all texts: states [.., c->width] from column `at` on, and what is pooled
 * where it is the last one. `buffer`: a chunk of the encoder's states, and what it pools. */
static void encode_texts(const struct conditioning *c, struct ops *o, int encoder,
                         const struct lists *lists, const struct entry *entry, size_t at,
                         float *buffer)
{
    const struct conditioning_encoder *e = &c->encoders[encoder];
    size_t width = (size_t)clip_width(e->clip), size = text_size(c, lists->chunks);
    float *other = buffer + CHUNK_LENGTH * width;
    for (size_t k = 0; k < lists->chunks; k++) {
        size_t first = k * CHUNK_LENGTH * c->width + at;
        for (size_t t = 0; t < lists->count; t++) {
            float *states = entry->states + t * size;
            bool pools = k == 0 && encoder == c->count - 1;
            clip_encode(o, e->clip, lists->at[t].at[k].ids, CHUNK_LENGTH, c->vectors[encoder],
                        layer_of(e, entry->reading.skip), buffer,
                        pools ? states + size - c->pooled : other);
            for (size_t i = 0; i < CHUNK_LENGTH; i++)
                memcpy(states + first + i * c->width, buffer + i * width, width * sizeof *states);
        }
        struct share share = {entry->states + first, size,       c->width, width,
                              lists->count,          entry->uses};
        if (lists->weighted)
            weigh(&share, lists, k, entry->reading.balanced);
    }
}

/* Fills `entry`, which is not yet one of those kept. */
static bool encode(const struct conditioning *c, struct ops *o, const struct family_prompt *prompt,
                   const struct reading *reading, struct entry *entry, struct err *err)
{
    size_t at = 0;
    bool ok = true;
    *entry = (struct entry){0};
    for (int i = 0; ok && i < c->count; i++) {
        const struct conditioning_encoder *e = &c->encoders[i];
        size_t width = (size_t)clip_width(e->clip), pooled = (size_t)clip_projection(e->clip);
        struct lists lists;
        if (!(ok = lists_read(c, prompt, reading, e->pad, &lists, err)))
            break;
        float *buffer = malloc((CHUNK_LENGTH * width + pooled) * sizeof *buffer);
        ok = (buffer && (i > 0 || entry_init(entry, prompt, reading, lists.chunks,
                                             text_size(c, lists.chunks)))) ||
             err_set(err, ERR_INTERNAL, "no memory for a prompt of %zu tokens",
                     lists.chunks * CHUNK_LENGTH);
        if (ok)
            encode_texts(c, o, i, &lists, entry, at, buffer);
        if (ok && device_stopped(o->dev))
            ok = err_set(err, ERR_CANCELLED, "cancelled");
        at += width;
        free(buffer);
        lists_free(&lists);
    }
    if (!ok)
        entry_free(entry);
    return ok;
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

bool conditioning_encode(struct conditioning *c, struct ops *o, const struct pictor_params *params,
                         const struct family_prompt *prompt, struct family_words *out,
                         struct err *err)
{
    struct reading reading = reading_of(c, params);
    if (arena_planning(o->arena))
        return plan(c, o, prompt, &reading, out, err);
    struct entry *e = find(c, prompt, &reading), fresh;
    if (!e) {
        if (!encode(c, o, prompt, &reading, &fresh, err))
            return false;
        e = make_room(c, fresh.count * fresh.chunks);
        *e = fresh;
    }
    e->used = ++c->clock;
    for (size_t i = 0; i < prompt->count; i++)
        out[i] =
            words_of(c, (int)e->chunks * CHUNK_LENGTH, e->states + i * text_size(c, e->chunks));
    return true;
}
