/* base64.c: see base64.h. Decoding reads four letters at a time as long as all four are letters,
 * and one at a time around anything else. Thread-safe; no state. */
#include "server/base64.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char LETTERS[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded_size(size_t size)
{
    if (size > SIZE_MAX / 4 * 3 - 3)
        return SIZE_MAX;
    return (size + 2) / 3 * 4;
}

char *base64_encode_to(char *out, const void *data, size_t size)
{
    const uint8_t *in = data;
    for (; size >= 3; size -= 3, in += 3) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *out++ = LETTERS[v >> 18];
        *out++ = LETTERS[v >> 12 & 63];
        *out++ = LETTERS[v >> 6 & 63];
        *out++ = LETTERS[v & 63];
    }
    if (size > 0) {
        uint32_t v = (uint32_t)in[0] << 16 | (size == 2 ? (uint32_t)in[1] << 8 : 0);
        *out++ = LETTERS[v >> 18];
        *out++ = LETTERS[v >> 12 & 63];
        *out++ = size == 2 ? LETTERS[v >> 6 & 63] : '=';
        *out++ = '=';
    }
    return out;
}

char *base64_encode(const void *data, size_t size)
{
    size_t n = base64_encoded_size(size);
    char *out = n == SIZE_MAX ? NULL : malloc(n + 1);
    if (out)
        *base64_encode_to(out, data, size) = '\0';
    return out;
}

/* 0..63; 64 for what is skipped; 65 for '='. */
static const uint8_t *letter_values(void)
{
    enum { S = 64, P = 65 };
    static const uint8_t values[256] = {
        S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
        S, S, S, S, S, S, S, S, S, S, S, 62, S, 62, S, 63, /* + - / */
        52, 53, 54, 55, 56, 57, 58, 59, 60, 61, S, S, S, P, S, S,
        S, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, S, S, S, S, 63, /* _ */
        S, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
        49, 50, 51, S, S, S, S, S,
        S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
        S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
        S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
        S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S,
    };
    return values;
}

static bool skip_data_url(const char **text, const char *end, struct err *err)
{
    if (end - *text < 5 || strncasecmp(*text, "data:", 5) != 0)
        return true;
    const char *comma = memchr(*text, ',', (size_t)(end - *text));
    if (!comma || comma - *text < 12 || strncasecmp(comma - 7, ";base64", 7) != 0)
        return err_set(err, ERR_INVALID, "a data: URL must be data:TYPE;base64,...");
    *text = comma + 1;
    return true;
}

bool base64_decode(const char *text, size_t text_size, uint8_t **data, size_t *size,
                   struct err *err)
{
    const char *end = text + text_size;
    if (!skip_data_url(&text, end, err))
        return false;

    const uint8_t *values = letter_values();
    const uint8_t *in = (const uint8_t *)text, *in_end = (const uint8_t *)end;
    uint8_t *buf = malloc((size_t)(in_end - in) / 4 * 3 + 3), *out = buf;
    if (!buf)
        return err_set(err, ERR_INTERNAL, "no memory for %zu bytes of base64", text_size);

    uint32_t bits = 0;
    int letters = 0; /* in `bits`, 0..3 */
    bool padded = false;
    while (in < in_end) {
        if (letters == 0 && !padded) {
            while (in_end - in >= 4) {
                uint8_t a = values[in[0]], b = values[in[1]], c = values[in[2]], d = values[in[3]];
                if ((a | b | c | d) & 64)
                    break;
                uint32_t v = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
                *out++ = (uint8_t)(v >> 16);
                *out++ = (uint8_t)(v >> 8);
                *out++ = (uint8_t)v;
                in += 4;
            }
            if (in == in_end)
                break;
        }
        uint8_t v = values[*in++];
        if (v == 65) {
            padded = true;
        } else if (v < 64) {
            if (padded) {
                err_set(err, ERR_INVALID, "base64 goes on after its padding");
                goto fail;
            }
            bits = bits << 6 | v;
            if (++letters == 4) {
                *out++ = (uint8_t)(bits >> 16);
                *out++ = (uint8_t)(bits >> 8);
                *out++ = (uint8_t)bits;
                letters = 0;
            }
        }
    }
    if (letters == 1) {
        err_set(err, ERR_INVALID, "base64 ends within a byte");
        goto fail;
    }
    if (letters == 2)
        *out++ = (uint8_t)(bits >> 4);
    if (letters == 3) {
        *out++ = (uint8_t)(bits >> 10);
        *out++ = (uint8_t)(bits >> 2);
    }
    *data = buf;
    *size = (size_t)(out - buf);
    return true;

fail:
    free(buf);
    return false;
}
