/* fuzz_head.c: any bytes as the head of a request: the target in the first line, then a header a
 * line, then, behind an empty line, the body as JSON. `make fuzz TARGET=head` */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/base/url.h"
#include "server/http/head.h"
#include "server/routes.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_target(const char *target)
{
    size_t size = strlen(target);
    char *path = malloc(size + 2), *authority = malloc(size + 1), *host = malloc(size + 1);
    char *again = malloc(size + 3), *none = malloc(size + 2), allow[64];
    if (head_target(target, path, authority)) {
        const struct route *route;
        struct route_params params;
        require(*path == '/' || strcmp(path, "*") == 0);
        require(!strstr(path, "//") && strlen(path) <= size + 1);
        require(strlen(authority) <= size && !strchr(authority, '/'));
        require(head_target(path, again, none) && strcmp(again, path) == 0 && !*none);
        route_find(&routes_table, "GET", path, &route, &params, allow, sizeof allow);
        route_params_free(&params);
        if (*authority && url_host(host, size + 1, authority))
            require(*host && !strchr(host, '/'));
    }
    free(path);
    free(authority);
    free(host);
    free(again);
    free(none);
}

/* What was refused stays so whatever comes after it. */
static void check_headers(const char *at, const char *end)
{
    struct head head = {0};
    struct err err = {0};
    int before = 0;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        const char *colon = memchr(at, ':', (size_t)(stop - at));
        const char *value = colon ? colon + 1 : stop;
        /* A block of each, so that a read one byte too far is seen. */
        size_t name_size = (size_t)((colon ? colon : stop) - at);
        size_t value_size = (size_t)(stop - value);
        char *name = malloc(name_size + 1), *text = malloc(value_size + 1);
        memcpy(name, at, name_size);
        memcpy(text, value, value_size);
        head_add(&head, name, name_size, text, value_size);
        free(name);
        free(text);
        int now = head_check(&head, "HTTP/1.0", &err);
        require(now == 0 || *err.msg);
        require(before == 0 || now != 0);
        require(now == 0 || now == 400 || now == 415 || now == 501);
        before = now;
        at = stop + 1;
    }
    if (head_check(&head, "HTTP/1.1", &err) == 0)
        require(head.hosts == 1 && head.lengths + head.codings <= 1);
}

static void check_body(const char *text, size_t size)
{
    struct err err = {0};
    bool ok = true;
    cJSON *json = json_text_parse(text, size, 32, &err);
    const char *twice = json ? json_text_repeated(json, &ok) : NULL;
    require(!twice || ok);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = text + size;
    const char *line = memchr(text, '\n', size), *body = memmem(text, size, "\n\n", 2);
    char *target = strndup(text, line ? (size_t)(line - text) : size);
    check_target(target);
    free(target);
    if (line)
        check_headers(line + 1, body ? body : end);
    if (body)
        check_body(body + 2, (size_t)(end - body - 2));
    return 0;
}
