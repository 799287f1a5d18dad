/* cli_mcp.c: `pictor mcp`: the Model Context Protocol on stdin and stdout, for desktop agents.
 *
 * Each line from the agent is a message that becomes a POST to /mcp of a running server, and what
 * comes back is a line for the agent. Requests run side by side, a thread each, so that a picture
 * does not hold up what cancels it; `initialize` and notifications are waited for, as what follows
 * depends on them. Of the form of 2026-07-28 a cancelled request is one whose connection closes. */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/cli/cli.h"

#define CALLS 16             /* at a time; the next one waits for a place */
#define LINE_MOST (64 << 20) /* bytes of a message, as max_body_bytes is by default */
#define ANSWER_MOST (256 << 20)
#define DEPTH_MOST 64
#define CONNECT_SECONDS 10L
#define VERSION_META "io.modelcontextprotocol/protocolVersion"

struct bridge;

struct call {
    struct bridge *bridge;
    bool used;
    char *line;
    cJSON *message;
    char *id; /* as JSON; NULL: a notification */
    atomic_bool cancelled;
    char *answer; /* what came and is not written yet */
    size_t size;
    bool events, answered;
    long status;
};

struct bridge {
    char *url;
    const char *key; /* NULL: none */
    pthread_mutex_t lock; /* of what follows, and of stdout */
    pthread_cond_t freed;
    struct call calls[CALLS];
    int running;
    char session[80], version[24]; /* "" before `initialize` was answered */
};

static void help(FILE *out)
{
    fputs("usage: pictor mcp [--url URL] [--key KEY]\n"
          "\n"
          "Lets a desktop agent paint: speaks the Model Context Protocol on stdin and stdout, and\n"
          "passes on what is said to a running server.\n"
          "\n"
          "  --url URL   where the server is [PICTOR_URL, else http://127.0.0.1:7860]\n"
          "  --key KEY   a key of the server; better in PICTOR_KEY, as others can see a program's\n"
          "              arguments\n",
          out);
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* ---- to the agent ---- */

static void write_line(struct bridge *b, const char *text, size_t size)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < size; i++)
        putchar(text[i] == '\n' || text[i] == '\r' ? ' ' : text[i]);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&b->lock);
}

static void write_error(struct bridge *b, const char *id, int code, const char *message)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "jsonrpc", "2.0");
    cJSON *item = id ? json_text_parse(id, strlen(id), DEPTH_MOST, NULL) : NULL;
    cJSON_AddItemToObject(json, "id", item ? item : cJSON_CreateNull());
    cJSON *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddNumberToObject(error, "code", code);
    cJSON_AddStringToObject(error, "message", message);
    char *text = json_text_print(json);
    if (text)
        write_line(b, text, strlen(text));
    free(text);
    cJSON_Delete(json);
}

/* ---- from the server ---- */

static void take_event(struct call *c, const char *line, size_t size)
{
    if (size < 6 || strncmp(line, "data:", 5) != 0)
        return;
    size_t skip = line[5] == ' ' ? 6 : 5;
    write_line(c->bridge, line + skip, size - skip);
    c->answered = true;
}

static size_t on_body(char *data, size_t one, size_t count, void *ctx)
{
    struct call *c = ctx;
    size_t size = one * count, start = 0;
    char *grown = c->size + size > ANSWER_MOST ? NULL : realloc(c->answer, c->size + size + 1);
    if (!grown)
        return 0;
    c->answer = grown;
    memcpy(grown + c->size, data, size);
    c->size += size;
    grown[c->size] = '\0';
    if (!c->events)
        return size;
    for (char *end; (end = memchr(grown + start, '\n', c->size - start)) != NULL;) {
        take_event(c, grown + start, (size_t)(end - grown) - start);
        start = (size_t)(end - grown) + 1;
    }
    c->size -= start;
    memmove(grown, grown + start, c->size);
    return size;
}

static size_t on_header(char *data, size_t one, size_t count, void *ctx)
{
    static const char session[] = "mcp-session-id:";
    struct call *c = ctx;
    struct bridge *b = c->bridge;
    char line[256];
    size_t size = one * count;
    snprintf(line, sizeof line, "%.*s", (int)(size < 255 ? size : 255), data);
    line[strcspn(line, "\r\n")] = '\0';
    if (strncasecmp(line, "content-type:", 13) == 0)
        c->events = strstr(line, "text/event-stream") != NULL;
    if (strncasecmp(line, session, sizeof session - 1) == 0) {
        const char *value = line + sizeof session - 1;
        pthread_mutex_lock(&b->lock);
        snprintf(b->session, sizeof b->session, "%.70s", value + strspn(value, " "));
        pthread_mutex_unlock(&b->lock);
    }
    return size;
}

static int on_wait(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const struct call *call = ctx;
    return atomic_load(&call->cancelled);
}

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *text = NULL;
    if (asprintf(&text, "%s: %s", name, value) < 0)
        return;
    struct curl_slist *more = curl_slist_append(*list, text);
    *list = more ? more : *list;
    free(text);
}

/* What the form of 2026-07-28 wants in headers, too. */
static void add_mirrors(struct curl_slist **list, const cJSON *message, const char *version)
{
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(message, "params");
    const char *method = text_of(message, "method"), *name = text_of(params, "name");
    char *encoded = NULL, *value = NULL;
    add_header(list, "MCP-Protocol-Version", version);
    if (method)
        add_header(list, "Mcp-Method", method);
    if (name && (encoded = base64_encode(name, strlen(name))) != NULL &&
        asprintf(&value, "=?base64?%s?=", encoded) >= 0) {
        add_header(list, "Mcp-Name", value);
        free(value);
    }
    free(encoded);
}

static const char *modern_version(const cJSON *message)
{
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(message, "params");
    return text_of(cJSON_GetObjectItemCaseSensitive(params, "_meta"), VERSION_META);
}

static bool is_plain(const char *text)
{
    return text && strpbrk(text, "\r\n") == NULL;
}

static struct curl_slist *headers_of(struct call *c)
{
    struct bridge *b = c->bridge;
    struct curl_slist *list = NULL;
    const char *modern = modern_version(c->message);
    char *bearer = NULL;
    add_header(&list, "Content-Type", "application/json");
    add_header(&list, "Accept", "application/json, text/event-stream");
    add_header(&list, "Expect", "");
    if (b->key && asprintf(&bearer, "Bearer %s", b->key) >= 0) {
        add_header(&list, "Authorization", bearer);
        free(bearer);
    }
    pthread_mutex_lock(&b->lock);
    if (modern && is_plain(modern) && is_plain(text_of(c->message, "method")))
        add_mirrors(&list, c->message, modern);
    else if (*b->session) {
        add_header(&list, "Mcp-Session-Id", b->session);
        if (*b->version)
            add_header(&list, "MCP-Protocol-Version", b->version);
    }
    pthread_mutex_unlock(&b->lock);
    return list;
}

static CURLcode post(struct call *c, const char *method, char error[CURL_ERROR_SIZE])
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return CURLE_OUT_OF_MEMORY;
    struct curl_slist *headers = headers_of(c);
    c->size = 0;
    c->events = false;
    error[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, c->bridge->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_wait);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, c);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (method) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    } else {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(c->line));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, c->line);
    }
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &c->status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return code;
}

/* ---- calls ---- */

static void learn_version(struct bridge *b, const cJSON *json)
{
    const char *version =
        text_of(cJSON_GetObjectItemCaseSensitive(json, "result"), "protocolVersion");
    pthread_mutex_lock(&b->lock);
    if (version && is_plain(version))
        snprintf(b->version, sizeof b->version, "%.20s", version);
    pthread_mutex_unlock(&b->lock);
}

/* An error that the server gave no id, as it did not read the request, gets the request's. */
static void pass_on(struct call *c)
{
    char message[120];
    cJSON *json = json_text_parse(c->answer, c->size, DEPTH_MOST, NULL);
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "id");
    const char *said = text_of(cJSON_GetObjectItemCaseSensitive(json, "error"), "message");
    snprintf(message, sizeof message, "the server answered %ld, which is no MCP", c->status);
    if (json && id && !cJSON_IsNull(id)) {
        learn_version(c->bridge, json);
        size_t blanks = strspn(c->answer, " \r\n\t");
        write_line(c->bridge, c->answer + blanks, c->size - blanks);
    } else {
        write_error(c->bridge, c->id, -32603, said ? said : message);
    }
    cJSON_Delete(json);
}

static void run(struct call *c)
{
    struct bridge *b = c->bridge;
    char error[CURL_ERROR_SIZE], message[CURL_ERROR_SIZE + 300];
    CURLcode code = post(c, NULL, error);
    if (code == CURLE_OK && c->status == 404 && *b->session && !modern_version(c->message)) {
        /* The server was started anew; it wants no session of who names none. */
        pthread_mutex_lock(&b->lock);
        b->session[0] = '\0';
        pthread_mutex_unlock(&b->lock);
        code = post(c, NULL, error);
    }
    if (!c->id || c->answered || atomic_load(&c->cancelled))
        return;
    if (code == CURLE_OK && c->size > 0) {
        pass_on(c);
        return;
    }
    snprintf(message, sizeof message, "no answer from %.200s: %s", b->url,
             *error               ? error
             : code == CURLE_OK ? "it was empty"
                                  : curl_easy_strerror(code));
    write_error(b, c->id, -32603, message);
}

static void finish(struct call *c)
{
    struct bridge *b = c->bridge;
    pthread_mutex_lock(&b->lock);
    cJSON_Delete(c->message);
    free(c->line);
    free(c->id);
    free(c->answer);
    *c = (struct call){.bridge = b};
    b->running--;
    pthread_cond_broadcast(&b->freed);
    pthread_mutex_unlock(&b->lock);
}

static void *thread(void *ctx)
{
    run(ctx);
    finish(ctx);
    return NULL;
}

static struct call *place(struct bridge *b)
{
    struct call *c = b->calls;
    pthread_mutex_lock(&b->lock);
    while (b->running == CALLS)
        pthread_cond_wait(&b->freed, &b->lock);
    while (c->used)
        c++;
    c->used = true;
    c->bridge = b;
    b->running++;
    pthread_mutex_unlock(&b->lock);
    return c;
}

/* Of the form of 2026-07-28: true when it was such a notification. */
static bool cancel(struct bridge *b, const cJSON *message)
{
    const char *method = text_of(message, "method");
    const cJSON *params = cJSON_GetObjectItemCaseSensitive(message, "params");
    cJSON *item = cJSON_GetObjectItemCaseSensitive(params, "requestId");
    if (!method || strcmp(method, "notifications/cancelled") != 0)
        return false;
    char *id = item ? json_text_print(item) : NULL;
    bool done = false;
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < CALLS && id; i++)
        if (b->calls[i].id && strcmp(b->calls[i].id, id) == 0 &&
            modern_version(b->calls[i].message)) {
            atomic_store(&b->calls[i].cancelled, true);
            done = true;
        }
    pthread_mutex_unlock(&b->lock);
    free(id);
    return done;
}

/* Takes `line`. */
static void take(struct bridge *b, char *line, size_t size)
{
    struct err err;
    cJSON *message = json_text_parse(line, size, DEPTH_MOST, &err);
    if (!cJSON_IsObject(message)) {
        write_error(b, NULL, message ? -32600 : -32700,
                    message ? "wanted one JSON-RPC message a line" : err.msg);
        cJSON_Delete(message);
        free(line);
        return;
    }
    if (cancel(b, message)) {
        cJSON_Delete(message);
        free(line);
        return;
    }
    const char *method = text_of(message, "method");
    cJSON *id = cJSON_GetObjectItemCaseSensitive(message, "id");
    struct call *c = place(b);
    char *id_text = id && method ? json_text_print(id) : NULL;
    pthread_mutex_lock(&b->lock);
    c->line = line;
    c->message = message;
    c->id = id_text;
    pthread_mutex_unlock(&b->lock);
    pthread_t handle;
    if (c->id && strcmp(method, "initialize") != 0 &&
        pthread_create(&handle, NULL, thread, c) == 0)
        pthread_detach(handle);
    else
        thread(c);
}

static void serve_lines(struct bridge *b)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    while ((size = getline(&line, &room, stdin)) >= 0) {
        while (size > 0 && strchr("\r\n \t", line[size - 1]))
            line[--size] = '\0';
        if (size > LINE_MOST) {
            write_error(b, NULL, -32600, "wanted a message of at most 64 MiB");
        } else if (size > 0) {
            take(b, line, (size_t)size);
            line = NULL;
            room = 0;
        }
    }
    free(line);
    pthread_mutex_lock(&b->lock);
    while (b->running > 0)
        pthread_cond_wait(&b->freed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

static void end_session(struct bridge *b)
{
    struct call *c = place(b);
    char error[CURL_ERROR_SIZE];
    if (*b->session)
        post(c, "DELETE", error);
    finish(c);
}

int mcp_main(int argc, char **argv)
{
    static const struct option options[] = {{"url", required_argument, NULL, 'u'},
                                            {"key", required_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *url = getenv("PICTOR_URL");
    struct bridge b = {.key = getenv("PICTOR_KEY")};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
        switch (option) {
        case 'u':
            url = optarg;
            break;
        case 'k':
            b.key = optarg;
            break;
        default:
            help(option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    url = url && *url ? url : "http://127.0.0.1:7860";
    bool web = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    if (optind < argc || !web || (b.key && !is_plain(b.key))) {
        if (!web)
            fprintf(stderr, "pictor mcp: --url must begin with http:// or https://, got %s\n", url);
        else if (optind == argc)
            fputs("pictor mcp: the key must be one line\n", stderr);
        else
            help(stderr);
        return 2;
    }
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    bool has = n > 4 && strncmp(url + n - 4, "/mcp", 4) == 0;
    if (asprintf(&b.url, "%.*s%s", (int)n, url, has ? "" : "/mcp") < 0)
        return 1;
    b.key = b.key && *b.key ? b.key : NULL;
    pthread_mutex_init(&b.lock, NULL);
    pthread_cond_init(&b.freed, NULL);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    serve_lines(&b);
    end_session(&b);
    curl_global_cleanup();
    pthread_cond_destroy(&b.freed);
    pthread_mutex_destroy(&b.lock);
    free(b.url);
    return 0;
}
