/* openapi.c: a row of routes.c is an operation. What a row does not say is not invented; what
 * answers look like is said by openapi_answers.c. */
#include "server/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/http/http.h"
#include "server/http/route.h"
#include "server/openapi_answers.h"
#include "server/openapi_requests.h"
#include "server/routes.h"

#define PATH_SIZE 200
#define ERROR "an error, in the shape of the API"

/* Takes the schema. */
static void add_parameter(cJSON *list, const char *name, size_t size, const char *in, bool required,
                          cJSON *schema)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)size, name);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", text);
    cJSON_AddStringToObject(item, "in", in);
    if (required)
        cJSON_AddTrueToObject(item, "required");
    cJSON_AddItemToObject(item, "schema", schema);
    cJSON_AddItemToArray(list, item);
}

/* "/web/{name...}" as "/web/{name}"; its parameters are added. */
static void path_of(const char *pattern, char out[PATH_SIZE], cJSON *parameters)
{
    size_t n = 0;
    for (const char *at = pattern; *at && n + 1 < PATH_SIZE; at++) {
        if (strncmp(at, "...}", 4) == 0)
            at += 3;
        out[n++] = *at;
        if (*at == '{')
            add_parameter(parameters, at + 1, strcspn(at + 1, ".}"), "path", true,
                          json_text_constant("{\"type\":\"string\",\"minLength\":1}"));
    }
    out[n] = '\0';
}

/* Once a path and method. */
static void add_id(cJSON *operation, const char *method, const char *path)
{
    char id[PATH_SIZE + 16];
    size_t n = 0;
    for (const char *at = method; *at; at++)
        id[n++] = (char)tolower((unsigned char)*at);
    for (const char *at = path; *at; at++) {
        if (isalnum((unsigned char)*at))
            id[n++] = *at;
        else if (id[n - 1] != '_')
            id[n++] = '_';
    }
    while (n && id[n - 1] == '_')
        n--;
    id[n] = '\0';
    cJSON_AddStringToObject(operation, "operationId", id);
}

static cJSON *described(const char *text)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "description", text);
    return json;
}

/* One of a status may have bodies of several types. Takes the schema. */
static void add_answer(cJSON *responses, const char *text, const struct openapi_answer *a)
{
    cJSON *answer = cJSON_GetObjectItemCaseSensitive(responses, a->status);
    if (!answer)
        cJSON_AddItemToObject(responses, a->status, answer = described(text));
    if (!a->type)
        return;
    cJSON *content = cJSON_GetObjectItemCaseSensitive(answer, "content");
    if (!content)
        content = cJSON_AddObjectToObject(answer, "content");
    cJSON *body = cJSON_AddObjectToObject(content, a->type);
    if (a->schema)
        cJSON_AddItemToObject(body, "schema", a->schema);
}

/* OpenAI's routes stand at several roots. */
static const char *without_root(const struct route *route, const char *path)
{
    static const char *const roots[] = {"/openai/v1", "/openai/deployments/{deployment}",
                                        "/openai", "/v1"};
    for (size_t i = 0; route->dialect == ROUTES_OPENAI && i < sizeof roots / sizeof *roots; i++)
        if (strncmp(path, roots[i], strlen(roots[i])) == 0)
            return path + strlen(roots[i]);
    return path;
}

static void add_answers(cJSON *operation, const struct route *route, const char *path)
{
    struct openapi_answer answer;
    cJSON *responses = cJSON_AddObjectToObject(operation, "responses");
    for (size_t at = 0;
         openapi_answers_good(route->method, without_root(route, path), &at, &answer);)
        add_answer(responses, *answer.status < '4' ? "done" : ERROR, &answer);
    answer = (struct openapi_answer){"default", NULL, openapi_answers_error(route->dialect)};
    answer.type = answer.schema ? "application/json" : NULL;
    add_answer(responses, ERROR, &answer);
}

static cJSON *operation_of(const struct route *route, const char *path, cJSON *parameters,
                           const struct settings *settings)
{
    cJSON *operation = cJSON_CreateObject();
    cJSON *tags = cJSON_AddArrayToObject(operation, "tags");
    cJSON_AddItemToArray(tags, cJSON_CreateString(routes_table.dialects[route->dialect].name));
    add_id(operation, route->method, path);
    if (route->admin)
        cJSON_AddStringToObject(operation, "description",
                                "Takes a key that may administer, when there are keys.");
    if (route->worker)
        cJSON_AddStringToObject(operation, "description",
                                "Of `pictor worker`. Takes a worker's key, when there are keys.");
    for (const char *q = route->query; q && *(q += strspn(q, " "));) {
        size_t n = strcspn(q, " ");
        bool required;
        cJSON *schema = openapi_requests_query(route, q, n, &required);
        add_parameter(parameters, q, n, "query", required, schema);
        q += n;
    }
    cJSON_AddItemToObject(operation, "parameters", parameters);
    openapi_requests_add_body(operation, route, without_root(route, path), settings);
    if (route->access == ROUTE_OPEN)
        cJSON_AddArrayToObject(operation, "security");
    add_answers(operation, route, path);
    return operation;
}

static void add_security(cJSON *doc)
{
    static const char *const schemes[] = {"bearer", "basic"};
    cJSON *list = cJSON_AddArrayToObject(doc, "security");
    cJSON *all =
        cJSON_AddObjectToObject(cJSON_AddObjectToObject(doc, "components"), "securitySchemes");
    cJSON_AddItemToArray(list, cJSON_CreateObject()); /* where there are no keys */
    for (int i = 0; i < 2; i++) {
        cJSON *scheme = cJSON_AddObjectToObject(all, schemes[i]);
        cJSON_AddStringToObject(scheme, "type", "http");
        cJSON_AddStringToObject(scheme, "scheme", schemes[i]);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddArrayToObject(item, schemes[i]);
        cJSON_AddItemToArray(list, item);
    }
}

void openapi_serve(struct http_request *req)
{
    const struct settings *settings = http_app(req)->settings;
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "openapi", "3.1.0");
    cJSON *info = cJSON_AddObjectToObject(doc, "info");
    cJSON_AddStringToObject(info, "title", "pictor");
    cJSON_AddStringToObject(info, "version", PICTOR_VERSION);
    cJSON_AddStringToObject(info, "description",
                            "Pictures, by the APIs of OpenAI, of the SD WebUI, and pictor's own.");
    add_security(doc);
    cJSON *paths = cJSON_AddObjectToObject(doc, "paths");
    for (size_t i = 0; i < routes_table.count; i++) {
        const struct route *route = &routes_table.routes[i];
        char path[PATH_SIZE], method[8] = "";
        if (!routes_table.is_on(settings, route->dialect))
            continue;
        cJSON *parameters = cJSON_CreateArray();
        path_of(route->pattern, path, parameters);
        cJSON *item = cJSON_GetObjectItemCaseSensitive(paths, path);
        if (!item)
            item = cJSON_AddObjectToObject(paths, path);
        for (size_t k = 0; route->method[k] && k + 1 < sizeof method; k++)
            method[k] = (char)tolower((unsigned char)route->method[k]);
        cJSON_AddItemToObject(item, method, operation_of(route, path, parameters, settings));
    }
    http_reply_json(req, 200, doc);
}
