/* bucket.c: one request to a bucket, its tries, and what a failure means; and the calls that are
 * one request. Connections are kept between calls, a few of them: each handle of libcurl has its
 * own. */
#include "server/store/bucket_private.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/backoff.h"
#include "server/base/now.h"

#define CONNECT_MS 5000
#define PROBE_MS 3000
#define DELETE_MS 5000 /* who removes tries again later */
#define EXPECT_MS 200 /* of a server that does not say whether it wants a large body */
#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 3000
#define ANSWER_BYTES (64 << 10) /* of what is no object */
#define BYTES "application/octet-stream"
#define KEPT_HEADER "x-amz-meta-sha256"

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE, "no memory for a call of the bucket");
}

/* ---- a bucket ---- */

/* What a line of HTTP can carry. */
static bool is_credential(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p == 0x7f)
            return false;
    return *text && strlen(text) < 200;
}

static char *from(const char *setting, const char *variable)
{
    const char *value = setting && *setting ? setting : getenv(variable);
    return strdup(value ? value : "");
}

struct bucket *bucket_new(const struct bucket_options *o, struct err *err)
{
    const char *token = getenv("AWS_SESSION_TOKEN");
    struct bucket *b = calloc(1, sizeof *b);
    if (!b || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(b);
        no_memory(err);
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->timeout_ms = o->timeout_seconds * 1000;
    if (!bucket_place_read(&b->place, o->url, err))
        goto fail;
    b->key = from(o->key, "AWS_ACCESS_KEY_ID");
    b->secret = from(o->secret, "AWS_SECRET_ACCESS_KEY");
    b->token = token && *token && !(o->key && *o->key) ? strdup(token) : NULL;
    if (!b->key || !b->secret) {
        no_memory(err);
        goto fail;
    }
    if (!is_credential(b->key) || !is_credential(b->secret) || strchr(b->key, ':')) {
        err_set(err, ERR_INVALID,
                "a bucket wants its key: bucket_key and bucket_secret, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment");
        goto fail;
    }
    if (b->token && strpbrk(b->token, "\r\n ")) {
        err_set(err, ERR_INVALID, "AWS_SESSION_TOKEN has blanks in it");
        goto fail;
    }
    if (asprintf(&b->user, "%s:%s", b->key, b->secret) >= 0)
        return b;
    b->user = NULL;
    no_memory(err);
fail:
    bucket_free(b);
    return NULL;
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void bucket_free(struct bucket *b)
{
    if (!b)
        return;
    while (b->idle_count > 0)
        curl_easy_cleanup(b->idle[--b->idle_count]);
    bucket_place_free(&b->place);
    free(b->key);
    forget(b->secret);
    forget(b->token);
    forget(b->user);
    pthread_mutex_destroy(&b->lock);
    curl_global_cleanup();
    free(b);
}

static CURL *take_handle(struct bucket *b)
{
    pthread_mutex_lock(&b->lock);
    CURL *easy = b->idle_count > 0 ? b->idle[--b->idle_count] : NULL;
    pthread_mutex_unlock(&b->lock);
    return easy ? easy : curl_easy_init();
}

static void give_handle(struct bucket *b, CURL *easy)
{
    curl_easy_reset(easy); /* keeps its connection */
    pthread_mutex_lock(&b->lock);
    bool room = b->idle_count < sizeof b->idle / sizeof *b->idle;
    if (room)
        b->idle[b->idle_count++] = easy;
    pthread_mutex_unlock(&b->lock);
    if (!room)
        curl_easy_cleanup(easy);
}

/* ---- a request ---- */

struct transfer {
    struct bucket_call *call;
    size_t sent, capacity;
    bool too_large;
};

static size_t take(char *data, size_t one, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    struct bucket_call *c = t->call;
    size_t n = one * count;
    if (n > c->most - c->got) {
        t->too_large = true;
        return 0;
    }
    if (c->got + n + 1 > t->capacity) {
        size_t wanted = c->length > 0 && (uint64_t)c->length <= c->most ? (size_t)c->length : 0;
        size_t capacity = t->capacity ? 2 * t->capacity : wanted + 16384;
        while (capacity < c->got + n + 1)
            capacity *= 2;
        char *grown = realloc(c->body, capacity);
        if (!grown)
            return 0;
        c->body = grown;
        t->capacity = capacity;
    }
    memcpy(c->body + c->got, data, n);
    c->got += n;
    c->body[c->got] = '\0';
    return n;
}

static size_t give(char *out, size_t one, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t left = t->call->size - t->sent, n = one * count < left ? one * count : left;
    memcpy(out, (const char *)t->call->data + t->sent, n);
    t->sent += n;
    return n;
}

/* libcurl begins again on another connection when a kept one turns out to be dead. */
static int rewind_body(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *t = ctx;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->call->size)
        return CURL_SEEKFUNC_CANTSEEK;
    t->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* The value of header `name` in a line of the answer; "" when it is another's. */
static void read_header(char *out, size_t room, const char *line, size_t n, const char *name)
{
    size_t k = strlen(name);
    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
        return;
    size_t from_ = k + 1;
    while (from_ < n && line[from_] == ' ')
        from_++;
    while (n > from_ && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
        n--;
    if (n - from_ < room)
        snprintf(out, room, "%.*s", (int)(n - from_), line + from_);
}

static size_t take_header(char *line, size_t one, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    char length[24] = "";
    read_header(t->call->etag, sizeof t->call->etag, line, one * count, "etag");
    read_header(t->call->kept, sizeof t->call->kept, line, one * count, KEPT_HEADER);
    read_header(length, sizeof length, line, one * count, "content-length");
    if (*length)
        t->call->length = strtoll(length, NULL, 10);
    return one * count;
}

static bool add(struct curl_slist **list, const char *format, const char *value)
{
    char *text;
    if (asprintf(&text, format, value) < 0)
        return false;
    struct curl_slist *more = curl_slist_append(*list, text);
    free(text);
    if (more)
        *list = more;
    return more != NULL;
}

/* libcurl signs these, beside host and date; also one that says only that a header is not to be
 * sent, so that none is here. */
static struct curl_slist *headers_of(const struct bucket *b, const struct bucket_call *c)
{
    char hash[BUCKET_HASH_SIZE];
    struct curl_slist *list = NULL;
    bucket_hash(hash, c->data, c->size);
    if (add(&list, "x-amz-content-sha256: %s", hash) &&
        (!c->data || add(&list, "Content-Type: %s", c->type ? c->type : BYTES)) &&
        (!c->header || add(&list, "%s", c->header)) &&
        (!c->hash || add(&list, KEPT_HEADER ": %s", c->hash)) &&
        (!b->token || add(&list, "x-amz-security-token: %s", b->token)))
        return list;
    curl_slist_free_all(list);
    return NULL;
}

static bool url_of(char *out, size_t room, const struct bucket *b, const struct bucket_call *c)
{
    char name[3 * BUCKET_NAME_MAX + 1] = "";
    if (c->name && !bucket_encode(name, sizeof name, c->name, true))
        return false;
    int n = snprintf(out, room, "%s/%s%s%s%s", b->place.base, c->name ? b->place.prefix : "", name,
                     c->query ? "?" : "", c->query ? c->query : "");
    return n > 0 && (size_t)n < room;
}

static void set_options(CURL *easy, const struct bucket *b, struct transfer *t, const char *url,
                        struct curl_slist *headers, int timeout_ms, char *error)
{
    const struct bucket_call *c = t->call;
    char provider[100];
    snprintf(provider, sizeof provider, "aws:amz:%s:s3", b->place.region);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "pictor/store");
    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, provider);
    curl_easy_setopt(easy, CURLOPT_USERPWD, b->user);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    if (strcmp(c->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (c->data) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->size);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
        curl_easy_setopt(easy, CURLOPT_READDATA, t);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, c->method);
    } else if (strcmp(c->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, c->method);
    }
}

/* What the bucket said of a failure, as one line of plain text. */
static void words_of(const struct bucket_call *c, char out[120])
{
    char code[60] = "", message[120] = "";
    const char *a = c->body ? c->body : "", *m = a;
    bucket_xml(&a, "Code", code, sizeof code);
    bucket_xml(&m, "Message", message, sizeof message);
    snprintf(out, 120, "%s%s%.80s", code, *code && *message ? ": " : "", message);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
            *p = '?';
}

/* *again: the next try may find it otherwise. */
static bool judge(const struct bucket_call *c, CURLcode code, const char *error, bool too_large,
                  bool *again, struct err *err)
{
    char said[120];
    *again = false;
    if (too_large)
        return err_set(err, ERR_IO, "the bucket has more than the %zu bytes wanted", c->most);
    if (code != CURLE_OK) {
        *again = code != CURLE_OUT_OF_MEMORY && code != CURLE_WRITE_ERROR;
        return err_at(err, *error ? error : curl_easy_strerror(code), ERR_UNAVAILABLE,
                      "the bucket cannot be reached");
    }
    if (c->status >= 200 && c->status < 300)
        return true;
    words_of(c, said);
    if (c->status == 404 && !strstr(said, "NoSuchBucket"))
        return err_set(err, ERR_NOT_FOUND, "the bucket has no such object");
    if (c->status == 507 || strstr(said, "QuotaExceeded") || strstr(said, "StorageFull"))
        return err_set(err, ERR_NO_ROOM, "the bucket is full (%d %s)", c->status, said);
    *again = c->status == 429 || c->status == 500 || c->status == 502 || c->status == 503 ||
             c->status == 504 || strstr(said, "RequestTimeout:") != NULL;
    const char *advice =
        strstr(said, "RequestTimeTooSkewed")    ? "; is this machine's clock right?"
        : c->status == 403 || c->status == 401  ? "; are bucket_key and its rights right?"
        : c->status >= 300 && c->status < 400   ? "; is its region right?"
                                                : "";
    return err_set(err, ERR_UNAVAILABLE, "the bucket %s (%d%s%s)%s",
                   *again ? "is not well" : "refuses", c->status, *said ? " " : "", said, advice);
}

static bool try_once(struct bucket *b, struct bucket_call *c, const char *url, int timeout_ms,
                     bool *again, struct err *err)
{
    char error[CURL_ERROR_SIZE] = "";
    struct transfer t = {.call = c};
    struct curl_slist *headers = headers_of(b, c);
    CURL *easy = headers ? take_handle(b) : NULL;
    long status = 0;
    *again = false;
    free(c->body);
    c->body = NULL;
    c->got = 0;
    c->status = 0;
    c->length = -1;
    c->etag[0] = c->kept[0] = '\0';
    if (!easy || !(c->body = calloc(1, 1))) {
        curl_slist_free_all(headers);
        if (easy)
            give_handle(b, easy);
        return no_memory(err);
    }
    t.capacity = 1;
    set_options(easy, b, &t, url, headers, timeout_ms, error);
    CURLcode code = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    c->status = (int)status;
    give_handle(b, easy);
    curl_slist_free_all(headers);
    return judge(c, code, error, t.too_large, again, err);
}

static void wait_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

bool bucket_call(struct bucket *b, struct bucket_call *c, struct err *err)
{
    char url[BUCKET_URL_SIZE + 1200];
    struct err own;
    if (!err)
        err = &own;
    c->body = NULL;
    if (!url_of(url, sizeof url, b, c))
        return err_set(err, ERR_INTERNAL, "the name of an object is too long");
    int64_t end = now_ms() + (c->timeout_ms ? c->timeout_ms : b->timeout_ms);
    for (int failures = 0;; failures++) {
        bool again;
        int64_t left = end - now_ms();
        if (try_once(b, c, url, left > 1 ? (int)left : 1, &again, err))
            return true;
        int rest = backoff_ms(failures + 1, RETRY_LEAST_MS, RETRY_MOST_MS);
        if (!again || c->once || now_ms() + rest >= end)
            return false;
        wait_ms(rest);
    }
}

/* ---- objects ---- */

bool bucket_put(struct bucket *b, const char *name, const char *type, const void *data, size_t size,
                struct err *err)
{
    char hash[BUCKET_HASH_SIZE];
    struct err own = {0};
    bucket_hash(hash, data, size);
    struct bucket_call call = {.method = "PUT",
                               .name = name,
                               .type = type,
                               .hash = hash,
                               .data = size ? data : "",
                               .size = size,
                               .most = ANSWER_BYTES};
    bool done = size > BUCKET_PART ? bucket_put_parts(b, name, type, hash, data, size, &own)
                                   : bucket_call(b, &call, &own);
    free(call.body);
    if (!done && own.code == ERR_NOT_FOUND) /* the bucket's matter, whatever it says is not there */
        own.code = ERR_UNAVAILABLE;
    return done || err_copy(err, &own);
}

bool bucket_get(struct bucket *b, const char *name, size_t most, void **data, size_t *size,
                struct err *err)
{
    char hash[BUCKET_HASH_SIZE];
    struct bucket_call call = {
        .method = "GET", .name = name, .most = most < ANSWER_BYTES ? ANSWER_BYTES : most};
    *data = NULL;
    bool done = bucket_call(b, &call, err);
    if (done && *call.kept) {
        bucket_hash(hash, call.body, call.got);
        if (strcmp(hash, call.kept) != 0)
            done = err_set(err, ERR_IO, "the bucket has other bytes than were put there");
    }
    if (!done) {
        free(call.body);
        return false;
    }
    *data = call.body;
    *size = call.got;
    return true;
}

bool bucket_size(struct bucket *b, const char *name, size_t *size, struct err *err)
{
    char hash[BUCKET_HASH_SIZE];
    return bucket_look(b, name, size, hash, err);
}

bool bucket_look(struct bucket *b, const char *name, size_t *size, char hash[BUCKET_HASH_SIZE],
                 struct err *err)
{
    struct bucket_call call = {.method = "HEAD", .name = name, .most = ANSWER_BYTES};
    bool done = bucket_call(b, &call, err);
    free(call.body);
    if (done && call.length < 0)
        done = err_set(err, ERR_UNAVAILABLE, "the bucket does not say how large an object is");
    *size = done ? (size_t)call.length : 0;
    memcpy(hash, call.kept, BUCKET_HASH_SIZE);
    return done;
}

bool bucket_delete(struct bucket *b, const char *name, struct err *err)
{
    struct err own;
    struct bucket_call call = {.method = "DELETE",
                               .name = name,
                               .most = ANSWER_BYTES,
                               .timeout_ms = b->timeout_ms < DELETE_MS ? b->timeout_ms : DELETE_MS};
    bool done = bucket_call(b, &call, &own);
    free(call.body);
    return done || own.code == ERR_NOT_FOUND || err_copy(err, &own);
}

bool bucket_move(struct bucket *b, const char *from_name, const char *to, struct err *err)
{
    char header[BUCKET_URL_SIZE], encoded[3 * BUCKET_NAME_MAX + 1];
    if (!bucket_encode(encoded, sizeof encoded, from_name, true))
        return err_set(err, ERR_INTERNAL, "the name of an object is too long");
    snprintf(header, sizeof header, "x-amz-copy-source: /%s/%s%s", b->place.bucket, b->place.prefix,
             encoded);
    struct bucket_call call = {.method = "PUT",
                               .name = to,
                               .header = header,
                               .data = "",
                               .most = ANSWER_BYTES};
    bool done = bucket_call(b, &call, err);
    if (done && strstr(call.body, "<Error>"))
        done = err_set(err, ERR_UNAVAILABLE, "the bucket could not copy an object");
    free(call.body);
    return done && bucket_delete(b, from_name, err);
}

bool bucket_probe(struct bucket *b, struct err *err)
{
    static const char word[] = "pictor";
    struct bucket_call call = {.method = "PUT",
                               .name = "probe",
                               .data = word,
                               .size = sizeof word - 1,
                               .most = ANSWER_BYTES,
                               .timeout_ms = PROBE_MS,
                               .once = true};
    bool done = bucket_call(b, &call, err);
    free(call.body);
    return done;
}
