/* base64.c: decoding reads four letters at a time as long as all four are letters, and one at a
 * time around anything else. Thread-safe; no state. */
#include "server/base/base64.h"

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

/* A letter's value plus one, so that 0 is "skip". */
enum { PAD = 65 };
static const uint8_t VALUES[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,   ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11,  ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19,  ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27,  ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35,  ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43,  ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51,  ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59,  ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
    ['-'] = 63, ['_'] = 64, ['='] = PAD,
};

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
                uint8_t a = VALUES[in[0]], b = VALUES[in[1]], c = VALUES[in[2]], d = VALUES[in[3]];
                if (!a || !b || !c || !d || a == PAD || b == PAD || c == PAD || d == PAD)
                    break;
                uint32_t v = (a - 1u) << 18 | (b - 1u) << 12 | (c - 1u) << 6 | (d - 1u);
                *out++ = (uint8_t)(v >> 16);
                *out++ = (uint8_t)(v >> 8);
                *out++ = (uint8_t)v;
                in += 4;
            }
            if (in == in_end)
                break;
        }
        uint8_t v = VALUES[*in++];
        if (v == PAD) {
            padded = true;
        } else if (v > 0) {
            if (padded) {
                err_set(err, ERR_INVALID, "base64 goes on after its padding");
                goto fail;
            }
            bits = bits << 6 | (v - 1u);
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
