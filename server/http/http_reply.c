/* http_reply.c: answers, and the headers every answer has. */
#include "server/http/http_private.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/gzip.h"

/* What errors, and answers about a single thing, have. They are made whatever else waits. */
#define ANSWER_SMALL (16 << 10)

/* JSON of so many bytes is compressed: less fits into a packet anyway, and more would hold up a
 * server's thread for longer than a disk does (it has pictures in it, which hardly shrink). */
#define PACKED_LEAST 1024
#define PACKED_MOST ((size_t)4 << 20)

void http_reply_header(struct http_request *req, const char *name, const char *value)
{
    if (req->header_count == HTTP_HEADERS_MAX || strpbrk(value, "\r\n"))
        return;
    char *n = strdup(name), *v = strdup(value);
    if (!n || !v) {
        free(n);
        free(v);
        return;
    }
    req->headers[req->header_count].name = n;
    req->headers[req->header_count++].value = v;
}

void http_reply_set(struct http_request *req, int status, struct MHD_Response *response,
                    const char *mime, size_t size)
{
    if (!response)
        return; /* no memory: finish() says so */
    if (req->response)
        MHD_destroy_response(req->response);
    req->response = response;
    req->status = status;
    req->sent = size;
    if (mime)
        MHD_add_response_header(response, "Content-Type", mime);
}

bool http_reply_hold(struct http_request *req, size_t size)
{
    size = size > ANSWER_SMALL ? size : 0;
    bool room = http_client_hold(req, HTTP_ANSWERS, req->held, size);
    if (room)
        req->held = size;
    return room;
}

void http_reply_full(struct http_request *req)
{
    struct http_problem problem = {503, ERR_BUSY, "too many answers wait for their clients to read",
                                   NULL};
    http_reply_problem(req, &problem);
}

void http_reply_data(struct http_request *req, int status, const char *mime, void *data,
                     size_t size, void (*free_fn)(void *))
{
    if (free_fn && !http_reply_hold(req, size)) {
        free_fn(data);
        http_reply_full(req);
        return;
    }
    struct http_part part;
    if (!http_part_look(req, status, size, &part)) {
        if (free_fn)
            free_fn(data);
        return;
    }
    char *from = (char *)data + part.first;
    struct MHD_Response *response =
        free_fn ? MHD_create_response_from_buffer_with_free_callback_cls(part.count, from, free_fn,
                                                                         data)
                : MHD_create_response_from_buffer(part.count, from, MHD_RESPMEM_PERSISTENT);
    if (!response && free_fn)
        free_fn(data);
    http_reply_set(req, part.status, response, mime, part.count);
    http_part_headers(req, &part);
}

/* JSON, compressed where it pays and the client takes it. */
static void reply_json_text(struct http_request *req, int status, char *text)
{
    size_t size = strlen(text), packed = 0;
    bool worth = size >= PACKED_LEAST && size <= PACKED_MOST;
    void *data = NULL;
    if (worth && gzip_taken(http_header(req, "Accept-Encoding")))
        data = gzip_pack(text, size, &packed);
    if (data) {
        cJSON_free(text);
        if (!http_reply_hold(req, packed)) {
            free(data);
            http_reply_full(req);
            return;
        }
    }
    if (data)
        http_reply_data(req, status, "application/json", data, packed, free);
    else
        http_reply_data(req, status, "application/json", text, size, cJSON_free);
    if (data && req->response)
        MHD_add_response_header(req->response, "Content-Encoding", "gzip");
    if (worth && req->response)
        MHD_add_response_header(req->response, "Vary", "Accept-Encoding");
}

void http_reply_json(struct http_request *req, int status, struct cJSON *json)
{
    char *text = json ? json_text_print(json) : NULL;
    cJSON_Delete(json);
    /* Messages quote what came, cut to some length or not UTF-8 at all. */
    if (text && status >= 400)
        json_text_mend(text);
    if (text && req->files && status < 400)
        http_body_reply(req, status, "application/json", text);
    else if (text)
        reply_json_text(req, status, text);
}

void http_reply_text(struct http_request *req, int status, const char *mime, const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    http_reply_set(req, status, response, mime, strlen(text));
}

void http_reply_empty(struct http_request *req, int status)
{
    http_reply_set(req, status, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT),
                   NULL, 0);
}

void http_reply_problem(struct http_request *req, const struct http_problem *problem)
{
    req->wait.active = false;
    req->http->options.routes->dialects[req->dialect].error(req, problem);
}

void http_reply_error(struct http_request *req, const struct err *err, const char *param)
{
    struct http_problem problem = {http_error_status(err->code), err->code, err->msg, param};
    if (problem.status >= 500)
        log_err(LOG_ERROR, "http_error", err, "req=%s", req->id);
    http_reply_problem(req, &problem);
}

static void add_default(struct MHD_Response *response, const char *name, const char *value)
{
    if (!MHD_get_response_header(response, name))
        MHD_add_response_header(response, name, value);
}

static void add_headers(struct http_request *req)
{
    struct MHD_Response *r = req->response;
    if (req->grant.limited && req->route && req->route->paints)
        req->http->options.limits(req, req->status);
    for (size_t i = 0; i < req->header_count; i++)
        MHD_add_response_header(r, req->headers[i].name, req->headers[i].value);
    MHD_add_response_header(r, "x-request-id", req->id);
    if (req->status == 429 || req->status == 503 || req->status == 507)
        add_default(r, "Retry-After", "5");
    if (req->status == 405 && *req->allow)
        add_default(r, "Allow", req->allow);
    if (req->status == 401)
        add_default(r, "WWW-Authenticate",
                    req->http->options.routes->dialects[req->dialect].basic ||
                            req->http->options.settings->api_auth.count > 0
                        ? "Basic realm=\"pictor\", charset=\"UTF-8\""
                        : "Bearer realm=\"pictor\"");
    add_default(r, "Cache-Control", "no-store");
    add_default(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    add_default(r, "Cross-Origin-Resource-Policy", "same-origin");
    add_default(r, "X-Content-Type-Options", "nosniff");
    add_default(r, "X-Frame-Options", "DENY");
    add_default(r, "Referrer-Policy", "no-referrer");
    if (req->http->options.settings->cors_origins.count > 0)
        MHD_add_response_header(r, "Vary", "Origin"); /* beside what it varies by already */
    if (access_is_cors(req->http->options.settings, &req->access)) {
        add_default(r, "Access-Control-Allow-Origin", req->access.origin);
        add_default(r, "Access-Control-Expose-Headers",
                    "x-request-id, content-range, etag, openai-processing-ms, "
                    "retry-after, x-ignored-parameters, "
                    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
                    "x-ratelimit-reset-requests, x-ratelimit-limit-pictures, "
                    "x-ratelimit-remaining-pictures, x-ratelimit-reset-pictures, "
                    "x-ratelimit-limit-megapixel-steps, x-ratelimit-remaining-megapixel-steps, "
                    "x-ratelimit-reset-megapixel-steps, x-ratelimit-limit-money, "
                    "x-ratelimit-remaining-money, x-ratelimit-reset-money");
    }
}

enum MHD_Result http_reply_queue(struct http_request *req)
{
    add_headers(req);
    enum MHD_Result ok = MHD_queue_response(req->conn, (unsigned)req->status, req->response);
    MHD_destroy_response(req->response);
    req->response = NULL;
    req->queued = ok == MHD_YES;
    return ok;
}
