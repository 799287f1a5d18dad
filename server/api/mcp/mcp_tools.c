/* mcp_tools.c: What a request for pictures may say is said once, by the native API's schema, with
 * this server's limits; of it a model sees what it can make use of. */
#include "server/api/mcp/mcp_tools.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "server/api/native/native_job.h"
#include "server/base/json_text.h"

#define PAINTS 1u /* bits of tools */
#define EDITS 2u
#define JOBS 4u
#define HIDDEN 16u /* taken, and not shown */
#define SHOWS (PAINTS | EDITS)

static const struct tool {
    const char *name, *title, *text;
    unsigned bit;
    const char *required[2];
    bool reads; /* changes nothing */
} tools[MCP_TOOLS] = {
    [MCP_GENERATE] = {"generate_image", "Paint a picture",
                      "Paints pictures from a description. Answers with a link to each and a small "
                      "preview. Painting may take minutes; with wait false it answers at once with "
                      "a job for job_status.",
                      PAINTS, {"prompt"}, false},
    [MCP_EDIT] = {"edit_image", "Edit a picture",
                  "Paints a picture anew from one that there is and a description of what it "
                  "should become; with a mask only where that is white. Answers as generate_image.",
                  EDITS, {"prompt", "image"}, false},
    [MCP_MODELS] = {"list_models", "List models",
                    "The models that can paint here, the default one first.", 0, {NULL}, true},
    [MCP_STATUS] = {"job_status", "Look at a job",
                    "How far a job is and, when it is done, its pictures.", JOBS, {"job"}, true},
    [MCP_CANCEL] = {"cancel", "Cancel a job", "Cancels a job that waits or is being painted.", 8u,
                    {"job"}, false},
};

/* Arguments that are fields of the native API have no schema of their own. */
static const struct argument {
    const char *name;
    unsigned tools;
    const char *schema;
} arguments[] = {
    {"prompt", SHOWS, NULL},
    {"image", EDITS,
     "{\"type\": \"string\", \"description\": \"the picture to begin from: the link or id of one "
     "that was painted here, or base64 or a data: URL of PNG, JPEG, WebP, GIF or BMP\"}"},
    {"mask", EDITS,
     "{\"type\": \"string\", \"description\": \"where to repaint: white; as image\"}"},
    {"strength", EDITS, NULL},
    {"negative_prompt", SHOWS, NULL},
    {"model", SHOWS, NULL},
    {"width", SHOWS, NULL},
    {"height", SHOWS, NULL},
    {"count", SHOWS, NULL},
    {"seed", SHOWS, NULL},
    {"steps", SHOWS, NULL},
    {"guidance", SHOWS, NULL},
    {"sampler", SHOWS, NULL},
    {"styles", SHOWS, NULL},
    {"loras", SHOWS, NULL},
    {"tags", SHOWS, NULL},
    {"compose", SHOWS, NULL},
    {"composed_from", SHOWS | HIDDEN, NULL}, /* what compose leaves */
    {"format", SHOWS, NULL},
    {"wait", SHOWS,
     "{\"type\": \"boolean\", \"default\": true, \"description\": \"false: answer at once with the "
     "job's id\"}"},
    {"job", JOBS | 8u, "{\"type\": \"string\", \"description\": \"a job's id\"}"},
    {"preview", SHOWS | JOBS,
     "{\"type\": \"boolean\", \"default\": true, \"description\": \"a small JPEG of each "
     "picture\"}"},
    {"base64", SHOWS | JOBS,
     "{\"type\": \"boolean\", \"default\": false, \"description\": \"each whole picture in the "
     "answer, which may be megabytes, instead of its preview\"}"},
};
#define ARGUMENTS (sizeof arguments / sizeof *arguments)

enum mcp_tool mcp_tools_find(const char *name)
{
    int i = 0;
    while (i < MCP_TOOLS && strcmp(tools[i].name, name) != 0)
        i++;
    return (enum mcp_tool)i;
}

/* "type": ["integer", "string"] as an anyOf with a type each: clients that map schemas to those of
 * other models know one type a schema. */
static void split_types(cJSON *schema)
{
    const cJSON *type, *types = cJSON_GetObjectItemCaseSensitive(schema, "type");
    if (!cJSON_IsArray(types))
        return;
    cJSON *any = cJSON_CreateArray();
    cJSON_ArrayForEach(type, types) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "type", type->valuestring);
        cJSON_AddItemToArray(any, one);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(schema, "type");
    cJSON_AddItemToObject(schema, "anyOf", any);
}

static cJSON *schema_of(const struct tool *tool, const cJSON *fields)
{
    cJSON *schema = cJSON_CreateObject();
    cJSON_AddStringToObject(schema, "type", "object");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    for (size_t i = 0; i < ARGUMENTS; i++) {
        const struct argument *a = &arguments[i];
        if (!(a->tools & tool->bit) || (a->tools & HIDDEN))
            continue;
        const cJSON *field = cJSON_GetObjectItemCaseSensitive(fields, a->name);
        cJSON *item = a->schema ? json_text_constant(a->schema) : cJSON_Duplicate(field, true);
        cJSON_DeleteItemFromObjectCaseSensitive(item, "x-about");
        split_types(item);
        cJSON_AddItemToObject(properties, a->name, item);
    }
    cJSON *required = cJSON_AddArrayToObject(schema, "required");
    for (int i = 0; i < 2 && tool->required[i]; i++)
        cJSON_AddItemToArray(required, cJSON_CreateString(tool->required[i]));
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

struct cJSON *mcp_tools_list(const struct settings *settings)
{
    cJSON *list = cJSON_CreateArray(), *native = native_job_schema(settings);
    const cJSON *fields = cJSON_GetObjectItemCaseSensitive(native, "properties");
    for (int i = 0; i < MCP_TOOLS; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", tools[i].name);
        cJSON_AddStringToObject(item, "title", tools[i].title);
        cJSON_AddStringToObject(item, "description", tools[i].text);
        cJSON_AddItemToObject(item, "inputSchema", schema_of(&tools[i], fields));
        cJSON *hints = cJSON_AddObjectToObject(item, "annotations");
        cJSON_AddBoolToObject(hints, "readOnlyHint", tools[i].reads);
        cJSON_AddBoolToObject(hints, "destructiveHint", i == MCP_CANCEL);
        cJSON_AddBoolToObject(hints, "openWorldHint", false);
        cJSON_AddItemToArray(list, item);
    }
    cJSON_Delete(native);
    return list;
}

static const struct argument *argument_of(const char *name)
{
    for (size_t i = 0; i < ARGUMENTS; i++)
        if (strcmp(arguments[i].name, name) == 0)
            return &arguments[i];
    return NULL;
}

bool mcp_tools_is_field(const char *name)
{
    const struct argument *a = argument_of(name);
    return a && !a->schema;
}

static bool refuse_unknown(const struct tool *tool, const char *name, struct err *err)
{
    char known[200];
    size_t n = 0;
    known[0] = '\0';
    for (size_t i = 0; i < ARGUMENTS && n < sizeof known; i++)
        if ((arguments[i].tools & tool->bit) && !(arguments[i].tools & HIDDEN))
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                                  arguments[i].name);
    return err_set(err, ERR_INVALID, "%.40s: %s has no such argument; it takes %s", name,
                   tool->name, n ? known : "none");
}

/* What the arguments with a schema of their own are; the others are checked with the job. */
static bool check_type(const cJSON *item, const struct argument *a, struct err *err)
{
    bool text = a->schema && strstr(a->schema, "\"string\"");
    if (!a->schema || cJSON_IsNull(item) || (text ? cJSON_IsString(item) : cJSON_IsBool(item)))
        return true;
    return err_set(err, ERR_INVALID, "%s: wanted %s, got %s", a->name,
                   text ? "a text" : "true or false",
                   cJSON_IsString(item)   ? "a text"
                   : cJSON_IsNumber(item) ? "a number"
                   : cJSON_IsBool(item)   ? "true or false"
                   : cJSON_IsArray(item)  ? "a list"
                                          : "an object");
}

bool mcp_tools_check(enum mcp_tool which, const struct cJSON *given, struct err *err)
{
    const struct tool *tool = &tools[which];
    const cJSON *item;
    if (given && !cJSON_IsObject(given))
        return err_set(err, ERR_INVALID, "arguments: wanted an object");
    cJSON_ArrayForEach(item, given) {
        const struct argument *a = argument_of(item->string);
        if (!a || !(a->tools & tool->bit))
            return refuse_unknown(tool, item->string, err);
        if (!check_type(item, a, err))
            return false;
    }
    for (int i = 0; i < 2 && tool->required[i]; i++) {
        item = cJSON_GetObjectItemCaseSensitive(given, tool->required[i]);
        if (!item || cJSON_IsNull(item))
            return err_set(err, ERR_INVALID, "%s: %s needs this argument", tool->required[i],
                           tool->name);
    }
    return true;
}
