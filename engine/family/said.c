/* said.c: What a text became is kept until FAMILY_PROMPTS prompts were asked for after it, and then
 * as long as all that is kept is not much. A prompt that changes while it is painted is many texts:
 * they are of one age. */
#include "engine/family/said.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/family/family.h"

#define KEPT 64
/* Chunks that are kept: what the prompts of a picture's two passes may have, or more. */
#define KEPT_CHUNKS (2 * (size_t)FAMILY_CHUNKS)
#define KEPT_BYTES ((size_t)64 << 20) /* of what no picture at work can need */

struct entry {
    char *text;
    float *numbers;
    int tokens, form;
    size_t bytes;
    uint64_t used; /* the prompt, counted from 1, that it was last a text of */
};

struct said {
    struct entry *kept;
    size_t count, room;
    uint64_t clock; /* prompts so far */
};

struct said *said_new(struct err *err)
{
    struct said *s = calloc(1, sizeof *s);
    if (!s)
        err_set(err, ERR_INTERNAL, "no memory for words");
    return s;
}

static void entry_free(struct entry *e)
{
    free(e->text);
    free(e->numbers);
}

void said_forget(struct said *s)
{
    for (size_t i = 0; i < s->count; i++)
        entry_free(&s->kept[i]);
    s->count = 0;
}

void said_free(struct said *s)
{
    if (!s)
        return;
    said_forget(s);
    free(s->kept);
    free(s);
}

void said_begin(struct said *s)
{
    s->clock++;
}

/* Lets go of what was asked for longest ago, but of nothing that a picture may need, whose own
 * prompts came last; `chunks` more are to come. */
static void make_room(struct said *s, size_t chunks)
{
    for (;;) {
        struct entry *oldest = NULL;
        size_t old = 0, sum = chunks;
        for (size_t i = 0; i < s->count; i++) {
            struct entry *e = &s->kept[i];
            sum += family_chunks(e->tokens);
            if (e->used + FAMILY_PROMPTS <= s->clock)
                old += e->bytes;
            if (e->used < s->clock && (!oldest || e->used < oldest->used))
                oldest = e;
        }
        if (!oldest)
            return;
        bool needed = oldest->used + FAMILY_PROMPTS > s->clock;
        if (sum <= KEPT_CHUNKS && (needed || (old <= KEPT_BYTES && s->count <= KEPT)))
            return;
        entry_free(oldest);
        *oldest = s->kept[--s->count];
    }
}

const float *said_find(struct said *s, const char *text, int tokens, int form)
{
    for (size_t i = 0; i < s->count; i++) {
        struct entry *e = &s->kept[i];
        if (e->tokens != tokens || e->form != form || strcmp(e->text, text) != 0)
            continue;
        e->used = s->clock;
        return e->numbers;
    }
    return NULL;
}

float *said_add(struct said *s, const char *text, int tokens, int form, size_t count,
                struct err *err)
{
    make_room(s, family_chunks(tokens));
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : KEPT;
        struct entry *kept = realloc(s->kept, room * sizeof *kept);
        if (!kept) {
            err_set(err, ERR_INTERNAL, "no memory for words");
            return NULL;
        }
        s->kept = kept;
        s->room = room;
    }
    struct entry *e = &s->kept[s->count];
    *e = (struct entry){.text = strdup(text),
                        .tokens = tokens,
                        .form = form,
                        .bytes = count * sizeof(float),
                        .used = s->clock};
    e->numbers = malloc(e->bytes);
    if (e->text && e->numbers) {
        s->count++;
        return e->numbers;
    }
    entry_free(e);
    err_set(err, ERR_INTERNAL, "no memory for words of %d tokens", tokens);
    return NULL;
}

void said_drop(struct said *s)
{
    entry_free(&s->kept[--s->count]);
}
