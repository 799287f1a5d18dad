/* http_connection.c: the connections there are, and those that have kept a slot for long enough.
 *
 * libmicrohttpd's own timeout begins again with each byte of a header. And what had come, and was
 * over, before it accepted a connection it may never learn: after the first bytes, which were fewer
 * than it has room for, it waits for the kernel to say that there is more, and the kernel has told
 * already that the client is gone. So both are looked after here, once a second. */
#include "server/http/http_private.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/base/now.h"
#include "server/base/settings.h"

static void begin(struct http *http, struct http_connection *c)
{
    pthread_mutex_lock(&http->lock);
    c->next = http->connections;
    if (c->next)
        c->next->previous = c;
    http->connections = c;
    http->stats.connections++;
    pthread_mutex_unlock(&http->lock);
}

static void end(struct http *http, struct http_connection *c)
{
    pthread_mutex_lock(&http->lock);
    if (c->previous)
        c->previous->next = c->next;
    else
        http->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    http->stats.connections--;
    pthread_mutex_unlock(&http->lock);
    free(c);
}

void http_connection_notify(void *cls, struct MHD_Connection *conn, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http_connection *c = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = c = calloc(1, sizeof *c);
        if (!c)
            return;
        c->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->waits_since = now_ms();
        begin(cls, c);
    } else if (c) {
        end(cls, c);
    }
}

void http_connection_waits(struct http_connection *c, int64_t now)
{
    if (c)
        c->waits_since = now;
}

static bool has_left(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLRDHUP};
    return poll(&state, 1, 0) == 1;
}

void http_connection_tick(struct http *http, int64_t now)
{
    int64_t timeout = http->options.settings->request_timeout * INT64_C(1000);
    pthread_mutex_lock(&http->lock);
    for (struct http_connection *c = http->connections; c; c = c->next) {
        int64_t since = c->waits_since;
        if (since && now - since > timeout)
            shutdown(c->fd, SHUT_RDWR);
        else if (since && has_left(c->fd))
            shutdown(c->fd, SHUT_RD); /* takes nothing from it: libmicrohttpd reads once more */
    }
    pthread_mutex_unlock(&http->lock);
}
