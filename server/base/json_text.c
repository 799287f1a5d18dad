/* json_text.c: checks a text before cJSON sees it. Thread-safe; no state. */
#include "server/base/json_text.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_number.h"

#define DIGITS_EXACT 15 /* a double holds any whole number of so many digits */

/* Length of the UTF-8 sequence at p (Unicode 15, table 3-7), 0 when it is not one. */
static size_t sequence_length(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if (p[0] >= 0xe0 && p[0] <= 0xef) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
            return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
            return 0;
        if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

bool json_text_is_utf8(const char *text, size_t size, size_t *code_points)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t count = 0;
    for (size_t i = 0; i < size; count++) {
        size_t n = sequence_length(p + i, size - i);
        if (n == 0)
            return false;
        i += n;
    }
    if (code_points)
        *code_points = count;
    return true;
}

/* Not a validator: what is not JSON, cJSON finds. *long_numbers: there may be whole numbers that a
 * double does not hold. */
static bool scan(const char *text, size_t size, int max_depth, bool *long_numbers, struct err *err)
{
    bool in_string = false;
    int depth = 0;
    size_t values = 1, digits = 0;
    *long_numbers = false;
    for (size_t i = 0; i < size;) {
        size_t n = sequence_length((const uint8_t *)text + i, size - i);
        if (n == 0)
            return err_set(err, ERR_INVALID, "the JSON is not UTF-8 at byte %zu", i);
        char c = text[i];
        digits = !in_string && c >= '0' && c <= '9' ? digits + 1 : 0;
        *long_numbers |= digits > DIGITS_EXACT;
        if (c == '\0')
            return err_set(err, ERR_INVALID, "the JSON has a NUL at byte %zu", i);
        if (in_string) {
            if (c == '"')
                in_string = false;
            if (c == '\\') {
                if (size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                    return err_set(err, ERR_INVALID,
                                   "the JSON has the character \\u0000 at byte %zu", i);
                if (i + 1 < size && (uint8_t)text[i + 1] < 0x80)
                    n = 2;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > max_depth)
                return err_set(err, ERR_INVALID, "the JSON is nested deeper than %d", max_depth);
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',') {
            values++;
        }
        if (values > JSON_TEXT_VALUES_MAX)
            return err_set(err, ERR_TOO_LARGE, "the JSON has more than %d values",
                           JSON_TEXT_VALUES_MAX);
        i += n;
    }
    return true;
}

struct span {
    const char *at, *end;
};

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

/* Takes the next number from a text that cJSON has understood; empty when there is none. */
static struct span take_number(struct span *text)
{
    const char *at = text->at, *end = text->end;
    for (; at < end && !is_in(*at, "-0123456789"); at++)
        if (*at == '"')
            for (at++; at < end && *at != '"'; at++)
                at += *at == '\\';
    const char *begin = at < end ? at : end;
    while (at < end && is_in(*at, "+-0123456789.eE"))
        at++;
    *text = (struct span){at, end};
    return (struct span){begin, at};
}

static bool is_long_whole(struct span number)
{
    const char *first = number.at + (number.at < number.end && *number.at == '-');
    if (number.end - first <= DIGITS_EXACT || *first == '0')
        return false;
    for (const char *at = first; at < number.end; at++)
        if (!is_in(*at, "0123456789"))
            return false;
    return true;
}

/* Leaves the digits of long whole numbers in their items. The numbers of `item` are the next ones
 * of `text`, in the order of the text. False without memory. */
static bool keep_digits(cJSON *item, struct span *text)
{
    if (cJSON_IsNumber(item)) {
        struct span number = take_number(text);
        if (!is_long_whole(number))
            return true;
        item->valuestring = strndup(number.at, (size_t)(number.end - number.at));
        return item->valuestring != NULL;
    }
    for (cJSON *child = item->child; child; child = child->next)
        if (!keep_digits(child, text))
            return false;
    return true;
}

struct cJSON *json_text_parse(const char *text, size_t size, int max_depth, struct err *err)
{
    bool long_numbers;
    if (!scan(text, size, max_depth, &long_numbers, err))
        return NULL;
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text, size, &end, false);
    if (!json) {
        size_t at = end && end >= text ? (size_t)(end - text) : 0;
        if (size == 0)
            err_set(err, ERR_INVALID, "the body is empty; JSON was expected");
        else
            err_set(err, ERR_INVALID, "the body is not JSON: wrong at byte %zu", at);
        return NULL;
    }
    for (; end < text + size; end++) {
        if (!strchr(" \t\r\n", *end) || *end == '\0') {
            cJSON_Delete(json);
            err_set(err, ERR_INVALID, "the JSON goes on after its end, at byte %zu",
                    (size_t)(end - text));
            return NULL;
        }
    }
    struct span whole = {text, text + size};
    if (long_numbers && !keep_digits(json, &whole)) {
        cJSON_Delete(json);
        err_set(err, ERR_INTERNAL, "no memory for the JSON");
        return NULL;
    }
    return json;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *repeated_member(const cJSON *object, bool *ok)
{
    const cJSON *item;
    const char *found = NULL;
    size_t count = 0;
    cJSON_ArrayForEach(item, object)
        count++;
    const char **names = count > 1 ? malloc(count * sizeof *names) : NULL;
    if (!names) {
        *ok = *ok && count <= 1;
        return NULL;
    }
    count = 0;
    cJSON_ArrayForEach(item, object)
        names[count++] = item->string;
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 1; i < count && !found; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            found = names[i];
    free(names);
    return found;
}

const char *json_text_repeated(const struct cJSON *json, bool *ok)
{
    const cJSON *item;
    *ok = true;
    const char *found = cJSON_IsObject(json) ? repeated_member(json, ok) : NULL;
    for (item = json->child; item && *ok && !found; item = item->next)
        found = json_text_repeated(item, ok);
    return found;
}

struct cJSON *json_text_constant(const char *text)
{
    return cJSON_Parse(text);
}

/* For the time of printing, numbers that cJSON prints with too few digits are raw text; such an
 * item still has its number, which other raw text has not. */
static void show_numbers(cJSON *item, bool *failed)
{
    char buf[JSON_NUMBER_TEXT];
    for (; item; item = item->next) {
        const char *text = cJSON_IsNumber(item) ? json_number_text(item, buf) : NULL;
        if (text == buf && !(item->valuestring = strdup(buf)))
            *failed = true;
        else if (text)
            item->type ^= cJSON_Number ^ cJSON_Raw;
        show_numbers(item->child, failed);
    }
}

static void hide_numbers(cJSON *item)
{
    for (; item; item = item->next) {
        if (cJSON_IsRaw(item) && item->valuedouble != 0)
            item->type ^= cJSON_Number ^ cJSON_Raw;
        hide_numbers(item->child);
    }
}

char *json_text_print(struct cJSON *json)
{
    bool failed = false;
    show_numbers(json, &failed);
    char *text = failed ? NULL : cJSON_PrintUnformatted(json);
    hide_numbers(json);
    return text;
}

void json_text_mend(char *text)
{
    size_t size = strlen(text), start = size;
    while (start > 0 && size - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0)
        start--;
    if (!json_text_is_utf8(text + start, size - start, NULL))
        text[size = start] = '\0';
    for (size_t i = 0; i < size;) {
        size_t n = sequence_length((const uint8_t *)text + i, size - i);
        if (n == 0)
            text[i] = '?';
        i += n > 0 ? n : 1;
    }
}
