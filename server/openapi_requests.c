#include "server/openapi_requests.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/base/words.h"
#include "server/http/route.h"
#include "server/routes.h"

/* ---- queries ---- */

#define WORDS(words) "{\"enum\":[" words "]}"
#define FROM(least) "{\"type\":\"integer\",\"minimum\":" least "}"
#define BETWEEN(least, most)                                                                       \
    "{\"type\":\"integer\",\"minimum\":" least ",\"maximum\":" most "}"
#define DAY "{\"type\":\"string\",\"format\":\"date\",\"minLength\":10}"
#define FLAG "{\"type\":\"boolean\"}"
#define KINDS                                                                                      \
    "\"lora\",\"vae\",\"upscaler\",\"embedding\",\"controlnet\",\"text-encoder\""

/* Of a path that ends in this, "" being any of the dialect; the first that fits counts. What is not
 * here is any text, and empty only where the dialect takes that. */
static const struct {
    enum routes_dialect dialect;
    const char *path, *name, *schema;
    bool required;
} queries[] = {
    {ROUTES_NATIVE, "/files", "limit", BETWEEN("0", "200"), false},
    {ROUTES_NATIVE, "/files", "kind", WORDS(KINDS ",\"wildcard\""), true},
    {ROUTES_NATIVE, "/files/preview", "kind", WORDS(KINDS ",\"model\""), true},
    {ROUTES_NATIVE, "/files/preview", "name", "{\"type\":\"string\",\"minLength\":1}", true},
    {ROUTES_NATIVE, "", "index", BETWEEN("0", "2147483647"), false},
    {ROUTES_NATIVE, "", "token", FROM("1"), true},
    {ROUTES_NATIVE, "", "worker", "{\"type\":\"string\",\"minLength\":1}", true},
    {ROUTES_NATIVE, "", "offset", BETWEEN("0", "100000"), false},
    {ROUTES_NATIVE, "", "limit", BETWEEN("1", "200"), false},
    {ROUTES_NATIVE, "", "before", FROM("0"), false},
    {ROUTES_NATIVE, "", "since", FROM("0"), false},
    {ROUTES_NATIVE, "", "until", FROM("0"), false},
    {ROUTES_NATIVE, "", "favourite", FLAG, false},
    {ROUTES_NATIVE, "", "now", FLAG, false},
    {ROUTES_NATIVE, "", "state",
     WORDS("\"queued\",\"running\",\"done\",\"failed\",\"cancelled\""), false},
    {ROUTES_NATIVE, "", "format", WORDS("\"json\",\"csv\""), false},
    {ROUTES_NATIVE, "", "from", DAY, false},
    {ROUTES_NATIVE, "", "to", DAY, false},
    {ROUTES_OPENAI, "/files", "limit", BETWEEN("1", "10000"), false},
    {ROUTES_OPENAI, "/batches", "limit", BETWEEN("1", "100"), false},
    {ROUTES_OPENAI, "", "order", WORDS("\"asc\",\"desc\""), false},
    {ROUTES_SDAPI, "", "skip_current_image", FLAG, false},
};

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return m <= n && strcmp(text + n - m, end) == 0;
}

struct cJSON *openapi_requests_query(const struct route *route, const char *name, size_t size,
                                     bool *required)
{
    *required = false;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        if (queries[i].dialect == (enum routes_dialect)route->dialect &&
            strlen(queries[i].name) == size && strncmp(queries[i].name, name, size) == 0 &&
            ends_in(route->pattern, queries[i].path)) {
            *required = queries[i].required;
            return json_text_constant(queries[i].schema);
        }
    char text[64];
    const char *free_query = routes_table.dialects[route->dialect].free_query;
    snprintf(text, sizeof text, "%.*s", (int)size, name);
    return json_text_constant(free_query && words_have(free_query, text)
                                  ? "{\"type\":\"string\"}"
                                  : "{\"type\":\"string\",\"minLength\":1}");
}

/* ---- bodies ---- */

static bool is_required(const cJSON *schema, const char *name)
{
    const cJSON *item, *list = cJSON_GetObjectItemCaseSensitive(schema, "required");
    cJSON_ArrayForEach(item, list)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

static void may_be_null(cJSON *schema)
{
    cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
    cJSON *words = cJSON_GetObjectItemCaseSensitive(schema, "enum");
    bool has_null = false;
    if (cJSON_IsArray(words)) {
        const cJSON *item;
        cJSON_ArrayForEach(item, words)
            has_null = has_null || cJSON_IsNull(item);
        if (!has_null)
            cJSON_AddItemToArray(words, cJSON_CreateNull());
    }
    if (cJSON_IsString(type)) {
        if (strcmp(type->valuestring, "null") == 0)
            return;
        cJSON *both = cJSON_CreateArray();
        cJSON_AddItemToArray(both, cJSON_CreateString(type->valuestring));
        cJSON_AddItemToArray(both, cJSON_CreateString("null"));
        cJSON_ReplaceItemInObjectCaseSensitive(schema, "type", both);
    } else if (cJSON_IsArray(type)) {
        const cJSON *item;
        has_null = false;
        cJSON_ArrayForEach(item, type)
            has_null = has_null || strcmp(item->valuestring, "null") == 0;
        if (!has_null)
            cJSON_AddItemToArray(type, cJSON_CreateString("null"));
    }
}

/* The tables take null for absent (json_fields.h), wherever a member may be absent. */
static void null_is_absent(cJSON *schema)
{
    cJSON *member, *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    cJSON_ArrayForEach(member, properties) {
        if (!cJSON_IsObject(member))
            continue;
        null_is_absent(member);
        if (!is_required(schema, member->string))
            may_be_null(member);
    }
    if (cJSON_IsObject(items))
        null_is_absent(items);
}

/* Forms have the members of the JSON body but its pictures, which are files. */
#define PICTURES                                                                                   \
    "{\"type\":\"object\",\"required\":[\"image\"],\"properties\":{"                              \
    "\"image\":{\"anyOf\":[{\"type\":\"string\",\"format\":\"binary\"},{\"type\":\"array\","     \
    "\"minItems\":1,\"maxItems\":16,\"items\":{\"type\":\"string\",\"format\":\"binary\"}}]}"    \
    ",\"mask\":{\"type\":\"string\",\"format\":\"binary\"}}}"
#define ONE_OF_PICTURES "[{\"required\":[\"image\"]},{\"required\":[\"images\"]}]"
#define UPLOAD                                                                                     \
    "{\"type\":\"object\",\"required\":[\"file\",\"purpose\"],\"properties\":{"                    \
    "\"file\":{\"type\":\"string\",\"format\":\"binary\"},\"purpose\":{\"type\":\"string\"}}}"

static cJSON *add_content(cJSON *body, const char *type, cJSON *schema)
{
    cJSON *content = cJSON_GetObjectItemCaseSensitive(body, "content");
    if (!content)
        content = cJSON_AddObjectToObject(body, "content");
    cJSON *of_type = cJSON_AddObjectToObject(content, type);
    cJSON_AddItemToObject(of_type, "schema", schema);
    return schema;
}

/* Adds the members of a JSON body to those of a form. */
static void add_members(cJSON *form, const cJSON *json)
{
    cJSON *to = cJSON_GetObjectItemCaseSensitive(form, "properties");
    const cJSON *member;
    cJSON_ArrayForEach(member, cJSON_GetObjectItemCaseSensitive(json, "properties")) {
        bool scalar = cJSON_GetObjectItemCaseSensitive(member, "type") ||
                      cJSON_GetObjectItemCaseSensitive(member, "enum");
        if (scalar && !cJSON_GetObjectItemCaseSensitive(to, member->string))
            cJSON_AddItemToObject(to, member->string, cJSON_Duplicate(member, true));
    }
    if (is_required(json, "prompt"))
        cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(form, "required"),
                             cJSON_CreateString("prompt"));
}

void openapi_requests_add_body(struct cJSON *operation, const struct route *route,
                               const char *path, const struct settings *settings)
{
    bool openai = route->dialect == ROUTES_OPENAI;
    bool upload = openai && strcmp(path, "/files") == 0;
    bool pictures = openai && (strcmp(path, "/images/edits") == 0 ||
                               strcmp(path, "/images/variations") == 0);
    cJSON *schema = route->schema ? route->schema(settings) : NULL;
    if (!schema && route->body == ROUTE_BODY_NONE)
        return;
    cJSON *body = cJSON_AddObjectToObject(operation, "requestBody");
    if (pictures || upload || (schema && cJSON_GetObjectItemCaseSensitive(schema, "required")))
        cJSON_AddTrueToObject(body, "required");
    if (upload) {
        add_content(body, "multipart/form-data", json_text_constant(UPLOAD));
        return;
    }
    if (pictures) {
        add_members(add_content(body, "multipart/form-data", json_text_constant(PICTURES)), schema);
        cJSON_AddItemToObject(schema, "anyOf", json_text_constant(ONE_OF_PICTURES));
    }
    cJSON_DeleteItemFromObjectCaseSensitive(schema, "$schema");
    if (schema)
        null_is_absent(schema);
    /* One without a schema is any JSON, and mostly not read at all. */
    add_content(body, "application/json", schema ? schema : cJSON_CreateObject());
}
