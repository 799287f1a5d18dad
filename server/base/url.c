/* url.c: percent-decoding, and the parts of addresses. Thread-safe; no state. */
#include "server/base/url.h"

#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool url_decode(char *out, const char *text, size_t size, bool plus)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%' && size - i > 2 && hex_value(text[i + 1]) >= 0 &&
            hex_value(text[i + 2]) >= 0) {
            c = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return false;
        *out++ = c;
    }
    *out = '\0';
    return true;
}

bool url_host(char *out, size_t size, const char *authority)
{
    const char *end, *start = authority;
    if (*start == '[') {
        start++;
        end = strchr(start, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
    } else {
        end = start + strcspn(start, ":");
        if (strspn(start, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") <
            (size_t)(end - start))
            return false;
    }
    const char *port = *end == ']' ? end + 1 : end;
    if (*port == ':' && port[1 + strspn(port + 1, "0123456789")] != '\0')
        return false;
    size_t n = (size_t)(end - start);
    if (n > 0 && start[n - 1] == '.')
        n--; /* "localhost." is the same name */
    if (n == 0 || n >= size)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(start[i] >= 'A' && start[i] <= 'Z' ? start[i] + 'a' - 'A' : start[i]);
    out[n] = '\0';
    return true;
}

const char *url_authority_of_origin(const char *origin)
{
    const char *authority = strncasecmp(origin, "http://", 7) == 0    ? origin + 7
                            : strncasecmp(origin, "https://", 8) == 0 ? origin + 8
                                                                      : NULL;
    return authority && *authority && !strchr(authority, '/') ? authority : NULL;
}
