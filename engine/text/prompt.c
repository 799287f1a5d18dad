/* prompt.c: One pass over the text makes parts of weight 1 and keeps two stacks, of round and of
 * square brackets, whose entries say with which part a bracket began; a closing bracket multiplies
 * the weights from there on. Depth is bounded, so a part is multiplied a bounded number of times.
 * Parts stand one behind the other in one buffer, so that merging two is adding up their
 * lengths. */
#include "engine/text/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/unicode.h"

#define ROUND 1.1 /* what ( ) multiplies by and [ ] divides by */

struct stack {
    size_t first[PROMPT_DEPTH]; /* index of the first part inside */
    int count;
};

struct parser {
    const char *at, *end;
    struct prompt *out;
    size_t room, used; /* of out->parts, of out->text */
    struct stack round, square;
    struct err *err;
};

static bool add_part(struct parser *p, const char *text, size_t len, double weight)
{
    struct prompt *out = p->out;
    if (out->count == p->room) {
        size_t room = p->room ? 2 * p->room : 16;
        struct prompt_part *parts = realloc(out->parts, room * sizeof *parts);
        if (!parts)
            return err_set(p->err, ERR_INTERNAL, "out of memory for a prompt of %zu parts", room);
        out->parts = parts;
        p->room = room;
    }
    char *copy = out->text + p->used; /* parts are never longer than the text they came from */
    memcpy(copy, text, len);
    p->used += len;
    out->parts[out->count++] = (struct prompt_part){.text = copy, .len = len, .weight = weight};
    return true;
}

static bool open_bracket(struct parser *p, struct stack *s)
{
    if (s->count == PROMPT_DEPTH)
        return err_set(p->err, ERR_INVALID, "prompt: brackets nested deeper than %d", PROMPT_DEPTH);
    s->first[s->count++] = p->out->count;
    p->at++;
    return true;
}

static void multiply(struct parser *p, size_t first, double factor)
{
    for (size_t i = first; i < p->out->count; i++)
        p->out->parts[i].weight *= factor;
}

/* Closes the bracket, or is text where none is open. */
static bool close_bracket(struct parser *p, struct stack *s, double factor)
{
    p->at++;
    if (!s->count)
        return add_part(p, p->at - 1, 1, 1);
    multiply(p, s->first[--s->count], factor);
    return true;
}

/* Reads [+-]?[.0-9]+, which must be a number: digits with at most one point. Exact to 15 digits;
 * not strtod, which asks the locale what a point is. */
static const char *read_number(const char *at, const char *end, double *out)
{
    double sign = 1, value = 0, scale = 1;
    int points = 0, digits = 0;
    if (at < end && (*at == '+' || *at == '-'))
        sign = *at++ == '-' ? -1 : 1;
    for (; at < end && (*at == '.' || (*at >= '0' && *at <= '9')); at++) {
        if (*at == '.') {
            points++;
        } else if (digits++, value < 1e15) {
            value = value * 10 + (*at - '0');
            scale *= points ? 10 : 1;
        } else if (!points) {
            scale /= 10;
        }
    }
    *out = sign * value / scale;
    return digits && points <= 1 ? at : NULL;
}

/* A colon: the weight that closes a round bracket, or text. */
static bool colon(struct parser *p)
{
    double weight;
    const char *at = read_number(unicode_skip_space(p->at + 1, p->end), p->end, &weight);
    if (at)
        at = unicode_skip_space(at, p->end);
    if (!at || at == p->end || *at != ')' || !p->round.count) {
        p->at++;
        return add_part(p, ":", 1, 1);
    }
    multiply(p, p->round.first[--p->round.count], weight);
    p->at = at + 1;
    return true;
}

/* A backslash: the bracket or backslash behind it is text; alone it is dropped. */
static bool escape(struct parser *p)
{
    bool escapes = p->at + 1 < p->end && strchr("()[]\\", p->at[1]);
    p->at += 1 + escapes;
    return add_part(p, p->at - escapes, escapes, 1);
}

/* Text without special characters, split where the word BREAK stands, which takes the white space
 * around it away. */
static bool plain(struct parser *p)
{
    const char *end = p->at + 1;
    while (end < p->end && !strchr("\\()[]:", *end))
        end++;
    const char *start = p->at, *space = start; /* space: where the white space before `at` begins */
    bool in_word = false;
    for (const char *at = start; at < end;) {
        int c;
        if (!in_word && unicode_begins_word(at, end, "BREAK")) {
            if (!add_part(p, start, (size_t)(space - start), 1) || !add_part(p, at, 5, -1))
                return false;
            start = space = at = unicode_skip_space(at + 5, end);
            continue;
        }
        at += unicode_next(at, (size_t)(end - at), &c);
        in_word = unicode_is_word(c);
        if (unicode_class(c) != UNICODE_SPACE)
            space = at;
    }
    p->at = end;
    return add_part(p, start, (size_t)(end - start), 1);
}

static bool parse(struct parser *p)
{
    while (p->at < p->end) {
        bool ok;
        switch (*p->at) {
        case '\\':
            ok = escape(p);
            break;
        case '(':
            ok = open_bracket(p, &p->round);
            break;
        case '[':
            ok = open_bracket(p, &p->square);
            break;
        case ')':
            ok = close_bracket(p, &p->round, ROUND);
            break;
        case ']':
            ok = close_bracket(p, &p->square, 1 / ROUND);
            break;
        case ':':
            ok = colon(p);
            break;
        default:
            ok = plain(p);
        }
        if (!ok)
            return false;
    }
    /* What was never closed reaches to the end. */
    for (int i = 0; i < p->round.count; i++)
        multiply(p, p->round.first[i], ROUND);
    for (int i = 0; i < p->square.count; i++)
        multiply(p, p->square.first[i], 1 / ROUND);
    return p->out->count || add_part(p, "", 0, 1);
}

/* Merges neighbours of equal weight, says which parts are breaks, and checks the weights. */
static bool finish(struct prompt *out, struct err *err)
{
    size_t n = 0;
    for (size_t i = 1; i < out->count; i++) {
        if (out->parts[i].weight == out->parts[n].weight)
            out->parts[n].len += out->parts[i].len;
        else
            out->parts[++n] = out->parts[i];
    }
    out->count = n + 1;
    for (size_t i = 0; i < out->count; i++) {
        struct prompt_part *part = &out->parts[i];
        part->is_break = part->weight == -1 && part->len == 5 && !memcmp(part->text, "BREAK", 5);
        if (!isfinite((float)part->weight))
            return err_set(err, ERR_INVALID, "prompt: weight %g is too large", part->weight);
    }
    return true;
}

static bool begin(const char *text, struct prompt *out, size_t *len, struct err *err)
{
    *out = (struct prompt){0};
    *len = strlen(text);
    if (*len > PROMPT_BYTES)
        return err_set(err, ERR_TOO_LARGE, "prompt: wanted at most %d bytes, found %zu",
                       PROMPT_BYTES, *len);
    out->text = malloc(*len + 1);
    return out->text || err_set(err, ERR_INTERNAL, "out of memory for a prompt of %zu bytes", *len);
}

bool prompt_parse(const char *text, struct prompt *out, struct err *err)
{
    size_t len;
    if (!begin(text, out, &len, err))
        return false;
    struct parser p = {.at = text, .end = text + len, .out = out, .err = err};
    if (parse(&p) && finish(out, err))
        return true;
    prompt_free(out);
    return false;
}

bool prompt_literal(const char *text, struct prompt *out, struct err *err)
{
    size_t len;
    if (!begin(text, out, &len, err))
        return false;
    struct parser p = {.out = out, .err = err};
    if (add_part(&p, text, len, 1))
        return true;
    prompt_free(out);
    return false;
}

void prompt_free(struct prompt *prompt)
{
    free(prompt->parts);
    free(prompt->text);
    *prompt = (struct prompt){0};
}
