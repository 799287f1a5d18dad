/* http_set_body.c: another body in the place of the one that came. */
#include "server/http/http_private.h"

#include <stdlib.h>
#include <string.h>

const char *http_body_sent(const struct http_request *req, size_t *size)
{
    if (!req->sent_body)
        return http_body(req, size);
    *size = req->sent_size;
    return req->sent_body;
}

void http_set_body(struct http_request *req, char *text, size_t size, char *sent)
{
    size_t before = req->body_capacity;
    if (req->sent_body) {
        free(sent);
    } else if (sent) {
        req->sent_body = sent;
        req->sent_size = strlen(sent);
    }
    free(req->body);
    req->body = text;
    req->body_size = size;
    req->body_capacity = req->sent_size + req->body_size + 2; /* of both */
    http_client_count(req, HTTP_BODIES, before, req->body_capacity);
}
