/* http_connection.c: the connections there are, and those that have kept a slot for long enough.
 *
 * A connection is a stranger's until one of its requests has passed the gate. Strangers have a
 * share of all connections, and each address has a share of that; beyond it the oldest goes, not
 * the newest: a client that means to send a request does so at once, and a connection that keeps
 * its slot in silence makes room for it.
 *
 * libmicrohttpd's own timeout begins again with each byte of a request. And what had come, and was
 * over, before it accepted a connection it may never learn: after the first bytes, which were fewer
 * than it has room for, it waits for the kernel to say that there is more, and the kernel has told
 * already that the client is gone. So both are looked after here, once a second. */
#include "server/http/http_private.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/base/now.h"
#include "server/base/settings.h"

/* ---- strangers; with the lock held ---- */

static void leave_strangers(struct http *http, struct http_connection *c)
{
    if (!c->stranger)
        return;
    c->stranger = false;
    http->strangers--;
    if (c->address)
        c->address->strangers--;
}

/* Ends the oldest of them, of this address or of any (NULL). */
static void push_out(struct http *http, const struct http_client *address)
{
    struct http_connection *oldest = NULL;
    for (struct http_connection *c = http->connections; c; c = c->next)
        if (c->stranger && (!address || c->address == address))
            oldest = c;
    if (!oldest)
        return;
    leave_strangers(http, oldest);
    shutdown(oldest->fd, SHUT_RDWR);
}

static const struct http_client *address_with_most(const struct http *http)
{
    const struct http_client *most = NULL;
    for (const struct http_client *c = http->clients; c; c = c->next)
        if (c->strangers > 0 && (!most || c->strangers > most->strangers))
            most = c;
    return most;
}

static void make_room(struct http *http, const struct http_client *address)
{
    const struct settings *s = http->options.settings;
    int half = s->max_connections / 2;
    int kept = s->reserved_connections < half ? s->reserved_connections : half;
    if (address && address->strangers > s->max_connections_per_address)
        push_out(http, address);
    if (http->strangers > s->max_connections - kept)
        push_out(http, address_with_most(http));
}

/* ---- their beginning and end ---- */

/* Of IPv6 the network alone: a host has as many addresses in it as it likes. */
static void name_address(const struct sockaddr *a, char out[80])
{
    char text[INET6_ADDRSTRLEN] = "unknown";
    if (a && a->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof text);
    } else if (a && a->sa_family == AF_INET6) {
        struct in6_addr ip = ((const struct sockaddr_in6 *)a)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&ip)) {
            inet_ntop(AF_INET, ip.s6_addr + 12, text, sizeof text);
        } else {
            memset(ip.s6_addr + 8, 0, 8);
            inet_ntop(AF_INET6, &ip, text, sizeof text);
        }
    }
    snprintf(out, 80, "address %s", text);
}

static int seconds_for_head(const struct settings *s)
{
    return s->header_timeout < s->request_timeout ? s->header_timeout : s->request_timeout;
}

static void begin(struct http *http, struct http_connection *c, const char *name)
{
    pthread_mutex_lock(&http->lock);
    c->next = http->connections;
    if (c->next)
        c->next->previous = c;
    http->connections = c;
    http->stats.connections++;
    c->address = http_client_join(http, name);
    c->stranger = true;
    http->strangers++;
    if (c->address)
        c->address->strangers++;
    make_room(http, c->address);
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
    leave_strangers(http, c);
    http_client_leave(http, c->address);
    pthread_mutex_unlock(&http->lock);
    free(c);
}

void http_connection_notify(void *cls, struct MHD_Connection *conn, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http *http = cls;
    struct http_connection *c = *context;
    char name[80];
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = c = calloc(1, sizeof *c);
        if (!c)
            return;
        c->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->deadline = now_ms() + seconds_for_head(http->options.settings) * INT64_C(1000);
        name_address(
            MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, name);
        begin(http, c, name);
    } else if (c) {
        end(http, c);
    }
}

void http_connection_known(struct http *http, struct http_connection *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&http->lock);
    leave_strangers(http, c);
    pthread_mutex_unlock(&http->lock);
}

/* ---- those that send nothing ---- */

void http_connection_deadline(struct http_connection *c, int64_t deadline)
{
    if (c)
        c->deadline = deadline;
}

static bool has_left(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLRDHUP};
    return poll(&state, 1, 0) == 1;
}

/* What lies there is late by this server's doing: its thread waits for something else. */
static bool has_unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

void http_connection_tick(struct http *http, int64_t now)
{
    pthread_mutex_lock(&http->lock);
    for (struct http_connection *c = http->connections; c; c = c->next) {
        int64_t deadline = c->deadline;
        if (deadline && now > deadline && !has_unread(c->fd))
            shutdown(c->fd, SHUT_RDWR);
        else if (deadline && has_left(c->fd))
            shutdown(c->fd, SHUT_RD); /* takes nothing from it: libmicrohttpd reads once more */
    }
    pthread_mutex_unlock(&http->lock);
}
