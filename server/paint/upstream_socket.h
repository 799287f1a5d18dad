/* upstream_socket.h: what a server sends over a WebSocket (RFC 6455), frame by frame. Nothing is
 * ever sent to it: who only listens needs no more than an HTTP client whose request asks for the
 * upgrade (fetch.h). No state. */
#ifndef PICTOR_SERVER_UPSTREAM_SOCKET_H
#define PICTOR_SERVER_UPSTREAM_SOCKET_H

#include <stddef.h>

enum upstream_socket_kind {
    UPSTREAM_SOCKET_MORE,   /* it has not all come yet */
    UPSTREAM_SOCKET_TEXT,
    UPSTREAM_SOCKET_BINARY,
    UPSTREAM_SOCKET_OTHER,  /* a ping, a close, a piece of a message: nothing to look at */
    UPSTREAM_SOCKET_BROKEN  /* no frame of a server: where the next one begins is not known */
};

/* The frame that `body` begins with: `*data`, `*length` are what it says, within `body`; `*whole`
 * is how long all of it is. */
enum upstream_socket_kind upstream_socket_next(const char *body, size_t size, const char **data,
                                               size_t *length, size_t *whole);

#endif
