#include "server/paint/upstream_socket.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAME_MOST ((uint64_t)16 << 20) /* bytes; a preview has a few hundred thousand */

enum { TEXT = 1, BINARY = 2, FIRST_CONTROL = 8 };

enum upstream_socket_kind upstream_socket_next(const char *body, size_t size, const char **data,
                                               size_t *length, size_t *whole)
{
    const unsigned char *at = (const unsigned char *)body;
    if (size < 2)
        return UPSTREAM_SOCKET_MORE;
    bool last = at[0] & 0x80, masked = at[1] & 0x80;
    int kind = at[0] & 0x0f;
    size_t more = (at[1] & 0x7f) == 126 ? 2 : (at[1] & 0x7f) == 127 ? 8 : 0;
    uint64_t n = more ? 0 : at[1] & 0x7f;
    /* No extension was asked for, servers do not mask, and control frames are short and whole. */
    if ((at[0] & 0x70) || masked || (kind >= FIRST_CONTROL && (more || !last)))
        return UPSTREAM_SOCKET_BROKEN;
    if (size < 2 + more)
        return UPSTREAM_SOCKET_MORE;
    for (size_t i = 0; i < more; i++)
        n = n << 8 | at[2 + i];
    if (n > FRAME_MOST)
        return UPSTREAM_SOCKET_BROKEN;
    if (size - 2 - more < n)
        return UPSTREAM_SOCKET_MORE;
    *data = body + 2 + more;
    *length = (size_t)n;
    *whole = 2 + more + (size_t)n;
    return last && kind == TEXT     ? UPSTREAM_SOCKET_TEXT
           : last && kind == BINARY ? UPSTREAM_SOCKET_BINARY
                                    : UPSTREAM_SOCKET_OTHER;
}
