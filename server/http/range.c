/* range.c: one part of bytes: "bytes=5-9", "bytes=5-", "bytes=-5". Who asks for several gets all of
 * it, as RFC 9110 (14.2) allows, and so does who writes what is no range. Numbers that no size has
 * room for are larger than any, and not wrapped. */
#include "server/http/range.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* The number at *at, which then is behind it. False: there is none. */
static bool number(const char **at, size_t *out)
{
    const char *from = *at;
    for (*out = 0; **at >= '0' && **at <= '9'; ++*at) {
        size_t digit = (size_t)(**at - '0');
        *out = *out > (SIZE_MAX - digit) / 10 ? SIZE_MAX : *out * 10 + digit;
    }
    return *at > from;
}

enum range_kind range_parse(const char *text, size_t size, size_t *first, size_t *count)
{
    size_t last;
    if (!text || strncasecmp(text, "bytes", 5) != 0)
        return RANGE_WHOLE;
    const char *at = text + 5 + strspn(text + 5, " \t");
    if (*at++ != '=')
        return RANGE_WHOLE;
    at += strspn(at, " \t");
    bool begins = number(&at, first);
    if (*at++ != '-')
        return RANGE_WHOLE;
    bool ends = number(&at, &last);
    at += strspn(at, " \t");
    if (*at || (!begins && !ends) || (begins && ends && last < *first))
        return RANGE_WHOLE;
    if (!begins) { /* the last bytes */
        *count = last < size ? last : size;
        *first = size - *count;
        return *count > 0 ? RANGE_PART : RANGE_OUTSIDE;
    }
    if (*first >= size)
        return RANGE_OUTSIDE;
    *count = (ends && last < size ? last + 1 : size) - *first;
    return RANGE_PART;
}
