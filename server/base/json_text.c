/* json_text.c: see json_text.h. Thread-safe; no state. */
#include "server/base/json_text.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <string.h>

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

/* Not a validator: what is not JSON, cJSON finds. */
static bool scan(const char *text, size_t size, int max_depth, struct err *err)
{
    bool in_string = false;
    int depth = 0;
    size_t values = 1;
    for (size_t i = 0; i < size;) {
        size_t n = sequence_length((const uint8_t *)text + i, size - i);
        if (n == 0)
            return err_set(err, ERR_INVALID, "the JSON is not UTF-8 at byte %zu", i);
        char c = text[i];
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

struct cJSON *json_text_parse(const char *text, size_t size, int max_depth, struct err *err)
{
    if (!scan(text, size, max_depth, err))
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
    return json;
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
