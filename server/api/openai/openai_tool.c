/* openai_tool.c: Of a list of input items, the user's last message is what to paint. Its pictures
 * are edited; without any, the picture that an earlier call in the list made is, or that of
 * previous_response_id. */
#include "server/api/openai/openai_tool.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/app.h"
#include "server/api/openai/openai_paint.h"
#include "server/api/openai/openai_talk.h"
#include "server/base/ids.h"
#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/registry.h"
#include "server/queue/queue.h"

#define TOOL "image_generation"

struct reading {
    const struct openai_from *from;
    cJSON *body, *request;
    cJSON *tool; /* in the body; NULL: there is none */
    int tool_index;
    bool tools_ignored;
};

static cJSON *member(const cJSON *object, const char *name)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(member(object, name));
    return text ? text : "";
}

/* ---- jobs and pictures of earlier responses ---- */

bool openai_tool_find(const struct app *app, const char *visible_key, const char *id,
                      struct job *job, struct err *err)
{
    char job_id[JOB_ID_SIZE] = "";
    const char *at = strncmp(id, "resp_", 5) == 0  ? id + 5
                     : strncmp(id, "ig_", 3) == 0 ? id + 3
                                                  : "";
    size_t n = strcspn(at, "_");
    if (n == JOB_ID_SIZE - 1)
        memcpy(job_id, at, n);
    if (!ids_valid(job_id))
        return err_set(err, ERR_NOT_FOUND, "there is no response \"%.60s\"", id);
    return queue_get(app->queue, job_id, visible_key, job, err);
}

/* Adds the picture of an earlier response or call. */
static bool add_earlier(struct reading *r, const char *id, const char *param,
                        struct openai_fault *f)
{
    const struct app *app = r->from->app;
    const char *number = strncmp(id, "ig_", 3) == 0 ? strrchr(id, '_') + 1 : "0";
    struct job job;
    struct err err;
    if (!openai_tool_find(app, r->from->visible_key, id, &job, &err))
        return err.code == ERR_NOT_FOUND
                   ? openai_fault(f, 400, "previous_response_not_found", param,
                                  "There is no response or call '%.60s'.", id)
                   : openai_fault(f, http_error_status(err.code), NULL, NULL, "%s", err.msg);
    const struct job_image *image = NULL;
    for (size_t i = 0; i < job.image_count; i++)
        if (job.images[i].index == atoi(number))
            image = &job.images[i];
    bool ok = false;
    cJSON *picture = NULL;
    if (!image)
        openai_fault(f, 400, "invalid_value", param, "'%.60s' has no picture.", id);
    else if (!(picture = openai_paint_file(app, &(struct openai_place){0}, image, "",
                                               &err)))
        openai_fault_own(f, &err);
    else
        ok = openai_talk_add_image(r->request, picture, f);
    job_free(&job);
    return ok;
}

/* The last call in the list of input items. */
static bool add_call(struct reading *r, cJSON *items, struct openai_fault *f)
{
    cJSON *item, *last = NULL;
    cJSON_ArrayForEach(item, items) {
        if (strcmp(text_of(item, "type"), TOOL "_call") == 0)
            last = item;
    }
    if (!last)
        return true;
    if (*text_of(last, "result"))
        return openai_talk_add_image(
            r->request, cJSON_DetachItemFromObjectCaseSensitive(last, "result"), f);
    return add_earlier(r, text_of(last, "id"), "input", f);
}

/* ---- the input ---- */

static bool add_images(struct reading *r, cJSON *input, struct openai_fault *f)
{
    const char *action = text_of(r->tool, "action");
    const char *previous = text_of(r->body, "previous_response_id");
    char param[40];
    bool given = member(r->request, "images"), fresh = strcmp(action, "generate") == 0;
    snprintf(param, sizeof param, "tools[%d].action", r->tool_index);
    if (*action && !fresh && strcmp(action, "auto") != 0 && strcmp(action, "edit") != 0)
        return openai_fault(f, 400, "invalid_value", param,
                            "Invalid value: '%.40s'. Supported values are: 'generate', 'edit', and "
                            "'auto'.",
                            action);
    if (given && fresh)
        return openai_fault(f, 400, "invalid_value", param,
                            "Invalid value: 'generate' with a picture in the message, which can "
                            "only be edited here.");
    if (!given && !fresh && !add_call(r, input, f))
        return false;
    given = member(r->request, "images");
    if (!given && !fresh && *previous && !add_earlier(r, previous, "previous_response_id", f))
        return false;
    if (!member(r->request, "images") && strcmp(action, "edit") == 0)
        return openai_fault(f, 400, "invalid_value", param,
                            "Invalid value: 'edit' without a picture: none is in the input, and "
                            "there is no earlier call.");
    return true;
}

static bool read_input(struct reading *r, struct openai_fault *f)
{
    cJSON *input = member(r->body, "input");
    if (!input)
        return openai_fault(f, 400, "missing_required_parameter", "input",
                            "Missing required parameter: 'input'.");
    cJSON *last = cJSON_IsArray(input) ? openai_talk_last(input) : NULL;
    if (cJSON_IsArray(input) && !last)
        return openai_fault(f, 400, "invalid_value", "input",
                            "Invalid value for 'input': wanted a message whose role is 'user'.");
    if (!cJSON_IsArray(input) && !cJSON_IsString(input))
        return openai_fault(f, 400, "invalid_type", "input",
                            "Invalid type for 'input': expected text or a list of items.");
    return openai_talk_content(last ? member(last, "content") : input, "input", r->request, f) &&
           add_images(r, cJSON_IsArray(input) ? input : NULL, f);
}

/* ---- tools ---- */

static bool find_tool(struct reading *r, struct openai_fault *f)
{
    cJSON *tools = member(r->body, "tools"), *item;
    int index = 0;
    if (tools && !cJSON_IsArray(tools))
        return openai_fault(f, 400, "invalid_type", "tools",
                            "Invalid type for 'tools': expected a list.");
    cJSON_ArrayForEach(item, tools) {
        bool ours = strcmp(text_of(item, "type"), TOOL) == 0;
        if (ours && r->tool)
            return openai_fault(f, 400, "invalid_value", "tools",
                                "Invalid value for 'tools': '" TOOL "' is there twice.");
        if (ours) {
            r->tool = item;
            r->tool_index = index;
        }
        r->tools_ignored = r->tools_ignored || !ours;
        index++;
    }
    return true;
}

/* What may be chosen must be the one tool there is. */
static bool check_choice(const struct reading *r, struct openai_fault *f)
{
    const cJSON *choice = member(r->body, "tool_choice"), *item;
    const char *word = cJSON_GetStringValue(choice), *type = text_of(choice, "type");
    bool ok = !choice || (word && (strcmp(word, "auto") == 0 || strcmp(word, "required") == 0)) ||
              strcmp(type, TOOL) == 0;
    if (strcmp(type, "allowed_tools") == 0)
        cJSON_ArrayForEach(item, member(choice, "tools")) {
            ok = ok || strcmp(text_of(item, "type"), TOOL) == 0;
        }
    return ok || openai_fault(f, 400, "invalid_value", "tool_choice",
                              "Invalid value for 'tool_choice': this server has no text model; all "
                              "that it can call is '" TOOL "'.");
}

/* The options of the tool are fields of the images API. */
static bool take_tool(struct reading *r, struct openai_fault *f)
{
    static const char *const input[] = {"prompt", "image", "images"}; /* says these */
    for (cJSON *item = r->tool ? r->tool->child : NULL, *next; item; item = next) {
        const char *name = item->string;
        next = item->next;
        if (strcmp(name, "type") == 0 || strcmp(name, "action") == 0)
            continue;
        for (size_t i = 0; i < sizeof input / sizeof *input; i++)
            if (strcmp(name, input[i]) == 0)
                return openai_fault(f, 400, "unknown_parameter", "tools",
                                    "Unknown parameter: 'tools[%d].%s'. It is said in 'input'.",
                                    r->tool_index, name);
        if (strcmp(name, "input_image_mask") == 0)
            name = "mask";
        if (!cJSON_IsNull(item))
            cJSON_AddItemToObject(r->request, name, cJSON_Duplicate(item, true));
    }
    return true;
}

/* Which model paints: the tool's; else the request's, which of clients that have a text model in
 * mind is none of ours, and the default one then. */
static bool take_model(struct reading *r, struct openai_fault *f)
{
    const cJSON *model = member(r->body, "model");
    struct registry_model found;
    struct err err;
    if (!model || member(r->request, "model"))
        return true;
    if (!cJSON_IsString(model))
        return openai_fault(f, 400, "invalid_type", "model",
                            "Invalid type for 'model': expected a string.");
    if (!r->tool || openai_find_model(r->from->app, model->valuestring, &found, &err))
        cJSON_AddStringToObject(r->request, "model", model->valuestring);
    return true;
}

/* Of the body itself, what the tool has not said. */
static void take_rest(struct reading *r, struct openai_request *ignored)
{
    static const char *const taken[] = {"n", "stream", "user", "safety_identifier"};
    static const char *const silent[] = {
        "input", "model", "tools", "tool_choice", "previous_response_id", "background", "store",
        "metadata", "parallel_tool_calls", "include"};
    for (cJSON *item = r->body->child, *next; item; item = next) {
        bool take = openai_request_is_own(item->string), known = false;
        next = item->next;
        for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
            take = take || strcmp(taken[i], item->string) == 0;
        for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
            known = known || strcmp(silent[i], item->string) == 0;
        if (take && !member(r->request, item->string))
            cJSON_AddItemToObject(r->request, item->string, cJSON_Duplicate(item, true));
        else if (!take && !known && !cJSON_IsNull(item))
            openai_request_ignore(ignored, item->string);
    }
    if (r->tools_ignored)
        openai_request_ignore(ignored, "tools");
}

struct cJSON *openai_tool_schema(const struct settings *settings)
{
    static const char own[] =
        "{\"input\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":"
        "\"object\"}}]},\"model\":{\"type\":\"string\"},\"tools\":{\"type\":\"array\",\"items\":{"
        "\"type\":\"object\"}},\"tool_choice\":{},\"stream\":{\"type\":\"boolean\"},"
        "\"background\":{"
        "\"type\":\"boolean\"},\"previous_response_id\":{\"type\":\"string\"}}";
    cJSON *schema = openai_request_schema(settings), *mine = json_text_constant(own);
    cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    for (cJSON *item = properties ? properties->child : NULL, *next; item; item = next) {
        next = item->next;
        if (openai_request_is_own(item->string))
            cJSON_AddItemToObject(mine, item->string,
                                  cJSON_DetachItemViaPointer(properties, item));
    }
    cJSON_ReplaceItemInObjectCaseSensitive(schema, "properties", mine);
    cJSON_ReplaceItemInObjectCaseSensitive(schema, "required", json_text_constant("[\"input\"]"));
    return schema;
}

/* ---- what a response repeats ---- */

cJSON *openai_tool_base(const cJSON *body, const char *model)
{
    static const struct {
        const char *name, *json;
    } usual[] = {
        {"background", "false"},
        {"incomplete_details", "null"},
        {"instructions", "null"},
        {"max_output_tokens", "null"},
        {"metadata", "{}"},
        {"parallel_tool_calls", "true"},
        {"previous_response_id", "null"},
        {"reasoning", "{\"effort\":null,\"summary\":null}"},
        {"store", "true"},
        {"temperature", "1"},
        {"text", "{\"format\":{\"type\":\"text\"}}"},
        {"tool_choice", "\"auto\""},
        {"tools", "[{\"type\":\"" TOOL "\"}]"},
        {"top_p", "1"},
        {"truncation", "\"disabled\""},
    };
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "object", "response");
    cJSON_AddStringToObject(json, "model", model);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        const cJSON *given = member(body, usual[i].name);
        cJSON_AddItemToObject(json, usual[i].name,
                              given ? cJSON_Duplicate(given, true)
                                    : json_text_constant(usual[i].json));
    }
    return json;
}

/* A mask may be as large as a picture. */
static void shorten_mask(cJSON *base)
{
    cJSON *tool;
    cJSON_ArrayForEach(tool, cJSON_GetObjectItemCaseSensitive(base, "tools")) {
        cJSON_DeleteItemFromObjectCaseSensitive(tool, "input_image_mask");
    }
}

/* Faults name what the body has. */
static void blame(const struct reading *r, struct openai_fault *f)
{
    char name[sizeof f->param];
    snprintf(name, sizeof name, "%s", f->param);
    size_t n = strcspn(name, "[.");
    name[n] = '\0';
    bool mask = strcmp(name, "mask") == 0;
    if (mask || (r->tool && *name && member(r->tool, name)))
        snprintf(f->param, sizeof f->param, "tools[%d].%.40s", r->tool_index,
                 mask ? "input_image_mask" : name);
    else
        openai_talk_blame(f, "input");
}

static bool read_body(struct reading *r, struct openai_tool_request *out,
                      struct openai_request *ignored, struct openai_fault *f)
{
    const cJSON *later = member(r->body, "background");
    if (!cJSON_IsObject(r->body))
        return openai_fault(f, 400, NULL, NULL, "We could not parse the JSON body of your request: "
                                                "wanted an object.");
    if (later && !cJSON_IsBool(later))
        return openai_fault(f, 400, "invalid_type", "background",
                            "Invalid type for 'background': expected a boolean.");
    if (!find_tool(r, f) || !check_choice(r, f))
        return false;
    if (!take_tool(r, f) || !take_model(r, f) || !read_input(r, f))
        return false;
    take_rest(r, ignored);
    out->later = cJSON_IsTrue(later);
    out->kind = member(r->request, "images") ? OPENAI_EDIT : OPENAI_GENERATION;
    if (openai_request_make(r->from, out->kind, r->request, &out->request, f))
        return true;
    blame(r, f);
    return false;
}

bool openai_tool_read(struct http_request *req, struct openai_tool_request *out,
                      struct openai_fault *f)
{
    const struct openai_from from = openai_request_from(req);
    struct openai_request ignored = {0};
    struct reading r = {.from = &from,
                        .body = openai_request_json(req, f),
                        .request = cJSON_CreateObject()};
    *out = (struct openai_tool_request){0};
    bool ok = r.body && read_body(&r, out, &ignored, f);
    if (ok) {
        const char *model = text_of(r.body, "model");
        out->base = openai_tool_base(r.body, *model ? model : out->request.params.model);
        shorten_mask(out->base);
        out->request.url = false;
        if (*ignored.ignored)
            openai_request_ignore(&out->request, ignored.ignored);
    }
    cJSON_Delete(r.body);
    cJSON_Delete(r.request);
    return ok;
}
