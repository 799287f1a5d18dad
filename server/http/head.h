/* head.h: what RFC 9112 asks of a request's head beyond what libmicrohttpd looks at.
 *
 * Where a message ends must have one answer: a proxy in front of this server that gives another one
 * lets its clients smuggle requests past it. So whatever leaves a doubt is refused, and the
 * connection closed. No state; thread-safe. */
#ifndef PICTOR_SERVER_HEAD_H
#define PICTOR_SERVER_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

/* What the headers have said so far; zero to begin with. */
struct head {
    int hosts, lengths, codings;
    bool odd;        /* a name that is no token, or a value with control characters */
    bool bad_length; /* Content-Length is no number */
    bool unknown;    /* Transfer-Encoding is not "chunked" */
    char coding[24]; /* the Content-Encoding that is not "identity", cut; else "" */
};

/* Takes one header; the texts need no NUL. */
void head_add(struct head *h, const char *name, size_t name_size, const char *value,
              size_t value_size);

/* After the last one. 0: all is well; else the status of the answer (400, 415, 501), and why. */
int head_check(const struct head *h, const char *version, struct err *err);

/* The path of a request's target without its query, in `path` (strlen(target) + 2 bytes): runs of
 * slashes become one, and "http://host:port/path", as clients of proxies write it, is taken apart;
 * then *authority (strlen(target) + 1 bytes) is "host:port", else "". False: it is none of that. */
bool head_target(const char *target, char *path, char *authority);

#endif
