/* head.c: see head.h. */
#include "server/http/head.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_named(const char *name, size_t size, const char *want)
{
    return size == strlen(want) && strncasecmp(name, want, size) == 0;
}

static bool is_token(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr("\"(),/:;<=>?@[\\]{}", name[i]))
            return false;
    return size > 0;
}

/* A tab is white space; above ASCII anything goes. */
static bool has_controls(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            return true;
    return false;
}

static bool is_number(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (value[i] < '0' || value[i] > '9')
            return false;
    return size > 0;
}

void head_add(struct head *h, const char *name, size_t name_size, const char *value,
              size_t value_size)
{
    h->odd = h->odd || !is_token(name, name_size) || has_controls(value, value_size);
    h->hosts += is_named(name, name_size, "Host");
    if (is_named(name, name_size, "Content-Length")) {
        h->lengths++;
        h->bad_length = h->bad_length || !is_number(value, value_size);
    } else if (is_named(name, name_size, "Transfer-Encoding")) {
        h->codings++;
        h->unknown = h->unknown || !is_named(value, value_size, "chunked");
    } else if (is_named(name, name_size, "Content-Encoding") && value_size > 0 &&
               !is_named(value, value_size, "identity")) {
        snprintf(h->coding, sizeof h->coding, "%.*s", (int)value_size, value);
    }
}

static int bad(struct err *err, const char *why)
{
    err_set(err, ERR_INVALID, "%s", why);
    return 400;
}

int head_check(const struct head *h, const char *version, struct err *err)
{
    bool old = strcmp(version, "HTTP/1.0") == 0; /* which needs no Host and knows no chunks */
    if (h->odd)
        return bad(err, "a header's name or value has characters that it must not have");
    if (h->hosts > 1 || (h->hosts == 0 && !old))
        return bad(err, h->hosts ? "there must be one Host header, got several"
                                 : "there must be a Host header");
    if (h->codings > 0 && (h->lengths > 0 || old))
        return bad(err, old ? "HTTP/1.0 has no Transfer-Encoding"
                            : "Content-Length and Transfer-Encoding exclude each other");
    if (h->lengths > 1)
        return bad(err, "there must be one Content-Length, got several");
    if (h->bad_length)
        return bad(err, "Content-Length must be a number of bytes");
    if (h->unknown || h->codings > 1) {
        err_set(err, ERR_UNSUPPORTED, "Transfer-Encoding can be \"chunked\" only, once");
        return 501;
    }
    if (*h->coding) {
        err_set(err, ERR_UNSUPPORTED,
                "bodies with Content-Encoding \"%s\" are not read: send it as it is", h->coding);
        return 415;
    }
    return 0;
}

bool head_target(const char *target, char *path, char *authority)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    const char *from = target + scheme;
    size_t host = scheme ? strcspn(from, "/") : 0;
    memcpy(authority, from, host);
    authority[host] = '\0';
    from += host;
    if ((scheme && host == 0) || (!scheme && *from != '/' && strcmp(from, "*") != 0))
        return false;
    char *to = path;
    if (*from == '\0')
        *to++ = '/';
    for (; *from; from++)
        if (*from != '/' || to == path || to[-1] != '/')
            *to++ = *from;
    *to = '\0';
    return true;
}
