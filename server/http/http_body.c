/* http_body.c: bodies that lie on the disk until the client reads them: slow ones hold no memory.
 *
 * A whole file is the kernel's matter (sendfile). JSON with pictures in it is a list of pieces:
 * texts, and files that are turned to base64 as they are asked for. Such a file's place in the JSON
 * is held by a string of random letters, which nobody could have put into a prompt. One file a
 * connection is open at a time (server/descriptors.c counts on it). */
#include "server/http/http_private.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/base64.h"
#include "server/base/ids.h"

#define BLOCK (32 << 10) /* characters that libmicrohttpd asks for at once, at most */
#define MARK_DIGITS 32

struct http_file {
    char mark[MARK_DIGITS + 1];
    char *path;
    size_t size;
    struct http_file *next;
};

struct piece {
    const char *text; /* in body->text; NULL: a file */
    char *path;
    size_t file_size;
    size_t size; /* of the answer */
};

struct http_body {
    char *text;
    struct piece *pieces;
    size_t count, at;
    size_t offset; /* in pieces[at]: what was read */
    int fd;        /* of pieces[at]; -1: not open */
};

void http_reply_file(struct http_request *req, int status, const char *mime, int fd, size_t size)
{
    struct http_part part;
    if (!http_part_look(req, status, size, &part)) {
        close(fd);
        return;
    }
    struct MHD_Response *response =
        part.count == size ? MHD_create_response_from_fd64(size, fd)
                           : MHD_create_response_from_fd_at_offset64(part.count, fd, part.first);
    if (!response)
        close(fd);
    http_reply_set(req, part.status, response, mime, part.count);
    http_part_headers(req, &part);
}

struct cJSON *http_reply_base64(struct http_request *req, char *path, size_t size)
{
    struct http_file *file = calloc(1, sizeof *file), **end = &req->files;
    cJSON *item = NULL;
    if (!file || !ids_random(file->mark, MARK_DIGITS, NULL) ||
        !(item = cJSON_CreateString(file->mark))) {
        free(file);
        free(path);
        return NULL;
    }
    file->path = path;
    file->size = size;
    while (*end)
        end = &(*end)->next;
    *end = file;
    return item;
}

void http_body_forget(struct http_request *req)
{
    while (req->files) {
        struct http_file *file = req->files;
        req->files = file->next;
        free(file->path);
        free(file);
    }
}

/* ---- reading ---- */

static void close_file(struct http_body *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

void http_body_free(struct http_body *b)
{
    if (!b)
        return;
    close_file(b);
    for (size_t i = 0; i < b->count; i++)
        free(b->pieces[i].path);
    free(b->pieces);
    cJSON_free(b->text);
    free(b);
}

static bool read_at(struct http_body *b, const struct piece *p, void *out, size_t size, size_t at)
{
    if (b->fd < 0)
        b->fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    while (b->fd >= 0 && size > 0) {
        ssize_t n = pread(b->fd, out, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out = (char *)out + n;
        at += (size_t)n;
        size -= (size_t)n;
    }
    return b->fd >= 0 && size == 0;
}

/* Up to `max` of the file's characters from the one at `offset` on; 0: it cannot be read. */
static size_t read_base64(struct http_body *b, const struct piece *p, size_t offset, char *out,
                          size_t max)
{
    unsigned char raw[BLOCK / 4 * 3];
    char group[4];
    size_t at = offset / 4 * 3, skip = offset % 4, want = max / 4 * 3;
    bool part = skip > 0 || want == 0; /* of four characters */
    want = part ? 3 : want < sizeof raw ? want : sizeof raw;
    if (want > p->file_size - at)
        want = p->file_size - at;
    if (!read_at(b, p, raw, want, at))
        return 0;
    if (!part)
        return (size_t)(base64_encode_to(out, raw, want) - out);
    base64_encode_to(group, raw, want);
    size_t n = max < 4 - skip ? max : 4 - skip;
    memcpy(out, group + skip, n);
    return n;
}

ssize_t http_body_read(struct http_body *b, char *out, size_t max)
{
    while (b->at < b->count && b->offset == b->pieces[b->at].size) {
        close_file(b);
        b->offset = 0;
        b->at++;
    }
    if (b->at == b->count)
        return 0;
    const struct piece *p = &b->pieces[b->at];
    size_t left = p->size - b->offset, n = left < max ? left : max;
    if (p->text)
        memcpy(out, p->text + b->offset, n);
    else
        n = read_base64(b, p, b->offset, out, n);
    b->offset += n;
    if (n > 0)
        return (ssize_t)n;
    log_event(LOG_WARN, "answer_cut", "reason=\"a picture went away while it was sent\"");
    return -1;
}

/* What libmicrohttpd calls, one read after the other. */
static ssize_t read_body(void *cls, uint64_t pos, char *out, size_t max)
{
    ssize_t n = http_body_read(cls, out, max);
    return n > 0    ? n
           : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_body(void *cls)
{
    http_body_free(cls);
}

/* ---- making ---- */

static size_t count_files(const struct http_request *req)
{
    size_t count = 0;
    for (const struct http_file *f = req->files; f; f = f->next)
        count++;
    return count;
}

/* Cuts b->text at the marks. False when one is missing. */
static bool cut(struct http_request *req, struct http_body *b)
{
    const char *at = b->text;
    for (struct http_file *f = req->files; f; f = f->next) {
        const char *mark = strstr(at, f->mark);
        if (!mark)
            return false;
        b->pieces[b->count++] = (struct piece){.text = at, .size = (size_t)(mark - at)};
        b->pieces[b->count++] = (struct piece){
            .path = f->path, .file_size = f->size, .size = base64_encoded_size(f->size)};
        f->path = NULL;
        at = mark + MARK_DIGITS;
    }
    b->pieces[b->count++] = (struct piece){.text = at, .size = strlen(at)};
    return true;
}

struct http_body *http_body_new(struct http_request *req, char *text)
{
    struct http_body *b = calloc(1, sizeof *b);
    if (!b) {
        cJSON_free(text);
        return NULL;
    }
    b->text = text;
    b->fd = -1;
    b->pieces = calloc(2 * count_files(req) + 1, sizeof *b->pieces);
    bool ok = b->pieces && cut(req, b);
    http_body_forget(req);
    if (ok)
        return b;
    http_body_free(b);
    return NULL;
}

void http_body_reply(struct http_request *req, int status, const char *mime, char *text)
{
    if (!http_reply_hold(req, strlen(text))) {
        cJSON_free(text);
        http_reply_full(req);
        return;
    }
    struct http_body *b = http_body_new(req, text);
    struct MHD_Response *response = NULL;
    size_t size = 0;
    for (size_t i = 0; b && i < b->count; i++)
        size += b->pieces[i].size;
    if (b)
        response = MHD_create_response_from_callback(size, BLOCK, read_body, b, free_body);
    if (!response)
        http_body_free(b);
    http_reply_set(req, status, response, mime, size);
}
