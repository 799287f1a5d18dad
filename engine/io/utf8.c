#include "engine/io/utf8.h"

#include <stdbool.h>

static bool is_scalar(uint32_t c)
{
    return c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
}

uint32_t utf8_next(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    if (!*p)
        return 0;
    *s += 1;
    if (*p < 0x80)
        return *p;
    int more = *p >= 0xF0 ? 3 : *p >= 0xE0 ? 2 : 1;
    if (*p < 0xC0 || *p > 0xF7)
        return UTF8_REPLACEMENT;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* anything below is overlong */
    uint32_t c = *p & (0x3Fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return UTF8_REPLACEMENT;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[more] || !is_scalar(c))
        return UTF8_REPLACEMENT;
    *s += more;
    return c;
}

char *utf8_put(char *out, uint32_t c)
{
    if (!is_scalar(c))
        c = UTF8_REPLACEMENT;
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}
