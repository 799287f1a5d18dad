/* editing.c: One pass over the text cuts it into tokens and pairs up the brackets; a bracket that
 * holds what is no syntax, or that has no partner, is text, and so is then every bracket around it.
 * What is left is a list of tokens where each edit knows its end and its separators, so a text at
 * some time is written by walking the list once. */
#include "engine/text/editing.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/prompt.h"
#include "engine/text/unicode.h"

#define DEPTH (2 * PROMPT_DEPTH) /* prompt.c counts round and square brackets apart */

enum kind { TEXT, EDIT, TURNS };

struct token {
    const char *text;
    size_t len;
    enum kind kind;    /* EDIT and TURNS: of the bracket that opens them */
    size_t next, last; /* of those: the first separator and the closing bracket; of a separator:
                          the next one */
    double when;       /* of EDIT: as it is written */
    bool point;        /* which has a point in it */
    int until;         /* or, for a pass: the last call that is before it; of TURNS: how many */
};

/* An open bracket and what its own level holds. */
struct level {
    size_t open;        /* token */
    size_t first, last; /* its separators */
    int colons, bars;
    bool broken; /* something in it is no syntax */
};

struct reader {
    const char *at, *end;
    struct token *tokens;
    size_t count, room;
    struct level levels[DEPTH];
    int depth;
    bool edits; /* there is one */
    bool literal;
    struct err *err;
};

static struct token *add(struct reader *r, size_t len)
{
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        struct token *tokens = realloc(r->tokens, room * sizeof *tokens);
        if (!tokens) {
            err_set(r->err, ERR_INTERNAL, "no memory for a prompt of %zu parts", room);
            return NULL;
        }
        r->tokens = tokens;
        r->room = room;
    }
    struct token *t = &r->tokens[r->count++];
    *t = (struct token){.text = r->at, .len = len};
    r->at += len;
    return t;
}

/* A number with a point or an exponent, as Python's float() reads it; not strtod, which asks the
 * locale what a point is. NULL: there is none at `at`. */
static const char *read_when(const char *at, const char *end, double *out, bool *point)
{
    double sign = 1, value = 0;
    int digits = 0, places = 0, power = 0, power_sign = 1;
    *point = false;
    if (at < end && (*at == '+' || *at == '-'))
        sign = *at++ == '-' ? -1 : 1;
    for (; at < end && ((*at >= '0' && *at <= '9') || (*at == '.' && !*point)); at++) {
        if (*at == '.') {
            *point = true;
            continue;
        }
        digits++;
        value = value * 10 + (*at - '0');
        places += *point;
    }
    if (!digits)
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *p = at + 1;
        if (p < end && (*p == '+' || *p == '-'))
            power_sign = *p++ == '-' ? -1 : 1;
        if (p == end || *p < '0' || *p > '9')
            return NULL;
        for (; p < end && *p >= '0' && *p <= '9'; p++)
            if (power < 10000)
                power = power * 10 + (*p - '0');
        at = p;
    }
    power = power_sign * power - places;
    /* Dividing by a power of ten is exact where multiplying by its inverse is not. */
    *out = sign * (power < 0 ? value / pow(10, -power) : value * pow(10, power));
    return isnan(*out) ? NULL : at;
}

/* Whether the tokens first..last are white space around a number. */
static bool is_when(const struct reader *r, size_t first, size_t last, struct token *out)
{
    if (first != last)
        return false;
    const char *at = r->tokens[first].text, *end = at + r->tokens[first].len;
    at = unicode_skip_space(at, end);
    at = read_when(at, end, &out->when, &out->point);
    return at && unicode_skip_space(at, end) == end;
}

/* A bracket closes: its level is attention, an edit, or no syntax. */
static void close_level(struct reader *r, bool square)
{
    struct level *l = &r->levels[--r->depth];
    size_t last = r->count - 1;
    struct token *open = &r->tokens[l->open];
    bool good = !l->broken;
    if (!good) {
        /* Its separators are text. A bar is none, anywhere but in a [a|b]. */
    } else if (!square) {
        good = l->bars == 0 && l->colons <= 1;
    } else if (l->bars > 0) {
        good = l->colons == 0;
        open->kind = good ? TURNS : TEXT;
        open->until = l->bars + 1;
    } else if (l->colons > 0) {
        good = l->colons <= 2 && is_when(r, l->last + 1, last - 1, open);
        open->kind = good ? EDIT : TEXT;
    }
    if (good && open->kind != TEXT) {
        open->next = l->first;
        open->last = last;
        r->tokens[l->last].next = last;
        r->edits = true;
    }
    if (!good && l->bars > 0)
        r->literal = true;
    if (!good && r->depth > 0)
        r->levels[r->depth - 1].broken = true;
}

/* Brackets without a partner are text, with everything around them. */
static void drop_levels(struct reader *r)
{
    for (; r->depth > 0; r->depth--)
        if (r->levels[r->depth - 1].bars > 0)
            r->literal = true;
}

static bool bracket(struct reader *r)
{
    char c = *r->at;
    if (!add(r, 1))
        return false;
    if (c == '(' || c == '[') {
        if (r->depth == DEPTH)
            return err_set(r->err, ERR_INVALID, "prompt: brackets nested deeper than %d", DEPTH);
        r->levels[r->depth++] = (struct level){.open = r->count - 1};
        return true;
    }
    if (r->depth == 0)
        return true;
    char open = *r->tokens[r->levels[r->depth - 1].open].text;
    if (open == (c == ']' ? '[' : '('))
        close_level(r, c == ']');
    else
        drop_levels(r);
    return true;
}

static bool separator(struct reader *r)
{
    bool bar = *r->at == '|';
    if (!add(r, 1))
        return false;
    if (r->depth == 0) {
        r->literal |= bar;
        return true;
    }
    struct level *l = &r->levels[r->depth - 1];
    size_t here = r->count - 1;
    if (l->colons + l->bars == 0)
        l->first = here;
    else
        r->tokens[l->last].next = here;
    l->last = here;
    if (bar)
        l->bars++;
    else
        l->colons++;
    return true;
}

/* Text up to the next character that means something; a backslash takes that away. */
static bool plain(struct reader *r)
{
    const char *p = r->at;
    while (p < r->end && !strchr("[]():|", *p)) {
        if (*p++ != '\\')
            continue;
        if (p == r->end || *p == '\n') {
            r->literal = true; /* as there */
        } else {
            int c;
            p += unicode_next(p, (size_t)(r->end - p), &c);
        }
    }
    return add(r, (size_t)(p - r->at));
}

static bool read_tokens(struct reader *r)
{
    while (r->at < r->end) {
        char c = *r->at;
        bool ok = strchr("[]()", c) ? bracket(r) : c == ':' || c == '|' ? separator(r) : plain(r);
        if (!ok)
            return false;
    }
    drop_levels(r);
    return true;
}

/* ---- the texts ---- */

struct writer {
    const struct token *tokens;
    char *buffer; /* as long as the prompt */
    size_t used;
};

/* Appends the tokens from..to - 1 as they are at `time`, counted from 1. */
static void put(struct writer *w, size_t from, size_t to, int time)
{
    for (size_t i = from; i < to; i++) {
        const struct token *t = &w->tokens[i];
        size_t begin = i + 1, end = begin;
        switch (t->kind) {
        case TEXT:
            memcpy(w->buffer + w->used, t->text, t->len);
            w->used += t->len;
            continue;
        case EDIT: {
            size_t last = t->next; /* the colon before the number */
            while (w->tokens[last].next != t->last)
                last = w->tokens[last].next;
            bool from_nothing = last == t->next;
            if (time > t->until) {
                begin = from_nothing ? begin : t->next + 1;
                end = last;
            } else {
                end = from_nothing ? begin : t->next;
            }
            break;
        }
        case TURNS: {
            end = t->next;
            for (int turn = (time - 1) % t->until; turn > 0; turn--) {
                begin = end + 1;
                end = w->tokens[end].next;
            }
            break;
        }
        }
        put(w, begin, end, time);
        i = t->last;
    }
}

static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct schedule {
    struct editing *out;
    size_t texts_room, bytes;
    uint64_t *hashes;
    struct err *err;
};

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for a prompt's texts");
}

/* The index of this text among those there are, where it is put if it is none of them. */
static bool find_text(struct schedule *s, const char *text, size_t len, size_t *index)
{
    struct editing *e = s->out;
    uint64_t hash = hash_of(text, len);
    for (size_t i = 0; i < e->text_count; i++)
        if (s->hashes[i] == hash && strlen(e->texts[i]) == len &&
            memcmp(e->texts[i], text, len) == 0) {
            e->uses[i]++;
            *index = i;
            return true;
        }
    if ((s->bytes += len) > EDITING_BYTES)
        return err_set(s->err, ERR_TOO_LARGE,
                       "prompt: wanted at most %d bytes in all the texts that it becomes",
                       EDITING_BYTES);
    if (e->text_count == s->texts_room) {
        size_t room = s->texts_room ? 2 * s->texts_room : 8;
        char **texts = realloc(e->texts, room * sizeof *texts);
        if (texts)
            e->texts = texts;
        int *uses = texts ? realloc(e->uses, room * sizeof *uses) : NULL;
        if (uses)
            e->uses = uses;
        uint64_t *hashes = uses ? realloc(s->hashes, room * sizeof *hashes) : NULL;
        if (!hashes)
            return no_memory(s->err);
        s->hashes = hashes;
        s->texts_room = room;
    }
    char *copy = malloc(len + 1);
    if (!copy)
        return no_memory(s->err);
    memcpy(copy, text, len);
    copy[len] = '\0';
    s->hashes[e->text_count] = hash;
    e->uses[e->text_count] = 1;
    *index = e->text_count;
    e->texts[e->text_count++] = copy;
    return true;
}

/* What `when` is in calls of this pass. */
static int until_of(const struct token *t, const struct editing_pass *pass)
{
    bool fraction = pass->old ? t->when < 1 : t->point;
    int before = pass->old ? 0 : pass->before;
    double v = fraction ? (t->when - (before > 0)) * pass->calls : t->when - before;
    return (int)fmax(fmin(trunc(v), pass->calls), -1);
}

/* The times at which an entry ends, as flags [1..calls]. */
static void mark_times(struct reader *r, const struct editing_pass *pass, bool *ends)
{
    ends[pass->calls] = true;
    for (size_t i = 0; i < r->count; i++) {
        struct token *t = &r->tokens[i];
        if (t->kind == EDIT) {
            t->until = until_of(t, pass);
            if (t->until >= 1)
                ends[t->until] = true;
        } else if (t->kind == TURNS) {
            memset(ends + 1, true, (size_t)pass->calls);
        }
    }
}

static bool write_texts(struct reader *r, const struct editing_pass *pass, struct schedule *s,
                        size_t size)
{
    struct editing *e = s->out;
    bool *ends = calloc((size_t)pass->calls + 1, sizeof *ends);
    char *buffer = malloc(size + 1);
    e->entries = malloc((size_t)pass->calls * sizeof *e->entries);
    bool ok = (ends && buffer && e->entries) || no_memory(s->err);
    if (ok)
        mark_times(r, pass, ends);
    for (int time = 1; ok && time <= pass->calls; time++) {
        if (!ends[time])
            continue;
        struct writer w = {.tokens = r->tokens, .buffer = buffer};
        put(&w, 0, r->count, time);
        struct editing_entry *entry = &e->entries[e->count++];
        entry->until = time;
        ok = find_text(s, buffer, w.used, &entry->text);
    }
    free(buffer);
    free(ends);
    return ok;
}

bool editing_plain(const char *text, struct editing *out, struct err *err)
{
    *out = (struct editing){.entries = calloc(1, sizeof *out->entries),
                            .texts = calloc(1, sizeof *out->texts),
                            .uses = malloc(sizeof *out->uses)};
    if (out->entries && out->texts && out->uses && (out->texts[0] = strdup(text))) {
        out->uses[0] = 1;
        out->count = out->text_count = 1;
        return true;
    }
    editing_free(out);
    return no_memory(err);
}

bool editing_parse(const char *text, const struct editing_pass *pass, struct editing *out,
                   struct err *err)
{
    size_t size = strlen(text);
    *out = (struct editing){0};
    if (size > PROMPT_BYTES)
        return err_set(err, ERR_TOO_LARGE, "prompt: wanted at most %d bytes, found %zu",
                       PROMPT_BYTES, size);
    struct reader r = {.at = text, .end = text + size, .err = err};
    struct schedule s = {.out = out, .err = err};
    bool ok = read_tokens(&r);
    if (ok && (r.literal || !r.edits)) {
        ok = editing_plain(text, out, err);
        if (ok)
            out->entries[0].until = pass->calls;
    } else if (ok) {
        ok = write_texts(&r, pass, &s, size);
    }
    free(r.tokens);
    free(s.hashes);
    if (!ok)
        editing_free(out);
    return ok;
}

size_t editing_text_at(const struct editing *e, int call)
{
    size_t i = 0;
    while (i + 1 < e->count && e->entries[i].until < call)
        i++;
    return e->entries[i].text;
}

void editing_free(struct editing *e)
{
    for (size_t i = 0; i < e->text_count; i++)
        free(e->texts[i]);
    free(e->texts);
    free(e->uses);
    free(e->entries);
    *e = (struct editing){0};
}
