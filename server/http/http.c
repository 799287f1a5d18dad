/* http.c: requests come in, pass the gates, reach a handler, and end.
 *
 * A pool of libmicrohttpd's threads, each with its own epoll set, reads requests and runs handlers.
 * It calls on_request first with the headers (the gates: Host, Origin, route, key, limits), then
 * for each piece of the body, then once the request is complete (the handler), and again whenever a
 * suspended connection was resumed (http_wait.c, http_stream.c).
 *
 * A request that a gate refuses still has its body read and dropped (up to a bound), so that the
 * client sees the answer and not a reset connection.
 *
 * Locks, in the order they are taken: http->lock (lists) or a subscription's or hangup's own, then
 * request->lock (notified, suspended, gone, the stream's buffer), then libmicrohttpd's. Everything
 * else of a request belongs to the thread that libmicrohttpd calls us on. */
#include "server/http/http_private.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/base/settings.h"
#include "server/base/url.h"
#include "server/http/hangup.h"
#include "server/http/rate.h"

#define WORK_THREADS 2 /* one may resize pictures for seconds while the other one searches */
#define FAR_THREADS 4  /* a slow server holds up one, not those who ask others */
#define THREADS 8                    /* handlers wait for the disk now and then, never for a job */
#define CONNECTION_MEMORY (64 << 10) /* request line and headers must fit into half of it */
#define IGNORED_BODY_MAX (64 << 10)  /* ROUTE_BODY_NONE */
#define SMALL_BODY_MAX (1 << 20)     /* ROUTE_BODY_SMALL */

/* ---- accessors ---- */

const struct app *http_app(const struct http_request *req)
{
    return req->http->options.app;
}

const char *http_path(const struct http_request *req)
{
    return req->path;
}

const char *http_param(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->params.count; i++)
        if (req->params.at[i].name_size == strlen(name) &&
            memcmp(req->params.at[i].name, name, strlen(name)) == 0)
            return req->params.at[i].value;
    return "";
}

char *http_keep_string(struct http_request *req, size_t size)
{
    struct string *s = malloc(sizeof *s + size);
    if (!s)
        return NULL;
    s->next = req->strings;
    req->strings = s;
    return s->text;
}

const char *http_query(struct http_request *req, const char *name)
{
    const char *raw = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(req->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &raw,
                                      &size) != MHD_YES)
        return NULL;
    char *text = raw ? http_keep_string(req, size + 1) : NULL;
    return text && url_decode(text, raw, size, true) ? text : "";
}

const char *http_header(const struct http_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

const char *http_body(const struct http_request *req, size_t *size)
{
    *size = req->body_size;
    return req->body ? req->body : "";
}

bool http_content_type_is(const struct http_request *req, const char *type)
{
    const char *got = http_header(req, "Content-Type");
    if (!got)
        return false;
    got += strspn(got, " \t");
    size_t n = strcspn(got, "; \t"), want = strlen(type);
    if (n == want && strncasecmp(got, type, n) == 0)
        return true;
    return strcmp(type, "application/json") == 0 && n > 5 + 12 &&
           strncasecmp(got, "application/", 12) == 0 && strncasecmp(got + n - 5, "+json", 5) == 0;
}

struct cJSON *http_json(const struct http_request *req, struct err *err)
{
    size_t size;
    const char *body = http_body(req, &size);
    cJSON *json = json_text_parse(body, size, req->http->options.settings->max_json_depth, err);
    bool ok = true;
    const char *twice = json ? json_text_repeated(json, &ok) : NULL;
    if (!twice && ok)
        return json;
    if (twice)
        err_set(err, ERR_INVALID, "an object of the JSON has the name \"%.60s\" twice", twice);
    else
        err_set(err, ERR_INTERNAL, "no memory for the JSON");
    cJSON_Delete(json);
    return NULL;
}

int64_t http_started_ms(const struct http_request *req)
{
    return req->started_ms;
}

const char *http_base_url(struct http_request *req)
{
    const struct settings *s = req->http->options.settings;
    if (*s->public_url)
        return s->public_url;
    const char *proto = http_header(req, "X-Forwarded-Proto");
    const char *scheme = proto && strcasecmp(proto, "https") == 0 ? "https" : "http";
    char local[32];
    snprintf(local, sizeof local, "127.0.0.1:%d", req->http->port);
    const char *host = req->access.host ? req->access.host : local;
    size_t size = strlen(scheme) + strlen(host) + 4;
    char *url = http_keep_string(req, size);
    if (url)
        snprintf(url, size, "%s://%s", scheme, host);
    return url ? url : "";
}

const char *http_request_id(const struct http_request *req)
{
    return req->id;
}

const char *http_key_id(const struct http_request *req)
{
    return req->grant.key_id;
}

const char *http_visible_key(const struct http_request *req)
{
    return req->grant.admin ? NULL : req->grant.key_id;
}

bool http_is_admin(const struct http_request *req)
{
    return req->grant.admin;
}

bool http_rate_left(const struct http_request *req, int *left, int64_t *full_ms)
{
    if (!req->http->rate || !*req->grant.key_id)
        return false;
    rate_left(req->http->rate, req->grant.key_id, now_ms(), left, full_ms);
    return true;
}

/* ---- a request comes in ---- */

static void refuse(struct http_request *req, int status, const struct err *err)
{
    req->refused = true;
    req->refusal_err = *err;
    req->refusal = (struct http_problem){status, err->code, req->refusal_err.msg, NULL};
}

static size_t body_limit(const struct http_request *req)
{
    switch (req->route->body) {
    case ROUTE_BODY_NONE:
        return IGNORED_BODY_MAX;
    case ROUTE_BODY_SMALL:
        return SMALL_BODY_MAX;
    case ROUTE_BODY_IMAGES:
        return req->http->options.settings->max_body_bytes;
    }
    return 0;
}

static void check_route(struct http_request *req)
{
    struct err err;
    bool preflight = strcmp(req->method, "OPTIONS") == 0;
    const struct route_table *routes = req->http->options.routes;
    enum route_result found = route_find(routes, req->method, req->path, &req->route, &req->params,
                                         req->allow, sizeof req->allow);
    req->dialect = req->route ? req->route->dialect : routes->dialect_of(req->path);
    if (found == ROUTE_NO_PATH || !routes->is_on(req->http->options.settings, req->dialect)) {
        err_set(&err, ERR_NOT_FOUND, "Invalid URL (%s %.120s)", req->method, req->path);
        refuse(req, 404, &err);
    } else if (found == ROUTE_NO_METHOD && !preflight) {
        err_set(&err, ERR_INVALID,
                "Not allowed to %s on %.80s. (HINT: Perhaps you meant to use a different HTTP "
                "method?)",
                req->method, req->path);
        refuse(req, 405, &err);
    } else if (found == ROUTE_NO_MEMORY) {
        err_set(&err, ERR_INTERNAL, "out of memory");
        refuse(req, 500, &err);
    }
}

static void check_body_size(struct http_request *req)
{
    const char *length = http_header(req, "Content-Length");
    struct err err;
    if (length && strtoull(length, NULL, 10) > req->body_limit) {
        err_set(&err, ERR_TOO_LARGE, "the body must be at most %zu bytes, got %.20s",
                req->body_limit, length);
        refuse(req, 413, &err);
    }
}

static void refuse_for_now(struct http_request *req, int64_t ms, const struct err *err)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(ms + 999) / 1000);
    http_reply_header(req, "Retry-After", seconds);
    refuse(req, 429, err);
}

/* Without keys clients cannot be told apart, so they have no limit. */
static void check_rate(struct http_request *req)
{
    const char *key_id = req->grant.key_id;
    struct err err;
    int64_t wait = req->http->rate && req->route->paints && *key_id
                       ? rate_take(req->http->rate, key_id, req->created_ms)
                       : 0;
    if (wait == 0)
        return;
    err_set(&err, ERR_BUSY, "this key may ask for pictures %d times a minute: wait %lld s",
            req->http->options.settings->max_requests_per_minute, (long long)(wait + 999) / 1000);
    refuse_for_now(req, wait, &err);
}

static bool check_right(struct http_request *req)
{
    struct err err;
    if (access_check_right(&req->grant, req->route->admin, req->route->worker, &err))
        return true;
    refuse(req, 403, &err);
    return false;
}

/* The key. Who has sent many wrong passwords cannot try more of them for a while, but a key, which
 * nobody guesses, opens as ever and is not counted: behind a proxy all have one address. */
static bool check_gate(struct http_request *req)
{
    const struct http_options *o = &req->http->options;
    const struct http_client *address = req->connection ? req->connection->address : NULL;
    const char *name = address ? address->name : "";
    struct err err;
    int64_t wait = rate_wait(req->http->failures, name, req->created_ms);
    req->access.throttled = wait > 0;
    if (o->gate(o->app, &req->access, &req->grant, &err)) {
        http_connection_known(req->http, req->connection);
        return check_right(req);
    }
    const char *sent = req->access.authorization;
    bool wrong = err.code == ERR_DENIED && sent && strncasecmp(sent, "Basic ", 6) == 0;
    if (wrong && wait == 0)
        wait = rate_take(req->http->failures, name, req->created_ms);
    if (wrong && wait > 0) { /* also a right one, which was not tried */
        err_set(&err, ERR_BUSY, "too many wrong passwords from this address");
        refuse_for_now(req, wait, &err);
    } else {
        refuse(req, err.code == ERR_DENIED ? 401 : http_error_status(err.code), &err);
    }
    return false;
}

/* A key's requests that are open at the same time. */
static void check_open(struct http_request *req)
{
    int most = req->http->options.settings->max_open_requests_per_key;
    char name[sizeof req->client->name];
    struct err err;
    if (!*req->grant.key_id)
        return;
    snprintf(name, sizeof name, "key %s", req->grant.key_id);
    if (http_client_enter(req, name, most))
        return;
    err_set(&err, ERR_BUSY, "this key has %d requests open: end some of them first", most);
    refuse_for_now(req, 5000, &err);
}

/* The gates, cheapest first; the first that refuses decides the answer. */
static void check_request(struct http_request *req, const char *version)
{
    const struct http_options *o = &req->http->options;
    const char *param;
    struct err err;
    int status = http_head_check(req, version, &err);
    req->dialect = o->routes->dialect_of(req->path);
    if (status) {
        req->broken = status != 415;
        refuse(req, status, &err);
        return;
    }
    if (!access_check_host(o->settings, req->http->loopback, &req->access, &err) ||
        !access_check_origin(o->settings, &req->access, &err)) {
        refuse(req, err.code == ERR_DENIED ? 403 : 400, &err);
        return;
    }
    check_route(req);
    if (req->refused || strcmp(req->method, "OPTIONS") == 0)
        return;
    req->body_limit = body_limit(req);
    if (req->route->access != ROUTE_OPEN && !check_gate(req))
        return;
    if (!http_head_query(req, &param, &err)) {
        refuse(req, 400, &err);
        req->refusal.param = param;
        return;
    }
    check_body_size(req);
    if (!req->refused)
        check_open(req);
    if (!req->refused)
        check_rate(req);
}

static void set_remote(struct http_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, req->remote,
                  sizeof req->remote);
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, req->remote,
                  sizeof req->remote);
}

/* When all of it must have come: who sends at least so many bytes a second has the time for it. */
static int64_t deadline_of(const struct http_request *req)
{
    const struct settings *s = req->http->options.settings;
    return req->created_ms + s->request_timeout * INT64_C(1000) +
           (int64_t)(req->received * 1000 / s->min_body_rate);
}

static struct http_request *request_new(struct http *http, struct MHD_Connection *conn,
                                        const char *method, const char *path)
{
    struct http_request *req = calloc(1, sizeof *req);
    if (!req)
        return NULL;
    req->http = http;
    req->conn = conn;
    req->method = method;
    req->path = path;
    req->created_ms = req->allowed_ms = now_ms();
    req->started_ms = now_unix_ms();
    req->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    req->connection =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    pthread_mutex_init(&req->lock, NULL);
    set_remote(req);
    http_head_name(req);
    req->access = (struct access_request){
        .method = method,
        .host = http_header(req, "Host"),
        .origin = http_header(req, "Origin"),
        .fetch_site = http_header(req, "Sec-Fetch-Site"),
        .authorization = http_header(req, "Authorization"),
        .api_key = http_header(req, "api-key"),
        .remote = req->remote,
        .secret = http_header(req, "X-Pictor-Secret")};
    if (*http->options.settings->forward_auth_header)
        req->access.user = http_head_single(req, http->options.settings->forward_auth_header);

    pthread_mutex_lock(&http->lock);
    req->next = http->requests;
    if (req->next)
        req->next->previous = req;
    http->requests = req;
    pthread_mutex_unlock(&http->lock);
    http_connection_deadline(req->connection, deadline_of(req));
    if (req->connection && req->connection->address)
        http_client_enter(req, req->connection->address->name, INT_MAX);
    return req;
}

static void drop_body(struct http_request *req)
{
    http_client_hold(req, HTTP_BODIES, req->body_capacity, 0);
    free(req->body);
    free(req->sent_body);
    req->body = req->sent_body = NULL;
    req->body_size = req->body_capacity = 0;
}

static void log_request(const struct http_request *req, int status, int64_t ms)
{
    bool probe = req->route && req->route->probe;
    char method[32], path[256];
    log_event(probe ? LOG_DEBUG : LOG_INFO, "http",
              "method=%s path=%s status=%d bytes=%zu ms=%lld key=%s remote=%s req=%s",
              log_quote(method, sizeof method, req->method),
              log_quote(path, sizeof path, req->path), status, req->sent, (long long)ms,
              *req->grant.key_id ? req->grant.key_id : "-", req->remote, req->id);
}

/* The end of a request, whether it was answered or not: libmicrohttpd's last word about it. */
static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = cls;
    struct http_request *req = *con_cls;
    if (!req)
        return;
    *con_cls = NULL;
    if (req->watched)
        hangup_forget(http->hangup, req->fd);
    /* A resumed connection whose peer is gone may end here without another call of on_request. */
    http_wait_abandon(req);
    if (req->wait.waiter)
        req->wait.waiter->free(req->wait.ctx);

    int64_t now = now_ms(), ms = now - req->created_ms;
    int status = req->queued ? req->status : 499; /* nginx's number for a client that left */
    pthread_mutex_lock(&http->lock);
    if (req->previous)
        req->previous->next = req->next;
    else
        http->requests = req->next;
    if (req->next)
        req->next->previous = req->previous;
    http_connection_deadline(req->connection,
                             now + http->options.settings->request_timeout * INT64_C(1000));
    http->stats.dialects[req->dialect].requests[status / 100]++;
    http->stats.dialects[req->dialect].seconds += (double)ms / 1000;
    pthread_mutex_unlock(&http->lock);

    http_stream_free(req->stream);
    log_request(req, status, ms);
    if (req->response)
        MHD_destroy_response(req->response);
    for (size_t i = 0; i < req->header_count; i++) {
        free(req->headers[i].name);
        free(req->headers[i].value);
    }
    while (req->strings) {
        struct string *s = req->strings;
        req->strings = s->next;
        free(s);
    }
    http_reply_hold(req, 0);
    http_body_forget(req);
    drop_body(req);
    http_client_exit(req);
    route_params_free(&req->params);
    pthread_mutex_destroy(&req->lock);
    free(req);
}

/* ---- its body ---- */

/* Room for `size` bytes and a NUL. */
static bool reserve_body(struct http_request *req, size_t size, struct err *err)
{
    if (size < req->body_capacity)
        return true;
    size_t capacity = size < 4096 ? 8192 : 2 * size;
    if (capacity > req->body_limit + 1)
        capacity = req->body_limit + 1;
    if (!http_client_hold(req, HTTP_BODIES, req->body_capacity, capacity))
        return err_set(err, ERR_BUSY, "too many large requests at the same time");
    char *body = realloc(req->body, capacity);
    if (!body) {
        http_client_hold(req, HTTP_BODIES, capacity, req->body_capacity);
        return err_set(err, ERR_BUSY, "no memory for the body");
    }
    req->body = body;
    req->body_capacity = capacity;
    return true;
}

/* How much of a refused body is read for the sake of the answer. */
static size_t drain_limit(const struct http_request *req)
{
    return 4 * req->body_limit + SMALL_BODY_MAX;
}

static enum MHD_Result take_body(struct http_request *req, const char *data, size_t size)
{
    struct err err;
    req->received += size;
    http_connection_deadline(req->connection, deadline_of(req));
    if (!req->refused && req->received > req->body_limit) {
        err_set(&err, ERR_TOO_LARGE, "the body must be at most %zu bytes", req->body_limit);
        refuse(req, 413, &err);
    }
    if (req->refused) {
        drop_body(req);
        return req->received <= drain_limit(req) ? MHD_YES : MHD_NO;
    }
    if (req->route && req->route->body != ROUTE_BODY_NONE) {
        if (!reserve_body(req, req->body_size + size, &err)) {
            refuse(req, 503, &err);
            drop_body(req);
            return MHD_YES;
        }
        memcpy(req->body + req->body_size, data, size);
        req->body_size += size;
        req->body[req->body_size] = '\0';
    }
    return MHD_YES;
}

/* ---- its answer ---- */

static void answer_options(struct http_request *req)
{
    char methods[80];
    snprintf(methods, sizeof methods, "%s%sOPTIONS", req->allow, *req->allow ? ", " : "");
    http_reply_header(req, "Allow", methods);
    if (access_is_cors(req->http->options.settings, &req->access)) {
        const char *wanted = http_header(req, "Access-Control-Request-Headers");
        http_reply_header(req, "Access-Control-Allow-Methods", methods);
        if (wanted)
            http_reply_header(req, "Access-Control-Allow-Headers", wanted);
        http_reply_header(req, "Access-Control-Max-Age", "600");
        if (http_header(req, "Access-Control-Request-Private-Network"))
            http_reply_header(req, "Access-Control-Allow-Private-Network", "true");
    }
    http_reply_empty(req, 204);
}

static void handle(struct http_request *req)
{
    req->route->handler(req);
}

/* The handler was apart, or a look was. */
static void come_back(struct http_request *req)
{
    if (req->apart_piece != handle) {
        http_wait_go_on(req);
        return;
    }
    drop_body(req);
    if (req->wait.active)
        http_wait_begin(req);
}

static void dispatch(struct http_request *req)
{
    http_connection_deadline(req->connection, 0);
    if (req->refused)
        http_reply_problem(req, &req->refusal);
    else if (req->http->stopping)
        http_wait_refuse_stopping(req);
    else if (strcmp(req->method, "OPTIONS") == 0)
        answer_options(req);
    else if (!http_apart_is_wanted(req))
        req->route->handler(req);
    else if (http_apart_room(req))
        req->away = http_apart(req, handle);
}

/* What became of the request on this call of libmicrohttpd's. */
static enum MHD_Result finish(struct http_request *req)
{
    if (req->away || (!req->response && req->wait.active))
        return MHD_YES;
    if (req->abandoned)
        return MHD_NO;
    if (!req->response) {
        struct err err;
        err_set(&err, ERR_INTERNAL, "out of memory");
        http_reply_error(req, &err, NULL);
    }
    return req->response ? http_reply_queue(req) : MHD_NO;
}

/* A refusal before the body was sent at all, or with more to come than we would read. */
static bool must_answer_early(const struct http_request *req)
{
    const char *length = http_header(req, "Content-Length");
    return req->broken ||
           (req->refused && (http_header(req, "Expect") ||
                             (length && strtoull(length, NULL, 10) > drain_limit(req))));
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **con_cls)
{
    struct http_request *req = *con_cls;
    if (!req) {
        req = *con_cls = request_new(cls, conn, method, url);
        if (!req)
            return MHD_NO;
        check_request(req, version);
        if (!must_answer_early(req))
            return MHD_YES;
        http_reply_header(req, "Connection", "close");
        dispatch(req);
        return finish(req);
    }
    if (*size > 0) {
        size_t n = *size;
        *size = 0;
        return take_body(req, data, n);
    }
    req->away = false;
    if (!req->dispatched) {
        req->dispatched = true;
        dispatch(req);
        if (!req->away && http_apart_back(req))
            come_back(req);
        else if (!req->away)
            drop_body(req); /* a request that waits now may wait for minutes */
    } else if (http_apart_back(req)) {
        come_back(req);
    } else if (req->wait.active) {
        http_wait_step(req);
    }
    return finish(req);
}

/* ---- the server ---- */

/* Once a second: pings, a second look of those who wait, and clients that send no request. */
static void on_tick(void *ctx)
{
    struct http *http = ctx;
    int64_t now = now_ms();
    pthread_mutex_lock(&http->lock);
    for (struct http_request *req = http->requests; req; req = req->next) {
        pthread_mutex_lock(&req->lock);
        bool due = req->suspended && req->apart != HTTP_APART_BUSY &&
                   (req->stream ? http_stream_tick(req->stream, now)
                                                  : now - req->wait.checked_ms >= HTTP_RECHECK_MS);
        pthread_mutex_unlock(&req->lock);
        if (due)
            http_wait_wake(req);
    }
    pthread_mutex_unlock(&http->lock);
    http_connection_tick(http, now);
}

void http_stats(const struct http_request *req, struct http_stats *out)
{
    struct http *http = req->http;
    pthread_mutex_lock(&http->lock);
    *out = http->stats;
    for (struct http_request *r = http->requests; r; r = r->next) {
        pthread_mutex_lock(&r->lock);
        if (r->suspended)
            r->stream ? out->streams++ : out->waiting++;
        pthread_mutex_unlock(&r->lock);
    }
    pthread_mutex_unlock(&http->lock);
}

/* Paths and queries are split before they are decoded, so libmicrohttpd must not. */
static size_t no_unescape(void *cls, struct MHD_Connection *conn, char *text)
{
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt, va_list args)
{
    char line[256], quoted[300];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    log_event(LOG_DEBUG, "microhttpd", "msg=%s", log_quote(quoted, sizeof quoted, line));
}

struct http *http_start(const struct http_options *options, struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        err_set(err, ERR_INTERNAL, "no memory for the server");
        return NULL;
    }
    http->options = *options;
    http->stats.dialect_count = options->routes->dialect_count;
    for (int i = 0; i < http->stats.dialect_count; i++)
        http->stats.dialects[i].name = options->routes->dialects[i].name;
    pthread_mutex_init(&http->lock, NULL);
    int fd = http_listen(http, err);
    if (fd < 0)
        goto fail;
    http->hangup = hangup_new(on_tick, http, err);
    if (!http->hangup || !(http->work = http_work_new(WORK_THREADS, err)) ||
        !(http->far = http_work_new(FAR_THREADS, err)) ||
        !(http->far_on = http_work_new(FAR_THREADS, err)))
        goto fail;
    if (strncmp(options->settings->blobs, "s3://", 5) == 0 &&
        (!(http->apart = http_apart_new(err)) || !(http->stored = http_work_new(FAR_THREADS, err))))
        goto fail;
    int per_minute = options->settings->max_requests_per_minute;
    if ((per_minute > 0 && !(http->rate = rate_new(per_minute, err))) ||
        !(http->failures = rate_new(options->settings->max_failures_per_minute, err)))
        goto fail;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->settings->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)options->settings->request_timeout, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape,
        NULL, MHD_OPTION_END);
    if (!http->daemon) {
        err_set(err, ERR_INTERNAL, "cannot start the server on %s", options->settings->listen);
        goto fail;
    }
    return http;

fail:
    if (fd >= 0)
        close(fd);
    rate_free(http->rate);
    rate_free(http->failures);
    http_work_free(http->work);
    http_work_free(http->far);
    http_work_free(http->far_on);
    http_work_free(http->stored);
    http_apart_free(http->apart);
    hangup_free(http->hangup);
    pthread_mutex_destroy(&http->lock);
    free(http);
    return NULL;
}

int http_port(const struct http *http)
{
    return http->port;
}

/* Wakes every suspended request, until there is none, and until answers are out or `ms` is over. */
static void wake_all(struct http *http, int ms)
{
    for (int64_t end = now_ms() + ms;;) {
        bool suspended = false;
        pthread_mutex_lock(&http->lock);
        for (struct http_request *req = http->requests; req; req = req->next) {
            pthread_mutex_lock(&req->lock);
            suspended |= req->suspended;
            pthread_mutex_unlock(&req->lock);
            http_wait_wake(req);
        }
        bool any = http->requests != NULL;
        pthread_mutex_unlock(&http->lock);
        if (!any || (!suspended && now_ms() > end))
            return;
        nanosleep(&(struct timespec){0, 10 * 1000 * 1000}, NULL);
    }
}

void http_stop(struct http *http)
{
    if (!http)
        return;
    MHD_socket fd = MHD_quiesce_daemon(http->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    http->stopping = true;
    wake_all(http, 2000);
    MHD_stop_daemon(http->daemon);
    rate_free(http->rate);
    rate_free(http->failures);
    http_work_free(http->work);
    http_work_free(http->far);
    http_work_free(http->far_on);
    http_work_free(http->stored);
    http_apart_free(http->apart);
    hangup_free(http->hangup);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
