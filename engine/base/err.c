/* err.c: see err.h. */
#include "engine/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [ERR_NONE] = "none",           [ERR_INVALID] = "invalid",         [ERR_TOO_LARGE] = "too_large",
    [ERR_NOT_FOUND] = "not_found", [ERR_UNSUPPORTED] = "unsupported", [ERR_CANCELLED] = "cancelled",
    [ERR_BUSY] = "busy",           [ERR_DENIED] = "denied",           [ERR_IO] = "io",
    [ERR_UPSTREAM] = "upstream",   [ERR_INTERNAL] = "internal",       [ERR_NO_ROOM] = "no_room",
    [ERR_UNAVAILABLE] = "unavailable",
};

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (!e)
        return false;
    e->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return false;
    char old[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof e->msg)
        snprintf(e->msg + n, sizeof e->msg - (size_t)n, ": %.*s", (int)(sizeof e->msg - (size_t)n),
                 old);
    return false;
}

const char *err_name(enum err_code code)
{
    return (size_t)code < sizeof names / sizeof *names ? names[code] : "internal";
}

enum err_code err_code_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum err_code)i;
    return ERR_INTERNAL;
}
