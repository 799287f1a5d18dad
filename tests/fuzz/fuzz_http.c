/* fuzz_http.c: any bytes as what a request brings: JSON bodies, forms, base64, paths, Host.
 * The first byte chooses. `make fuzz TARGET=http` */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/base64.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/url.h"
#include "server/http/multipart.h"
#include "server/routes.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* ---- JSON ---- */

struct fields {
    const char *text, *word;
    int n;
    struct json_whole seed;
    double scale;
    bool flag;
    cJSON *raw;
};

static const char *const words[] = {"low", "high", NULL};

static const struct json_field table[] = {
    {"t", JSON_FIELD_STRING, offsetof(struct fields, text), .least = 1, .most = 9, .text = "d"},
    {"w", JSON_FIELD_STRING, offsetof(struct fields, word), .words = words, .text = "low"},
    {"n", JSON_FIELD_INT, offsetof(struct fields, n), .least = -5, .most = 10},
    {"s", JSON_FIELD_WHOLE, offsetof(struct fields, seed), .number = -1},
    {"d", JSON_FIELD_DOUBLE, offsetof(struct fields, scale), .number = 1},
    {"f", JSON_FIELD_BOOL, .offset = offsetof(struct fields, flag)},
    {"r", JSON_FIELD_RAW, .offset = offsetof(struct fields, raw)},
};

static void check_fields(cJSON *json, unsigned flags)
{
    struct fields f;
    struct json_problem problem;
    bool ok = json_fields_parse(table, sizeof table / sizeof *table, json, flags, &f, &problem);
    require(ok == (problem.fault == JSON_FAULT_NONE));
    require(ok == (*problem.message == '\0'));
    if (!ok)
        return;
    size_t length = 0;
    require(f.text && json_text_is_utf8(f.text, strlen(f.text), &length));
    require(length >= 1 && length <= 9);
    require(strcmp(f.word, "low") == 0 || strcmp(f.word, "high") == 0);
    require(f.n >= -5 && f.n <= 10 && isfinite(f.scale));
    require(!f.seed.negative || f.seed.magnitude > 0);
    require(f.flag == 0 || f.flag == 1);
}

static void check_json(const char *text, size_t size)
{
    struct err err = {0};
    cJSON *json = json_text_parse(text, size, 32, &err);
    require((json != NULL) == (err.code == ERR_NONE));
    if (!json)
        return;
    require(json_text_is_utf8(text, size, NULL));
    /* What was printed reads back as what prints so. */
    char *printed = json_text_print(json);
    require(printed && json_text_is_utf8(printed, strlen(printed), NULL));
    cJSON *again = json_text_parse(printed, strlen(printed), 32, &err);
    char *printed_again = again ? json_text_print(again) : NULL;
    require(printed_again && strcmp(printed, printed_again) == 0);
    cJSON_Delete(again);
    cJSON_free(printed_again);
    cJSON_free(printed);
    check_fields(json, 0);
    check_fields(json, JSON_FIELDS_STRICT);
    check_fields(json, JSON_FIELDS_COERCE); /* last: it changes the values */
    cJSON_Delete(json);
}

/* ---- forms: the first line is the Content-Type ---- */

static void check_form(const char *text, size_t size)
{
    const char *line = memchr(text, '\n', size);
    if (!line)
        return;
    char *type = strndup(text, (size_t)(line - text));
    const char *body = line + 1, *end = text + size;
    struct multipart form;
    struct err err = {0};
    if (multipart_parse(&form, type, body, (size_t)(end - body), &err)) {
        require(form.count <= MULTIPART_PARTS_MAX);
        const char *last = body;
        for (size_t i = 0; i < form.count; i++) {
            const struct multipart_part *p = &form.parts[i];
            require(p->name && p->data >= last && p->data + p->size <= end);
            last = p->data + p->size;
        }
        multipart_free(&form);
    } else {
        require(err.code != ERR_NONE && *err.msg && !form.parts);
    }
    free(type);
}

/* ---- base64 ---- */

static void check_base64(const char *text, size_t size)
{
    uint8_t *data;
    size_t n = 0;
    if (base64_decode(text, size, &data, &n, NULL)) {
        require(n <= size / 4 * 3 + 2);
        char *again = base64_encode(data, n);
        uint8_t *twice = NULL;
        size_t m = 0;
        require(again && base64_decode(again, strlen(again), &twice, &m, NULL));
        require(m == n && memcmp(data, twice, n) == 0);
        free(twice);
        free(again);
        free(data);
    }
}

/* ---- addresses ---- */

static void check_path(const char *text, size_t size)
{
    char *path = strndup(text, size), *host = malloc(size + 1), allow[64];
    const struct route *route;
    struct route_params params;
    static const char *const methods[] = {"GET", "POST", "DELETE", "PUT"};
    for (int i = 0; i < 4; i++) {
        enum route_result found =
            route_find(&routes_table, methods[i], path, &route, &params, allow, sizeof allow);
        require(found == ROUTE_NO_PATH || route);
        for (size_t k = 0; k < params.count; k++)
            require(*params.at[k].value);
        route_params_free(&params);
    }
    routes_table.dialect_of(path);
    url_decode(host, text, size, true);
    if (url_host(host, size + 1, path))
        require(*host && strlen(host) <= size);
    free(host);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(const char *, size_t) = {check_json, check_form, check_base64,
                                                           check_path};
    if (size < 1)
        return 0;
    /* A block of its own, so that a read one byte too far is seen. */
    char *text = malloc(size - 1 ? size - 1 : 1);
    memcpy(text, data + 1, size - 1);
    checks[data[0] % 4](text, size - 1);
    free(text);
    return 0;
}
