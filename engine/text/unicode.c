#include "engine/text/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

size_t unicode_next(const char *text, size_t len, int *character)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &c);
    *character = n > 0 ? c : -1;
    return n > 0 ? (size_t)n : 1;
}

enum unicode_class unicode_class(int character)
{
    switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return UNICODE_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return UNICODE_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return UNICODE_SPACE;
    default:
        return (character >= '\t' && character <= '\r') || character == 0x85 ? UNICODE_SPACE
                                                                             : UNICODE_OTHER;
    }
}

bool unicode_is_word(int character)
{
    enum unicode_class class = unicode_class(character);
    return class == UNICODE_LETTER || class == UNICODE_NUMBER || character == '_';
}

const char *unicode_skip_space(const char *at, const char *end)
{
    while (at < end) {
        int c;
        size_t n = unicode_next(at, (size_t)(end - at), &c);
        if (unicode_class(c) != UNICODE_SPACE)
            break;
        at += n;
    }
    return at;
}

/* The clean-up is that of Python's ftfy, through which the reference implementations put a prompt,
 * as far as it is about single characters. Not done: HTML entities, terminal escapes, text that was
 * decoded from the wrong encoding. */

static bool is_control(int c)
{
    return c < 0x09 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f ||
           (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

/* Latin ligatures and digraphs, half- and full-width forms: replaced by what they are made of. */
static bool is_compound(int c)
{
    return c == 0x132 || c == 0x133 || c == 0x149 || (c >= 0x1c4 && c <= 0x1cc) ||
           (c >= 0x1f1 && c <= 0x1f3) || (c >= 0xfb00 && c <= 0xfb06) ||
           (c >= 0xff01 && c <= 0xffef);
}

static int straight(int c)
{
    if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b))
        return '\'';
    return c >= 0x201c && c <= 0x201f ? '"' : c;
}

/* The longest expansion is a two-byte digraph to D, Z and a combining caron. */
#define PARTS 4
#define GROWTH 5

static char *simplify(const char *text, size_t len, size_t *out_len, struct err *err)
{
    utf8proc_uint8_t *out = malloc(len * GROWTH + 1);
    if (!out) {
        err_set(err, ERR_INTERNAL, "out of memory for a prompt of %zu bytes", len);
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        int c, boundary = 0;
        size_t used = unicode_next(text + i, len - i, &c);
        if (c < 0) {
            err_set(err, ERR_INVALID, "prompt: byte %zu is not UTF-8", i);
            free(out);
            return NULL;
        }
        i += used;
        if (is_control(c))
            continue;
        utf8proc_int32_t parts[PARTS] = {c};
        utf8proc_ssize_t count = 1;
        if (is_compound(c)) {
            count = utf8proc_decompose_char(
                c, parts, PARTS, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE, &boundary);
            if (count > PARTS)
                count = 0; /* Unicode keeps decompositions for ever: there is none that long */
        }
        for (utf8proc_ssize_t k = 0; k < count; k++)
            n += (size_t)utf8proc_encode_char(straight(parts[k]), out + n);
    }
    *out_len = n;
    return (char *)out;
}

/* A letter of a script that has two cases. */
static bool is_cased(int c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

static bool cased_at(const char *text, size_t len, size_t at)
{
    int c;
    if (at >= len)
        return false;
    unicode_next(text + at, len - at, &c);
    return is_cased(c);
}

/* Character by character, but for the two that Unicode and Python's lower() treat specially:
 * a sigma that ends a word, and the dotted capital I, which keeps its dot as a combining mark. */
static size_t lower(const char *text, size_t len, utf8proc_uint8_t *out)
{
    size_t n = 0;
    bool in_word = false;
    for (size_t i = 0; i < len;) {
        int c;
        i += unicode_next(text + i, len - i, &c);
        if (c == 0x130) {
            out[n++] = 'i';
            c = 0x307;
        } else if (c == 0x3a3 && in_word && !cased_at(text, len, i)) {
            c = 0x3c2;
        } else {
            c = utf8proc_tolower(c);
        }
        n += (size_t)utf8proc_encode_char(c, out + n);
        in_word = is_cased(c);
    }
    return n;
}

char *unicode_clean(const char *text, size_t len, size_t *out_len, struct err *err)
{
    utf8proc_uint8_t *composed = NULL, *out = NULL;
    size_t n;
    char *simple = simplify(text, len, &n, err);
    if (!simple)
        return NULL;
    utf8proc_ssize_t composed_len = utf8proc_map((utf8proc_uint8_t *)simple, (utf8proc_ssize_t)n,
                                                 &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    free(simple);
    /* Lower case takes at most one byte for two more. */
    if (composed_len >= 0)
        out = malloc((size_t)composed_len * 2 + 1);
    if (out) {
        *out_len = lower((char *)composed, (size_t)composed_len, out);
        out[*out_len] = '\0';
    } else {
        err_set(err, ERR_INTERNAL, "prompt of %zu bytes: %s", len,
                composed_len < 0 ? utf8proc_errmsg(composed_len) : "out of memory");
    }
    free(composed);
    return (char *)out;
}

char *unicode_compose(const char *text, size_t len, size_t *out_len, struct err *err)
{
    utf8proc_uint8_t *composed = NULL;
    int c;
    for (size_t i = 0; i < len;) {
        size_t used = unicode_next(text + i, len - i, &c);
        if (c < 0) {
            err_set(err, ERR_INVALID, "prompt: byte %zu is not UTF-8", i);
            return NULL;
        }
        i += used;
    }
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len,
                                      &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0) {
        err_set(err, ERR_INTERNAL, "prompt of %zu bytes: %s", len, utf8proc_errmsg(n));
        return NULL;
    }
    *out_len = (size_t)n;
    return (char *)composed;
}

bool unicode_begins_word(const char *at, const char *end, const char *word)
{
    size_t left = (size_t)(end - at), length = strlen(word);
    int c;
    if (left < length || memcmp(at, word, length) != 0)
        return false;
    if (left == length)
        return true;
    unicode_next(at + length, left - length, &c);
    return !unicode_is_word(c);
}
