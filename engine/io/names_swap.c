#include "engine/io/names_swap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct names_swap names_swap_none[] = {{NULL, NULL}};

bool names_swap_match(const char *name, const char *pattern, int *numbers, const char **rest)
{
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (*name++ != *pattern)
                return false;
            continue;
        }
        int n = 0, digits = 0;
        for (; *name >= '0' && *name <= '9' && digits < 3; digits++)
            n = n * 10 + *name++ - '0';
        if (!digits)
            return false;
        *numbers++ = n;
    }
    *rest = name;
    return true;
}

bool names_swap_emit(char *out, size_t size, const struct names_swap *swaps, const char *rest,
                     const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t used = (size_t)vsnprintf(out, size, fmt, ap);
    va_end(ap);
    const char *swapped = "";
    for (; swaps->from; swaps++)
        if (strncmp(rest, swaps->from, strlen(swaps->from)) == 0) {
            swapped = swaps->to;
            rest += strlen(swaps->from);
            break;
        }
    if (used + strlen(swapped) + strlen(rest) >= size)
        return false;
    strcpy(stpcpy(out + used, swapped), rest);
    return true;
}

bool names_swap_back(char *out, size_t size, const struct names_swap *swaps, const char *rest,
                     const char *start, int *nth)
{
    for (; swaps->from; swaps++) {
        size_t n = strlen(swaps->to);
        if (strncmp(rest, swaps->to, n) == 0 && (*nth)-- == 0)
            return (size_t)snprintf(out, size, "%s%s%s", start, swaps->from, rest + n) < size;
    }
    return false;
}
