/* multipart.c: finds "\r\n--boundary" with memmem, then reads the part's few header lines. Thread-
 * safe; no state. */
#include "server/http/multipart.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/json_text.h"
#include "server/base/url.h"

#define BOUNDARY_MAX (MULTIPART_BOUNDARY_SIZE - 1) /* RFC 2046 says 70; longer ones are seen */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* One `; key=value` of a header value from *at on. Returns false at the end. Writes the value,
 * without its quotes, to `value` (of `size` bytes; longer ones are cut). */
static bool next_parameter(const char **at, const char *end, char *key, size_t key_size,
                           char *value, size_t value_size)
{
    const char *p = *at;
    while (p < end && *p != ';')
        p++;
    while (p < end && (*p == ';' || is_space(*p)))
        p++;
    if (p == end)
        return false;
    size_t n = 0;
    for (; p < end && *p != '=' && *p != ';' && !is_space(*p); p++)
        if (n + 1 < key_size)
            key[n++] = *p;
    key[n] = '\0';
    while (p < end && is_space(*p))
        p++;
    n = 0;
    if (p < end && *p == '=') {
        p++;
        while (p < end && is_space(*p))
            p++;
        bool quoted = p < end && *p == '"';
        if (quoted)
            p++;
        for (; p < end && *p != (quoted ? '"' : ';'); p++) {
            /* Only \" and \\ are escapes: old browsers send C:\pictures\a.png as it is. */
            if (quoted && *p == '\\' && end - p > 1 && (p[1] == '"' || p[1] == '\\'))
                p++;
            if (n + 1 < value_size)
                value[n++] = *p;
        }
        if (quoted && p < end)
            p++;
        else
            while (!quoted && n > 0 && is_space(value[n - 1]))
                n--;
    }
    value[n] = '\0';
    *at = p;
    return true;
}

bool multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_SIZE],
                        struct err *err)
{
    const char *at = content_type ? content_type : "", *end = at + strlen(at);
    char key[16], value[BOUNDARY_MAX + 2];
    if (strncasecmp(at, "multipart/form-data", 19) != 0)
        return err_set(err, ERR_INVALID, "the body is not multipart/form-data");
    while (next_parameter(&at, end, key, sizeof key, value, sizeof value)) {
        if (strcasecmp(key, "boundary") != 0)
            continue;
        size_t n = strlen(value);
        if (n == 0 || n > BOUNDARY_MAX)
            return err_set(err, ERR_INVALID, "the multipart boundary must have 1..%d characters",
                           BOUNDARY_MAX);
        memcpy(boundary, value, n + 1);
        return true;
    }
    return err_set(err, ERR_INVALID, "the Content-Type multipart/form-data has no boundary");
}

/* Browsers write a quote in a name as %22. */
static bool set_decoded(char **at, char *value, struct err *err)
{
    if (!url_decode(value, value, strlen(value), false))
        return err_set(err, ERR_INVALID, "a multipart name holds a NUL");
    free(*at);
    *at = strdup(value);
    return *at || err_set(err, ERR_INTERNAL, "no memory for a multipart part");
}

/* form-data; name="image"; filename="a.png"; filename*=UTF-8''%c3%a9.png */
static bool read_disposition(struct multipart_part *part, const char *at, const char *end,
                             struct err *err)
{
    char key[16], value[1024];
    bool star = false, ok = true;
    while (ok && next_parameter(&at, end, key, sizeof key, value, sizeof value)) {
        if (strcasecmp(key, "name") == 0) {
            ok = set_decoded(&part->name, value, err);
        } else if (strcasecmp(key, "filename") == 0 && !star) {
            ok = set_decoded(&part->filename, value, err);
        } else if (strcasecmp(key, "filename*") == 0) {
            char *quote = strchr(value, '\'');
            quote = quote ? strchr(quote + 1, '\'') : NULL;
            star = quote != NULL;
            ok = !quote || set_decoded(&part->filename, quote + 1, err);
        }
    }
    return ok;
}

static bool read_type(struct multipart_part *part, const char *at, const char *end, struct err *err)
{
    while (at < end && is_space(*at))
        at++;
    const char *stop = at;
    while (stop < end && *stop != ';' && !is_space(*stop))
        stop++;
    free(part->mime);
    part->mime = strndup(at, (size_t)(stop - at));
    for (char *p = part->mime; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p += 'a' - 'A';
    return part->mime || err_set(err, ERR_INTERNAL, "no memory for a multipart part");
}

/* Header lines up to the empty one; returns the start of the data, NULL on an error. */
static const char *read_headers(struct multipart_part *part, const char *at, const char *end,
                                struct err *err)
{
    const char *start = at;
    for (;;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline) {
            err_set(err, ERR_INVALID, "a multipart part ends within its headers");
            return NULL;
        }
        if (newline - start > MULTIPART_HEADERS_MAX) {
            err_set(err, ERR_TOO_LARGE, "the headers of a multipart part are over %d bytes",
                    MULTIPART_HEADERS_MAX);
            return NULL;
        }
        const char *stop = newline > at && newline[-1] == '\r' ? newline - 1 : newline;
        if (stop == at)
            return newline + 1;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        size_t name = colon ? (size_t)(colon - at) : 0;
        bool ok = true;
        if (name == 19 && strncasecmp(at, "Content-Disposition", name) == 0)
            ok = read_disposition(part, colon + 1, stop, err);
        else if (name == 12 && strncasecmp(at, "Content-Type", name) == 0)
            ok = read_type(part, colon + 1, stop, err);
        if (!ok)
            return NULL;
        at = newline + 1;
    }
}

static bool check_part(const struct multipart_part *part, size_t number, struct err *err)
{
    if (!part->name)
        return err_set(err, ERR_INVALID, "multipart part %zu has no name", number);
    if (!json_text_is_utf8(part->name, strlen(part->name), NULL))
        return err_set(err, ERR_INVALID, "the name of multipart part %zu is not UTF-8", number);
    return true;
}

bool multipart_parse(struct multipart *out, const char *content_type, const char *body, size_t size,
                     struct err *err)
{
    *out = (struct multipart){NULL, 0};
    char boundary[BOUNDARY_MAX + 1], delimiter[BOUNDARY_MAX + 5];
    if (!multipart_boundary(content_type, boundary, err))
        return false;
    size_t n = (size_t)snprintf(delimiter, sizeof delimiter, "\r\n--%s", boundary);

    /* The delimiter is CRLF--boundary, but the first one may stand at the very start. */
    const char *end = body + size, *at;
    if (size >= n - 2 && memcmp(body, delimiter + 2, n - 2) == 0)
        at = body + n - 2;
    else if ((at = memmem(body, size, delimiter, n)) != NULL)
        at += n;
    else
        return err_set(err, ERR_INVALID, "the multipart body does not have its boundary");

    size_t capacity = 0;
    for (;;) {
        if (end - at >= 2 && at[0] == '-' && at[1] == '-')
            return true;
        while (at < end && is_space(*at))
            at++;
        if (at < end && *at == '\r')
            at++;
        if (at == end || *at++ != '\n') {
            err_set(err, ERR_INVALID, "a multipart boundary is not followed by a line end");
            goto fail;
        }
        if (out->count == MULTIPART_PARTS_MAX) {
            err_set(err, ERR_TOO_LARGE, "the multipart body has more than %d parts",
                    MULTIPART_PARTS_MAX);
            goto fail;
        }
        if (out->count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            struct multipart_part *parts = realloc(out->parts, capacity * sizeof *parts);
            if (!parts) {
                err_set(err, ERR_INTERNAL, "no memory for multipart parts");
                goto fail;
            }
            out->parts = parts;
        }
        struct multipart_part *part = &out->parts[out->count++];
        *part = (struct multipart_part){0};
        part->data = read_headers(part, at, end, err);
        if (!part->data || !check_part(part, out->count, err))
            goto fail;
        /* An empty part's delimiter begins with the line end of its headers. */
        const char *from =
            part->data - 2 >= body && part->data[-2] == '\r' ? part->data - 2 : part->data;
        const char *data_end = memmem(from, (size_t)(end - from), delimiter, n);
        if (!data_end) {
            err_set(err, ERR_INVALID, "the multipart body ends within part %zu ('%.40s')",
                    out->count, part->name);
            goto fail;
        }
        part->size = data_end > part->data ? (size_t)(data_end - part->data) : 0;
        at = data_end + n;
    }

fail:
    multipart_free(out);
    return false;
}

void multipart_free(struct multipart *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->parts[i].name);
        free(m->parts[i].filename);
        free(m->parts[i].mime);
    }
    free(m->parts);
    *m = (struct multipart){NULL, 0};
}
