/* wire.c: frames a message, and checks one before it is believed. */
#include "server/worker/wire.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "engine/io/utf8.h"
#include "server/base/json_text.h"
#include "server/base/now.h"

#define JSON_DEPTH 8 /* ours nest three deep */

static void close_all(int *fds, size_t *count)
{
    while (*count > 0)
        close(fds[--*count]);
}

void wire_message_free(struct wire_message *m)
{
    cJSON_Delete(m->json);
    free(m->binary);
    close_all(m->fds, &m->fd_count);
    *m = (struct wire_message){0};
}

const char *wire_string(const struct wire_message *m, const char *name)
{
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(m->json, name));
    return s ? s : "";
}

const char *wire_type(const struct wire_message *m)
{
    return wire_string(m, "type");
}

double wire_number(const struct wire_message *m, const char *name, double fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(m->json, name);
    return cJSON_IsNumber(item) && isfinite(item->valuedouble) ? item->valuedouble : fallback;
}

int64_t wire_integer(const struct wire_message *m, const char *name, int64_t least, int64_t most,
                     int64_t fallback)
{
    double d = wire_number(m, name, NAN);
    return d >= (double)least && d <= (double)most && d < 0x1p63 ? (int64_t)d : fallback;
}

void wire_add_text(struct cJSON *json, const char *name, const char *text)
{
    /* One malformed byte becomes a replacement of three. */
    char *clean = malloc(strlen(text) * UTF8_MAX + 1), *end = clean;
    if (!clean)
        return;
    for (uint32_t c; (c = utf8_next(&text)) != 0;)
        end = utf8_put(end, c);
    *end = '\0';
    cJSON_AddStringToObject(json, name, clean);
    free(clean);
}

void wire_reader_init(struct wire_reader *r, int fd, struct wire_limits limits)
{
    *r = (struct wire_reader){.fd = fd, .limits = limits};
}

void wire_reader_free(struct wire_reader *r)
{
    free(r->body);
    r->body = NULL;
    close_all(r->fds, &r->fd_count);
}

/* Room for descriptors beside a message, as the kernel wants it. */
union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

/* As read(2), and keeps the descriptors that come along. */
static ssize_t receive(struct wire_reader *r, void *at, size_t size)
{
    union control control;
    struct iovec part = {.iov_base = at, .iov_len = size};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(r->fd, &m, MSG_CMSG_CLOEXEC);
    for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (r->fd_count < WIRE_FDS_MAX)
                r->fds[r->fd_count++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

/* Reads until `have` reaches `want` bytes counted from the message's start. */
static enum wire_result fill(struct wire_reader *r, uint8_t *at, size_t base, size_t want,
                             struct err *err)
{
    while (r->have < want) {
        uint8_t *to = at + (r->have - base);
        size_t size = want - r->have;
        ssize_t n = r->takes_fds ? receive(r, to, size) : read(r->fd, to, size);
        if (n > 0) {
            r->have += (size_t)n;
        } else if (n == 0) {
            if (r->have == 0)
                return WIRE_CLOSED;
            err_set(err, ERR_IO, "the other end closed in the middle of a message");
            return WIRE_FAILED;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return WIRE_AGAIN;
        } else if (errno != EINTR) {
            /* A killed peer shows as a reset when it had not read all of ours. */
            if (errno == ECONNRESET && r->have == 0)
                return WIRE_CLOSED;
            err_set(err, ERR_IO, "cannot read from the other end: %s", strerror(errno));
            return WIRE_FAILED;
        }
    }
    return WIRE_MESSAGE;
}

enum wire_result wire_read(struct wire_reader *r, struct wire_message *out, struct err *err)
{
    *out = (struct wire_message){0};
    enum wire_result result = fill(r, (uint8_t *)r->header, 0, sizeof r->header, err);
    if (result != WIRE_MESSAGE)
        return result;

    size_t json_size = r->header[0], binary_size = r->header[1];
    if (!r->body) {
        if (json_size == 0 || json_size > r->limits.json || binary_size > r->limits.binary) {
            err_set(err, ERR_TOO_LARGE,
                    "message wants 1..%u bytes of JSON and 0..%u of data, got %zu and %zu",
                    r->limits.json, r->limits.binary, json_size, binary_size);
            return WIRE_FAILED;
        }
        r->body = malloc(json_size + binary_size);
        if (!r->body) {
            err_set(err, ERR_INTERNAL, "no memory for a message of %zu bytes",
                    json_size + binary_size);
            return WIRE_FAILED;
        }
    }
    result = fill(r, r->body, sizeof r->header, sizeof r->header + json_size + binary_size, err);
    if (result != WIRE_MESSAGE)
        return result;

    uint8_t *body = r->body;
    r->body = NULL;
    r->have = 0;
    memcpy(out->fds, r->fds, sizeof out->fds);
    out->fd_count = r->fd_count;
    r->fd_count = 0;
    out->json = json_text_parse((const char *)body, json_size, JSON_DEPTH, err);
    if (!out->json || !cJSON_IsObject(out->json)) {
        if (out->json)
            err_set(err, ERR_INVALID, "message wants a JSON object");
        goto fail;
    }
    if (binary_size > 0) {
        /* The body becomes the binary part: pictures are large, so one copy instead of two. */
        memmove(body, body + json_size, binary_size);
        out->binary = body;
        out->binary_size = binary_size;
    } else {
        free(body);
    }
    return WIRE_MESSAGE;

fail:
    free(body);
    wire_message_free(out);
    return WIRE_FAILED;
}

/* One call of send(2), with descriptors if there are any. */
static ssize_t send_some(int fd, const void *data, size_t size, const int *fds, size_t fd_count)
{
    if (fd_count == 0)
        return send(fd, data, size, MSG_NOSIGNAL);
    union control control = {0};
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = CMSG_SPACE(fd_count * sizeof *fds)};
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(fd_count * sizeof *fds),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof *fds);
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

/* The descriptors go with the first byte. */
static bool send_all(int fd, const void *data, size_t size, const int *fds, size_t fd_count,
                     int64_t deadline, struct err *err)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = send_some(fd, p, size, fds, fd_count);
        if (n >= 0) {
            p += n;
            size -= (size_t)n;
            fd_count = 0;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int64_t left = deadline < 0 ? -1 : deadline - now_ms();
            if (deadline >= 0 && left <= 0)
                return err_set(err, ERR_IO, "the other end does not read");
            struct pollfd p1 = {.fd = fd, .events = POLLOUT};
            poll(&p1, 1, (int)left);
        } else if (errno != EINTR) {
            return err_set(err, ERR_IO, "cannot write to the other end: %s", strerror(errno));
        }
    }
    return true;
}

bool wire_write_fds(int fd, struct cJSON *json, const void *binary, size_t binary_size,
                    const int *fds, size_t fd_count, int timeout_ms, struct err *err)
{
    char *text = json_text_print(json);
    if (!text)
        return err_set(err, ERR_INTERNAL, "no memory for a message");
    bool ok = false;
    size_t json_size = strlen(text);
    if (json_size > UINT32_MAX || binary_size > UINT32_MAX || fd_count > WIRE_FDS_MAX) {
        err_set(err, ERR_TOO_LARGE, "message of %zu and %zu bytes and %zu descriptors", json_size,
                binary_size, fd_count);
        goto done;
    }
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    uint32_t header[2] = {(uint32_t)json_size, (uint32_t)binary_size};
    ok = send_all(fd, header, sizeof header, fds, fd_count, deadline, err) &&
         send_all(fd, text, json_size, NULL, 0, deadline, err) &&
         send_all(fd, binary, binary_size, NULL, 0, deadline, err);

done:
    free(text);
    return ok;
}

bool wire_write(int fd, struct cJSON *json, const void *binary, size_t binary_size,
                int timeout_ms, struct err *err)
{
    return wire_write_fds(fd, json, binary, binary_size, NULL, 0, timeout_ms, err);
}
