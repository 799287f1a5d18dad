/* hangup.h: tells when the peer of a quiet socket goes away.
 *
 * libmicrohttpd does not look at suspended connections, but a client that gave up waiting must
 * cancel its job. So their sockets are also in an epoll set of this file's own thread, asked for
 * nothing but EPOLLRDHUP, errors and hang-up: that does not read, wakes for nothing else, and is
 * not fooled by pipelined bytes. A client that closes only its sending half is taken as gone; that
 * is what every HTTP client does when it gives up, and none that waits. */
#ifndef PICTOR_SERVER_HANGUP_H
#define PICTOR_SERVER_HANGUP_H

#include "engine/base/err.h"

struct hangup;

/* `tick` (may be NULL) is called about once a second on the thread that calls the watches. */
struct hangup *hangup_new(void (*tick)(void *ctx), void *ctx, struct err *err);
void hangup_free(struct hangup *h); /* stops the thread; NULL is fine */

/* Calls fn(ctx) once, on the thread of `h`, when the peer of `fd` is gone. One watch a socket. */
bool hangup_watch(struct hangup *h, int fd, void (*fn)(void *ctx), void *ctx, struct err *err);

/* After it returns fn does not run and will not run. Before the socket is closed. Fine when the
 * socket is not watched. */
void hangup_forget(struct hangup *h, int fd);

#endif
