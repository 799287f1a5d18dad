#include "engine/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [ERR_NONE] = "none",           [ERR_INVALID] = "invalid",         [ERR_TOO_LARGE] = "too_large",
    [ERR_NOT_FOUND] = "not_found", [ERR_UNSUPPORTED] = "unsupported", [ERR_CANCELLED] = "cancelled",
    [ERR_BUSY] = "busy",           [ERR_DENIED] = "denied",           [ERR_IO] = "io",
    [ERR_UPSTREAM] = "upstream",   [ERR_INTERNAL] = "internal",       [ERR_NO_ROOM] = "no_room",
    [ERR_UNAVAILABLE] = "unavailable", [ERR_QUOTA] = "quota",
};

static void set(struct err *e, const char *where, enum err_code code, const char *fmt, va_list ap)
{
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    snprintf(e->where, sizeof e->where, "%s", where);
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (e)
        set(e, "", code, fmt, ap);
    va_end(ap);
    return false;
}

bool err_at(struct err *e, const char *where, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (e)
        set(e, where, code, fmt, ap);
    va_end(ap);
    return false;
}

bool err_about(struct err *e, const char *where)
{
    if (e && !*e->where)
        snprintf(e->where, sizeof e->where, "%s", where);
    return false;
}

bool err_copy(struct err *to, const struct err *from)
{
    if (to && from && to != from)
        *to = *from;
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

const char *err_text(const struct err *e, char buf[ERR_TEXT_SIZE])
{
    snprintf(buf, ERR_TEXT_SIZE, "%s%s%s", e->where, *e->where ? ": " : "", e->msg);
    return buf;
}

void err_print(const struct err *e, const char *who)
{
    char text[ERR_TEXT_SIZE];
    fprintf(stderr, "%s: %s\n", who, err_text(e, text));
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
