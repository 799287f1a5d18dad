/* chunk.c: A chunk that is full is cut behind its last comma, if that is near enough, so that a
 * phrase is rarely torn apart: what stood behind the comma moves to the next chunk. The vectors of
 * one word stay together: what has no room for them is filled up. (All of this is as the SD WebUI
 * does it.) */
#include "engine/text/chunk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/prompt.h"

#define ROOM (CHUNK_LENGTH - 2) /* tokens between start and end */

struct builder {
    struct chunk_list *out; /* out->at[out->count] is the chunk that is being filled */
    int pad;
    const struct chunk_style *style;
    int used;  /* tokens in it */
    int comma; /* place of its last comma, -1: none */
};

/* Ends the current chunk after `keep` tokens; the others begin the next. */
static void end_chunk(struct builder *b, int keep)
{
    struct chunk *c = &b->out->at[b->out->count++];
    int moved = b->used - keep;
    memcpy(c[1].ids + 1, c->ids + 1 + keep, (size_t)moved * sizeof *c->ids);
    memcpy(c[1].weights + 1, c->weights + 1 + keep, (size_t)moved * sizeof *c->weights);
    c->ids[0] = TOKENIZER_START;
    c->weights[0] = 1;
    for (int i = 1 + keep; i < CHUNK_LENGTH; i++) {
        c->ids[i] = i == 1 + keep ? TOKENIZER_END : b->pad;
        c->weights[i] = 1;
    }
    b->used = moved;
    b->comma = -1;
}

static bool check_room(const struct builder *b, struct err *err)
{
    return b->out->count < CHUNK_LIMIT ||
           err_set(err, ERR_TOO_LARGE, "prompt: wanted at most %d tokens in %d chunks",
                   CHUNK_LIMIT * ROOM, CHUNK_LIMIT);
}

/* Ends a full chunk, for what begins with this token. */
static bool make_room(struct builder *b, int id, struct err *err)
{
    if (id == TOKENIZER_COMMA)
        b->comma = b->used;
    if (b->used == ROOM) {
        bool near =
            id != TOKENIZER_COMMA && b->comma >= 0 && b->used - b->comma <= b->style->backtrack;
        end_chunk(b, near ? b->comma + 1 : ROOM);
    }
    return check_room(b, err);
}

static void put(struct builder *b, int id, float weight)
{
    struct chunk *c = &b->out->at[b->out->count];
    c->ids[1 + b->used] = id;
    c->weights[1 + b->used++] = weight;
    b->out->weighted |= weight != 1;
}

/* The vectors of a word, in one chunk. */
static bool add_vectors(struct builder *b, const struct vocabulary_match *m, float weight,
                        struct err *err)
{
    if (m->vectors > ROOM)
        return err_set(err, ERR_INVALID, "a word of %d vectors: wanted at most %d", m->vectors,
                       ROOM);
    if (b->used + m->vectors > ROOM)
        end_chunk(b, b->used);
    if (!check_room(b, err))
        return false;
    for (int i = 0; i < m->vectors; i++)
        put(b, m->first + i, weight);
    return true;
}

static bool add_part(struct builder *b, const struct tokenizer *t, const struct prompt_part *part,
                     struct tokenizer_ids *ids, struct err *err)
{
    if (part->is_break) {
        if (b->out->count < CHUNK_LIMIT)
            end_chunk(b, b->used);
        return true;
    }
    ids->count = 0;
    if (!tokenizer_encode(t, part->text, part->len, ids, err))
        return false;
    float weight = b->style->unweighted ? 1 : (float)part->weight;
    for (size_t i = 0; i < ids->count;) {
        struct vocabulary_match m;
        if (!make_room(b, ids->at[i], err))
            return false;
        if (!vocabulary_match(b->style->vocabulary, ids->at + i, ids->count - i, &m))
            put(b, ids->at[i++], weight);
        else if (add_vectors(b, &m, weight, err))
            i += m.tokens;
        else
            return false;
    }
    return true;
}

static bool parse(const char *prompt, const struct chunk_style *style, struct prompt *out,
                  struct err *err)
{
    return style->literal ? prompt_literal(prompt, out, err) : prompt_parse(prompt, out, err);
}

bool chunk_prompt(const struct tokenizer *t, const char *prompt, int pad,
                  const struct chunk_style *style, struct chunk_list *out, struct err *err)
{
    static const struct chunk_style usual = {.backtrack = CHUNK_BACKTRACK};
    *out = (struct chunk_list){0};
    struct prompt parsed;
    if (!style)
        style = &usual;
    if (!parse(prompt, style, &parsed, err))
        return false;
    struct tokenizer_ids ids = {0};
    struct builder b = {.out = out, .pad = pad, .style = style, .comma = -1};
    out->at = calloc(CHUNK_LIMIT + 1, sizeof *out->at); /* one more, for what is not yet full */
    bool ok = out->at || err_set(err, ERR_INTERNAL, "out of memory for a prompt's chunks");
    for (size_t i = 0; ok && i < parsed.count; i++)
        ok = add_part(&b, t, &parsed.parts[i], &ids, err);
    if (ok) {
        out->tokens = out->count * ROOM + (size_t)b.used;
        if (b.used || !out->count)
            end_chunk(&b, b.used);
    } else {
        chunk_list_free(out);
    }
    tokenizer_ids_free(&ids);
    prompt_free(&parsed);
    return ok;
}

void chunk_fill(struct chunk_list *list, size_t count, int pad)
{
    struct builder b = {.out = list, .pad = pad};
    assert(count <= CHUNK_LIMIT);
    while (list->count < count)
        end_chunk(&b, 0);
}

bool chunk_check_total(size_t texts, size_t chunks, struct err *err)
{
    return texts * chunks <= CHUNK_TOTAL ||
           err_set(err, ERR_TOO_LARGE,
                   "prompt: wanted at most %d chunks of %d tokens in all the texts that it "
                   "becomes, found %zu texts of up to %zu chunks",
                   CHUNK_TOTAL, ROOM, texts, chunks);
}

void chunk_list_free(struct chunk_list *list)
{
    free(list->at);
    *list = (struct chunk_list){0};
}
