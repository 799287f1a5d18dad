/* http_listen.c: where a server listens. */
#include "server/http/http_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/settings.h"

int http_listen(struct http *http, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t size;
    const struct settings *s = http->options.settings;
    if (!settings_listen_address(s, &address, &size, err))
        return -1;
    http->loopback = settings_is_loopback(&address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;
    if (fd < 0) {
        err_set(err, ERR_IO, "cannot make a socket: %s", strerror(errno));
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* inherited: dead peers are found */
    if (address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        err_set(err, ERR_IO, "cannot listen on %s: %s", s->listen, strerror(errno));
        close(fd);
        return -1;
    }
    http->port = ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                     : ((struct sockaddr_in *)&address)->sin_port);
    return fd;
}
