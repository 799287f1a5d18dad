/* fetch.c: libcurl, its multi interface for many transfers and its easy one for a file. */
#include "server/paint/fetch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "engine/pictor.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/paint/fetch_inside.h"

#define CONNECT_MS 10000
#define FILE_REDIRECTS 10
#define TEXT_REDIRECTS 5
#define TEXT_MS 60000
#define SAID_BYTES 2048
#define FDS_MAX 8
#define STALL_SECONDS 60 /* a download slower than 1 byte a second for so long has stalled */

struct fetch {
    CURLM *multi;
    struct fetch_transfer *first;
};

struct fetch_transfer {
    struct fetch *fetch;
    struct fetch_transfer *next, **place;
    CURL *easy;
    struct curl_slist *headers;
    curl_mime *form;
    fetch_fn *fn;
    size_t (*news)(void *ctx, const char *body, size_t size);
    bool socket;
    void *ctx;
    size_t max_answer;
    bool too_large;
    char *body;
    size_t size, capacity;
    char error[CURL_ERROR_SIZE];
};

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for a transfer");
}

/* curl_global_init is not thread-safe in every build; the first caller is `serve` or `pull`, with
 * one thread. It counts its calls. */
struct fetch *fetch_new(struct err *err)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (!f || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(f);
        no_memory(err);
        return NULL;
    }
    f->multi = curl_multi_init();
    if (f->multi)
        return f;
    curl_global_cleanup();
    free(f);
    no_memory(err);
    return NULL;
}

static void transfer_free(struct fetch_transfer *t)
{
    if (t->place) {
        *t->place = t->next;
        if (t->next)
            t->next->place = t->place;
    }
    if (t->easy) {
        curl_multi_remove_handle(t->fetch->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_mime_free(t->form);
    curl_slist_free_all(t->headers);
    free(t->body);
    free(t);
}

void fetch_abort(struct fetch_transfer *t)
{
    if (t)
        transfer_free(t);
}

void fetch_free(struct fetch *f)
{
    if (!f)
        return;
    while (f->first)
        transfer_free(f->first);
    curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    free(f);
}

/* ---- what every transfer has ---- */

static bool add_header(struct curl_slist **headers, const char *text)
{
    struct curl_slist *more = curl_slist_append(*headers, text);
    if (more)
        *headers = more;
    return more != NULL;
}

/* Its own function, so that the key is in as few places as possible. */
static bool add_key(struct curl_slist **headers, const char *key, bool basic, struct err *err)
{
    char *coded = NULL, *text;
    if (!key || !*key)
        return true;
    for (const char *p = key; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(err, ERR_INVALID, "a key must not contain spaces or control characters");
    if (basic && !(coded = base64_encode(key, strlen(key))))
        return no_memory(err);
    const char *how = basic ? "Basic" : "Bearer";
    if (asprintf(&text, "Authorization: %s %s", how, coded ? coded : key) < 0)
        text = NULL;
    bool done = (text && add_header(headers, text)) || no_memory(err);
    if (text)
        explicit_bzero(text, strlen(text));
    if (coded)
        explicit_bzero(coded, strlen(coded));
    free(text);
    free(coded);
    return done;
}

static bool add_value(struct curl_slist **headers, const char *name, const char *value)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %s", name, value);
    return add_header(headers, text);
}

static void set_common(CURL *easy, const char *url, struct curl_slist *headers, char *error)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "pictor/" PICTOR_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
}

/* ---- addresses ---- */

/* Called for every address that is connected to: whatever a name resolves to by then, and behind
 * redirects. */
static curl_socket_t open_outside(void *inside, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    if (fetch_inside(&address->addr)) {
        *(bool *)inside = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Without a proxy, which would be connected to instead. */
static void stay_outside(CURL *easy, bool *inside)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_outside);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, inside);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

/* From https never to http. */
static void follow(CURL *easy, const char *url, long redirects)
{
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, redirects);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR,
                     strncasecmp(url, "https:", 6) == 0 ? "https" : "http,https");
}

static void set_inside(struct err *err)
{
    err_set(err, ERR_DENIED,
            "this address is one of the server's own network, which pull_private in its settings "
            "would allow");
}

/* What went wrong, in words, and for who wants to know more in curl's and OpenSSL's. The URL is the
 * operator's; it has no key in it. */
static void set_error(struct err *err, CURLcode code, const char *error)
{
    const char *raw = *error ? error : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        err_set(err, ERR_UPSTREAM, "this machine does not trust the server's certificate (%s)",
                raw);
    else if (code == CURLE_SSL_CONNECT_ERROR)
        err_set(err, ERR_UPSTREAM, "no secure connection: is it https that is spoken there? (%s)",
                raw);
    else if (code == CURLE_SSL_CACERT_BADFILE)
        err_set(err, ERR_UPSTREAM,
                "this machine has no list of certificates to trust; its package is usually called "
                "ca-certificates (%s)",
                raw);
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        err_set(err, ERR_UPSTREAM, "no machine of that name was found: is there a network? (%s)",
                raw);
    else if (code == CURLE_COULDNT_CONNECT)
        err_set(err, ERR_UPSTREAM, "nobody answers there (%s)", raw);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        err_set(err, ERR_UPSTREAM, "nothing came for too long (%s)", raw);
    else if (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING ||
             code == CURLE_PARTIAL_FILE)
        err_set(err, ERR_UPSTREAM, "the server broke the connection off (%s)", raw);
    else
        err_set(err, ERR_UPSTREAM, "%s", raw);
}

/* ---- transfers on a multi handle ---- */

/* libcurl leaves what follows a status 101 to who asked for the upgrade. */
static bool is_switched(const struct fetch_transfer *t)
{
    long code = 0;
    return curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code) == CURLE_OK && code == 101;
}

static bool add_upgrade(struct fetch_transfer *t)
{
    unsigned char nonce[16];
    char line[64] = "Sec-WebSocket-Key: ";
    if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce)
        return false;
    *base64_encode_to(line + strlen(line), nonce, sizeof nonce) = '\0';
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    return add_header(&t->headers, "Connection: Upgrade") &&
           add_header(&t->headers, "Upgrade: websocket") &&
           add_header(&t->headers, "Sec-WebSocket-Version: 13") && add_header(&t->headers, line);
}

static size_t take_body(char *data, size_t one, size_t count, void *ctx)
{
    struct fetch_transfer *t = ctx;
    size_t n = one * count;
    if (n > t->max_answer - t->size) {
        t->too_large = true;
        return 0;
    }
    if (t->size + n + 1 > t->capacity) {
        size_t capacity = t->capacity ? t->capacity : 16384;
        while (capacity < t->size + n + 1)
            capacity *= 2;
        char *body = realloc(t->body, capacity);
        if (!body)
            return 0;
        t->body = body;
        t->capacity = capacity;
    }
    memcpy(t->body + t->size, data, n);
    t->size += n;
    t->body[t->size] = '\0';
    if (t->socket && !is_switched(t))
        return n; /* it is an ordinary answer, which says why there is none */
    size_t used = t->news ? t->news(t->ctx, t->body, t->size) : 0;
    if (used > t->size)
        return 0;
    t->size -= used;
    memmove(t->body, t->body + used, used > 0 ? t->size + 1 : 0);
    return n;
}

static bool add_form(struct fetch_transfer *t, const struct fetch_request *r)
{
    t->form = curl_mime_init(t->easy);
    for (size_t i = 0; t->form && i < r->part_count; i++) {
        const struct fetch_part *in = &r->parts[i];
        curl_mimepart *part = curl_mime_addpart(t->form);
        if (!part || curl_mime_name(part, in->name) != CURLE_OK ||
            curl_mime_data(part, in->data, in->size) != CURLE_OK ||
            (in->file_name && curl_mime_filename(part, in->file_name) != CURLE_OK) ||
            (in->type && curl_mime_type(part, in->type) != CURLE_OK))
            return false;
    }
    return t->form && curl_easy_setopt(t->easy, CURLOPT_MIMEPOST, t->form) == CURLE_OK;
}

static bool add_data(struct fetch_transfer *t, const struct fetch_request *r)
{
    char text[128];
    snprintf(text, sizeof text, "Content-Type: %s", r->type);
    return add_header(&t->headers, text) &&
           curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->data_size) ==
               CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_COPYPOSTFIELDS, r->data) == CURLE_OK;
}

struct fetch_transfer *fetch_start(struct fetch *f, const struct fetch_request *r, fetch_fn *fn,
                                   void *ctx, struct err *err)
{
    struct fetch_transfer *t = calloc(1, sizeof *t);
    if (!t) {
        no_memory(err);
        return NULL;
    }
    t->fetch = f;
    t->fn = fn;
    t->news = r->news;
    t->socket = r->socket;
    t->ctx = ctx;
    t->max_answer = r->max_answer;
    t->easy = curl_easy_init();
    if (!t->easy || !(t->body = calloc(1, 1))) {
        no_memory(err);
        goto fail;
    }
    t->capacity = 1;
    if (!add_key(&t->headers, r->key, r->basic, err))
        goto fail;
    /* No "Expect: 100-continue": servers that do not know it cost a second each time. */
    if (!add_header(&t->headers, "Expect:") ||
        (r->token && !add_value(&t->headers, "Idempotency-Key", r->token)) ||
        (r->about && !add_value(&t->headers, "X-Request-Id", r->about)) ||
        (r->json && !add_header(&t->headers, "Content-Type: application/json")) ||
        (r->parts && !add_form(t, r)) || (r->socket && !add_upgrade(t)) ||
        (r->json && curl_easy_setopt(t->easy, CURLOPT_COPYPOSTFIELDS, r->json) != CURLE_OK) ||
        (r->data && !add_data(t, r))) {
        no_memory(err);
        goto fail;
    }
    set_common(t->easy, r->url, t->headers, t->error);
    curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, r->keep ? 0L : 1L);
    curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, r->keep ? 0L : 1L);
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    if (curl_multi_add_handle(f->multi, t->easy) != CURLM_OK) {
        no_memory(err);
        goto fail;
    }
    t->next = f->first;
    t->place = &f->first;
    if (t->next)
        t->next->place = &t->next;
    f->first = t;
    return t;

fail:
    transfer_free(t);
    return NULL;
}

static const char *header_of(CURL *easy, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                   : "";
}

static int retry_after(CURL *easy)
{
    struct curl_header *header;
    curl_off_t seconds = 0;
    if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return -1;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds < 0 ? -1 : seconds > 86400 ? 86400 : (int)seconds;
}

static void finish(struct fetch_transfer *t, CURLcode code)
{
    struct fetch_answer answer = {.retry_after = -1,
                                  .request_id = header_of(t->easy, "X-Request-Id")};
    long sent = 0, status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &sent);
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    answer.sent = sent > 0;
    answer.status = (int)status;
    if (code == CURLE_OK) {
        answer.retry_after = retry_after(t->easy);
        answer.body = t->body;
        answer.size = t->size;
    } else if (t->too_large) {
        err_set(&answer.err, ERR_UPSTREAM, "its answer is larger than %zu bytes", t->max_answer);
    } else {
        set_error(&answer.err, code, t->error);
    }
    t->fn(t->ctx, &answer);
    transfer_free(t);
}

void fetch_run(struct fetch *f, int timeout_ms)
{
    fetch_run_beside(f, NULL, 0, timeout_ms);
}

void fetch_run_beside(struct fetch *f, const struct pollfd *fds, size_t count, int timeout_ms)
{
    struct curl_waitfd extra[FDS_MAX];
    int running, left;
    curl_multi_perform(f->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &left));) {
        struct fetch_transfer *t = NULL;
        CURLcode code = m->data.result; /* m dies with the handle */
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish(t, code);
        timeout_ms = 0; /* the callback may have made news */
    }
    if (count > FDS_MAX)
        count = FDS_MAX;
    for (size_t i = 0; i < count; i++)
        extra[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = CURL_WAIT_POLLIN};
    curl_multi_poll(f->multi, extra, (unsigned)count, timeout_ms, NULL);
}

void fetch_wake(struct fetch *f)
{
    curl_multi_wakeup(f->multi);
}

/* ---- one transfer, waiting ---- */

struct download {
    const struct fetch_file *file;
    CURL *easy;
    bool begun, refused, full;
    int why; /* errno of a full disk, say */
    bool changed;          /* the rest of another version of the file was sent */
    uint64_t base;    /* where this answer's bytes begin */
    struct err wrong; /* why this is not what was asked for; ERR_NONE */
    char said[SAID_BYTES]; /* the beginning of an error's body */
    size_t said_size;
};

/* A 206 must be the rest of the file from where we stand, to its end. From its beginning will do,
 * too: some servers answer that to any range. */
static bool check_range(struct download *d, bool *restart)
{
    const char *range = header_of(d->easy, "Content-Range");
    unsigned long long first, last, total;
    int n = sscanf(range, " bytes %llu-%llu/%llu", &first, &last, &total);
    bool to_end = (n == 3 && total > 0 && last == total - 1) ||
                  (n == 2 && strchr(range, '*')); /* it does not say how much there is */
    if (to_end && first <= last && (first == d->file->from || first == 0)) {
        *restart = first == 0;
        return true;
    }
    return err_set(&d->wrong, ERR_UPSTREAM,
                   "wanted the file from byte %llu to its end, the server sent \"%.80s\"",
                   (unsigned long long)d->file->from, range);
}

/* The answer's head is complete: is it the rest of the file, the whole file, or an error? */
static bool begin(struct download *d)
{
    long status = 0;
    curl_off_t length = -1;
    const struct fetch_file *f = d->file;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(d->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    d->begun = true;
    if (status != 200 && status != 206)
        return false;
    struct fetch_head head = {.restart = true,
                              .etag = header_of(d->easy, "ETag"),
                              .type = header_of(d->easy, "Content-Type")};
    if (status == 206 && !check_range(d, &head.restart))
        return false;
    if (!head.restart && *f->etag && *head.etag && strcmp(f->etag, head.etag) != 0) {
        d->changed = true;
        return false;
    }
    d->base = head.restart ? 0 : f->from;
    head.total = length < 0 ? 0 : d->base + (uint64_t)length;
    return !f->begin || f->begin(f->ctx, &head);
}

static size_t keep_said(struct download *d, const char *data, size_t n)
{
    size_t room = sizeof d->said - 1 - d->said_size;
    memcpy(d->said + d->said_size, data, n < room ? n : room);
    d->said_size += n < room ? n : room;
    return n < room ? n : 0; /* enough was said */
}

static size_t take_file(char *data, size_t one, size_t count, void *ctx)
{
    struct download *d = ctx;
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206)
        return keep_said(d, data, one * count);
    if (!d->begun && !begin(d)) {
        d->refused = true;
        return 0;
    }
    if (fwrite(data, one, count, d->file->out) != count) {
        d->full = true;
        d->why = errno;
        return 0;
    }
    return one * count;
}

static int watch(void *ctx, curl_off_t total, curl_off_t now, curl_off_t unused1,
                 curl_off_t unused2)
{
    struct download *d = ctx;
    const struct fetch_file *f = d->file;
    if (f->stop && atomic_load(f->stop))
        return 1;
    if (!f->progress || !d->begun || d->refused)
        return 0;
    return !f->progress(f->ctx, d->base + (uint64_t)now, total > 0 ? d->base + (uint64_t)total : 0);
}

/* What a server's error says in words: a header of Hugging Face's, or JSON's "error" or "message".
 * Cut, and without what a terminal would obey. */
static void words_of(CURL *easy, const char *body, char *words, size_t size)
{
    const char *text = header_of(easy, "X-Error-Message");
    cJSON *json = *text ? NULL : json_text_parse(body, strlen(body), 8, NULL);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (!cJSON_IsString(error))
        error = cJSON_GetObjectItemCaseSensitive(cJSON_IsObject(error) ? error : json, "message");
    if (cJSON_IsString(error))
        text = error->valuestring;
    snprintf(words, size, "%s%.*s", *text ? ": " : "", (int)size - 3, text);
    json_text_mend(words);
    for (char *c = words; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    cJSON_Delete(json);
}

static void set_status_error(CURL *easy, long status, const char *body, struct err *err)
{
    char words[160], wait[40] = "later";
    int seconds = retry_after(easy);
    words_of(easy, body, words, sizeof words);
    if (seconds >= 0)
        snprintf(wait, sizeof wait, "in %d seconds", seconds);
    if (status == 401)
        err_set(err, ERR_DENIED, "the server answered 401, it wants a key, or another one%s",
                words);
    else if (status == 403)
        err_set(err, ERR_DENIED, "the server answered 403, this key may not have it%s", words);
    else if (status == 404 || status == 410)
        err_set(err, ERR_NOT_FOUND, "the server answered %ld, it has no such file%s", status,
                words);
    else if (status == 429 || status == 503)
        err_set(err, ERR_BUSY, "the server answered %ld, it has too much to do; try again %s%s",
                status, wait, words);
    else
        err_set(err, ERR_UPSTREAM, "the server answered %ld%s", status, words);
}

/* Nothing comes after what is there: right if that is all there is. */
static bool is_whole(const struct download *d)
{
    unsigned long long total;
    return sscanf(header_of(d->easy, "Content-Range"), " bytes */%llu", &total) == 1 &&
           total == d->file->from;
}

/* *again: the whole file has to be fetched, and no error is set. */
static bool transfer(const struct fetch_file *file, bool *again, struct err *err)
{
    struct download d = {.file = file};
    struct curl_slist *headers = NULL;
    char error[CURL_ERROR_SIZE] = "", range[64], if_range[260];
    bool done = false, inside = false;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return no_memory(err);
    d.easy = curl_easy_init();
    if (!d.easy || !add_key(&headers, file->key, false, err)) {
        if (!d.easy)
            no_memory(err);
        goto done;
    }
    snprintf(range, sizeof range, "Range: bytes=%llu-", (unsigned long long)file->from);
    snprintf(if_range, sizeof if_range, "If-Range: %s", file->etag);
    if (file->from > 0 &&
        (!add_header(&headers, range) || (*file->etag && !add_header(&headers, if_range)))) {
        no_memory(err);
        goto done;
    }
    set_common(d.easy, file->url, headers, error);
    if (file->public_only)
        stay_outside(d.easy, &inside);
    if (!file->stay)
        follow(d.easy, file->url, FILE_REDIRECTS);
    curl_easy_setopt(d.easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(d.easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(d.easy, CURLOPT_WRITEFUNCTION, take_file);
    curl_easy_setopt(d.easy, CURLOPT_WRITEDATA, &d);
    curl_easy_setopt(d.easy, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(d.easy, CURLOPT_XFERINFODATA, &d);
    curl_easy_setopt(d.easy, CURLOPT_NOPROGRESS, 0L);
    CURLcode code = curl_easy_perform(d.easy);
    long status = 0;
    curl_easy_getinfo(d.easy, CURLINFO_RESPONSE_CODE, &status);
    bool fine = status == 200 || status == 206;
    if (code == CURLE_OK && fine && !d.begun)
        d.refused = !begin(&d); /* a file of no bytes */
    *again = d.changed || (status == 416 && file->from > 0 && !is_whole(&d));
    if (inside && code != CURLE_OK)
        set_inside(err);
    else if (d.full)
        err_set(err, d.why == ENOSPC || d.why == EDQUOT ? ERR_NO_ROOM : ERR_IO,
                "cannot write the file: %s", strerror(d.why));
    else if (status == 416 && file->from > 0)
        done = !*again;
    else if (*again)
        done = false;
    else if (status != 0 && !fine)
        set_status_error(d.easy, status, d.said, err);
    else if (d.wrong.code != ERR_NONE)
        err_set(err, d.wrong.code, "%s", d.wrong.msg);
    else if (d.refused || code == CURLE_ABORTED_BY_CALLBACK)
        err_set(err, ERR_CANCELLED, "stopped");
    else if (code != CURLE_OK)
        set_error(err, code, error);
    else
        done = true;

done:
    curl_slist_free_all(headers);
    curl_easy_cleanup(d.easy);
    curl_global_cleanup();
    return done;
}

bool fetch_file(const struct fetch_file *file, struct err *err)
{
    struct fetch_file whole = *file;
    bool again = false;
    if (transfer(file, &again, err))
        return true;
    whole.from = 0;
    whole.etag = "";
    return again && transfer(&whole, &again, err);
}

static int watch_text(void *ctx, curl_off_t total, curl_off_t now, curl_off_t unused1,
                      curl_off_t unused2)
{
    const atomic_bool *stop = ctx;
    return atomic_load(stop);
}

static void heed(CURL *easy, const atomic_bool *stop)
{
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, watch_text);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, (void *)stop);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
}

/* The address that a header "Link: <ADDRESS>; rel=\"next\"" says (RFC 8288), owned; NULL: none
 * does. The key goes along, so it has to be the server's own. */
static bool next_page(CURL *easy, const char *url, char **next, struct err *err)
{
    struct curl_header *h;
    *next = NULL;
    for (size_t i = 0; curl_easy_header(easy, "Link", i, CURLH_HEADER, -1, &h) == CURLHE_OK; i++)
        for (const char *at = strchr(h->value, '<'), *end; at; at = strchr(end, '<')) {
            if (!(end = strchr(at, '>')))
                break;
            size_t size = strcspn(end, "<");
            const char *rel = memmem(end, size, "rel=", 4);
            if (!rel || strncmp(rel + 4 + (rel[4] == '"'), "next", 4) != 0)
                continue;
            char *text = strndup(at + 1, (size_t)(end - at - 1));
            *next = text ? fetch_url_within(url, text, err) : NULL;
            free(text);
            return *next || (err->code == ERR_UPSTREAM ? err_prefix(err, "the rest of its answer")
                                                       : no_memory(err));
        }
    return true;
}

bool fetch_text(const char *url, const char *key, bool public_only, const atomic_bool *stop,
                size_t max, char **body, char **next, struct err *err)
{
    struct fetch_transfer t = {.max_answer = max};
    bool done = false, inside = false;
    long status = 0;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return no_memory(err);
    t.easy = curl_easy_init();
    t.body = calloc(1, 1);
    t.capacity = 1;
    if (!t.easy || !t.body) {
        no_memory(err);
        goto done;
    }
    if (!add_key(&t.headers, key, false, err))
        goto done;
    set_common(t.easy, url, t.headers, t.error);
    if (public_only)
        stay_outside(t.easy, &inside);
    follow(t.easy, url, TEXT_REDIRECTS);
    curl_easy_setopt(t.easy, CURLOPT_TIMEOUT_MS, (long)TEXT_MS);
    curl_easy_setopt(t.easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(t.easy, CURLOPT_WRITEDATA, &t);
    if (stop)
        heed(t.easy, stop);
    CURLcode code = curl_easy_perform(t.easy);
    curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
    if (inside && code != CURLE_OK)
        set_inside(err);
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        err_set(err, ERR_CANCELLED, "stopped");
    else if (t.too_large)
        err_set(err, ERR_UPSTREAM, "its answer is larger than %zu bytes", max);
    else if (code != CURLE_OK)
        set_error(err, code, t.error);
    else if (status != 200)
        set_status_error(t.easy, status, t.body, err);
    else
        done = true;

done:
    if (done && next)
        done = next_page(t.easy, url, next, err);
    if (done)
        *body = t.body;
    else
        free(t.body);
    curl_slist_free_all(t.headers);
    curl_easy_cleanup(t.easy);
    curl_global_cleanup();
    return done;
}

/* What an answer says in its body is nobody's matter. */
static size_t leave_body(char *data, size_t one, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return one * count;
}

bool fetch_post(const char *url, const char *const *headers, const char *json, int timeout_ms,
                bool public_only, const atomic_bool *stop, struct err *err)
{
    struct fetch_transfer t = {0};
    bool done = false, inside = false;
    long status = 0;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return no_memory(err);
    t.easy = curl_easy_init();
    bool ready = t.easy && add_header(&t.headers, "Content-Type: application/json");
    for (size_t i = 0; ready && headers[i]; i++)
        ready = add_header(&t.headers, headers[i]);
    if (!ready) {
        no_memory(err);
        goto done;
    }
    set_common(t.easy, url, t.headers, t.error);
    if (public_only)
        stay_outside(t.easy, &inside);
    curl_easy_setopt(t.easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(t.easy, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(t.easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(t.easy, CURLOPT_WRITEFUNCTION, leave_body);
    heed(t.easy, stop);
    CURLcode code = curl_easy_perform(t.easy);
    curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
    if (inside && code != CURLE_OK)
        err_set(err, ERR_DENIED, "this address is one of the server's own network");
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        err_set(err, ERR_CANCELLED, "stopped");
    else if (code != CURLE_OK)
        set_error(err, code, t.error);
    else if (status < 200 || status > 299)
        err_set(err, ERR_UPSTREAM, "it answered with status %ld", status);
    else
        done = true;

done:
    curl_slist_free_all(t.headers);
    curl_easy_cleanup(t.easy);
    curl_global_cleanup();
    return done;
}
