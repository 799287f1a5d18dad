/* http_part.c: a part of an answer, for who has the rest of it already. Only what has an ETag is
 * given in parts: parts of what may change meanwhile do not fit together. */
#include "server/http/http_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http/range.h"

static const char *etag_of(const struct http_request *req)
{
    for (size_t i = 0; i < req->header_count; i++)
        if (strcasecmp(req->headers[i].name, "ETag") == 0)
            return req->headers[i].value;
    return NULL;
}

/* The 416 is not to be kept as long as what it refuses. */
static void drop(struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->header_count; i++) {
        if (strcasecmp(req->headers[i].name, name) != 0)
            continue;
        free(req->headers[i].name);
        free(req->headers[i].value);
        req->headers[i--] = req->headers[--req->header_count];
    }
}

static void refuse(struct http_request *req, const char *asked, size_t size)
{
    struct err err;
    char range[40];
    err_set(&err, ERR_INVALID, "Range wants \"%.60s\" of an answer of %zu bytes", asked, size);
    struct http_problem problem = {416, ERR_INVALID, err.msg, NULL};
    drop(req, "Cache-Control");
    drop(req, "ETag");
    drop(req, "Content-Encoding");
    http_reply_problem(req, &problem);
    snprintf(range, sizeof range, "bytes */%zu", size);
    if (req->response)
        MHD_add_response_header(req->response, "Content-Range", range);
}

bool http_part_look(struct http_request *req, int status, size_t size, struct http_part *part)
{
    const char *etag = status == 200 ? etag_of(req) : NULL;
    const char *range = http_header(req, "Range"), *same = http_header(req, "If-Range");
    *part = (struct http_part){status, 0, size, size, etag != NULL};
    /* Of a HEAD it has no meaning (RFC 9110, 14.2). A date in If-Range is none that was given. */
    if (!etag || !range || strcmp(req->method, "GET") != 0 || (same && strcmp(same, etag) != 0))
        return true;
    switch (range_parse(range, size, &part->first, &part->count)) {
    case RANGE_PART:
        part->status = 206;
        return true;
    case RANGE_OUTSIDE:
        refuse(req, range, size);
        return false;
    case RANGE_WHOLE:
        break;
    }
    part->first = 0;
    return true;
}

void http_part_headers(struct http_request *req, const struct http_part *part)
{
    char range[72];
    if (!part->offered || !req->response)
        return;
    MHD_add_response_header(req->response, "Accept-Ranges", "bytes");
    if (part->status != 206)
        return;
    snprintf(range, sizeof range, "bytes %zu-%zu/%zu", part->first, part->first + part->count - 1,
             part->size);
    MHD_add_response_header(req->response, "Content-Range", range);
}
