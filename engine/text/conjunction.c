#include "engine/text/conjunction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/unicode.h"

/* Where the text without the white space at its end ends. */
static const char *trim(const char *at, const char *end)
{
    const char *last = at;
    while (at < end) {
        int c;
        at += unicode_next(at, (size_t)(end - at), &c);
        if (unicode_class(c) != UNICODE_SPACE)
            last = at;
    }
    return last;
}

/* Digits with at most one point, after a sign or not. NULL: none, or something behind them. */
static bool read_weight(const char *at, const char *end, double *out)
{
    double sign = 1, value = 0, scale = 1;
    int points = 0, digits = 0;
    if (at < end && (*at == '+' || *at == '-'))
        sign = *at++ == '-' ? -1 : 1;
    for (; at < end && (*at == '.' || (*at >= '0' && *at <= '9')); at++) {
        if (*at == '.') {
            points++;
            continue;
        }
        digits++;
        value = value * 10 + (*at - '0');
        scale *= points ? 10 : 1;
    }
    *out = sign * value / scale;
    return digits && points <= 1 && unicode_skip_space(at, end) == end;
}

static bool add_part(struct conjunction *out, const char *at, const char *end, struct err *err)
{
    if (out->count == CONJUNCTION_MAX)
        return err_set(err, ERR_TOO_LARGE, "prompt: wanted at most %d prompts joined by AND",
                       CONJUNCTION_MAX);
    double weight = 1;
    const char *colon = memrchr(at, ':', (size_t)(end - at));
    if (colon && read_weight(unicode_skip_space(colon + 1, end), end, &weight))
        end = colon;
    else
        weight = 1;
    if (!isfinite((float)weight))
        return err_set(err, ERR_INVALID, "prompt: weight %g is too large", weight);
    char *text = strndup(at, (size_t)(trim(at, end) - at));
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for a prompt");
    out->at[out->count].text = text;
    out->at[out->count++].weight = weight;
    return true;
}

bool conjunction_parse(const char *text, struct conjunction *out, struct err *err)
{
    const char *end = text + strlen(text), *part = text;
    bool in_word = false, ok = true;
    out->count = 0;
    for (const char *at = text; ok && at < end;) {
        if (!in_word && unicode_begins_word(at, end, "AND")) {
            ok = add_part(out, part, at, err);
            at = part = at + 3;
            in_word = true;
            continue;
        }
        int c;
        at += unicode_next(at, (size_t)(end - at), &c);
        in_word = unicode_is_word(c);
    }
    ok = ok && add_part(out, part, end, err);
    if (!ok)
        conjunction_free(out);
    return ok;
}

void conjunction_free(struct conjunction *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->at[i].text);
    c->count = 0;
}
