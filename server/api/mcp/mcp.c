/* mcp.c: A request is read, its form found out, and its method called from a table. */
#include "server/api/mcp/mcp.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pictor.h"
#include "server/api/app.h"
#include "server/api/composing.h"
#include "server/api/mcp/mcp_paint.h"
#include "server/api/mcp/mcp_reply.h"
#include "server/api/mcp/mcp_session.h"
#include "server/api/mcp/mcp_tools.h"
#include "server/base/base64.h"
#include "server/base/json_text.h"
#include "server/base/now.h"
#include "server/http/http.h"
#include "server/http/http_error.h"
#include "server/job/intake.h"
#include "server/job/registry.h"
#include "server/queue/queue.h"

#define MODERN "2026-07-28"
#define NEWEST_OLD "2025-11-25"
#define META "io.modelcontextprotocol/"
#define TOOLS_TTL_MS 300000 /* the list changes with the settings alone */
#define DISK_MS 100

/* What clients that begin with `initialize` may ask for; the newest first. */
static const char *const old_versions[] = {NEWEST_OLD, "2025-06-18", "2025-03-26", "2024-11-05"};
#define OLD_VERSIONS (sizeof old_versions / sizeof *old_versions)

static bool is_old(const char *version)
{
    for (size_t i = 0; i < OLD_VERSIONS; i++)
        if (strcmp(old_versions[i], version) == 0)
            return true;
    return false;
}

static bool find_types(struct http_request *req, struct mcp_call *call);

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* ---- methods ---- */

static cJSON *server_info(void)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", "pictor");
    cJSON_AddStringToObject(json, "title", "pictor, a server that paints");
    cJSON_AddStringToObject(json, "version", PICTOR_VERSION);
    return json;
}

static void describe(cJSON *result)
{
    cJSON_AddItemToObject(result, "capabilities", json_text_constant("{\"tools\": {}}"));
    cJSON_AddStringToObject(result, "instructions",
                            "Paints and edits pictures. Answers have links to the pictures, to be "
                            "shown to the user or given to edit_image, and small previews.");
}

static void initialize(struct http_request *req, const struct mcp_call *call)
{
    const char *asked = cJSON_GetStringValue(member(call->params, "protocolVersion"));
    char id[MCP_SESSION_SIZE];
    struct err err;
    if (!asked) {
        mcp_reply_error(req, call, MCP_INVALID_PARAMS, NULL,
                        "initialize: wanted params with a protocolVersion, such as " NEWEST_OLD);
        return;
    }
    if (!mcp_session_begin(http_app(req)->mcp_sessions, http_key_id(req), now_ms(), id, &err)) {
        mcp_reply_error(req, call, MCP_INTERNAL, NULL, "%s", err.msg);
        return;
    }
    http_reply_header(req, "Mcp-Session-Id", id);
    cJSON *result = cJSON_CreateObject();
    cJSON_AddStringToObject(result, "protocolVersion", is_old(asked) ? asked : NEWEST_OLD);
    cJSON_AddItemToObject(result, "serverInfo", server_info());
    describe(result);
    mcp_reply(req, call, result);
}

static cJSON *supported(const char *asked)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "supported");
    cJSON_AddItemToArray(list, cJSON_CreateString(MODERN));
    for (size_t i = 0; i < OLD_VERSIONS; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(old_versions[i]));
    cJSON_AddStringToObject(json, "requested", asked);
    return json;
}

static void cacheable(cJSON *result, const struct mcp_call *call)
{
    if (!call->modern)
        return;
    cJSON_AddNumberToObject(result, "ttlMs", TOOLS_TTL_MS);
    cJSON_AddStringToObject(result, "cacheScope", "public");
}

static void discover(struct http_request *req, const struct mcp_call *call)
{
    cJSON *result = cJSON_CreateObject(), *versions = supported("");
    cJSON_AddItemToObject(result, "supportedVersions",
                          cJSON_DetachItemFromObjectCaseSensitive(versions, "supported"));
    cJSON_Delete(versions);
    describe(result);
    cJSON_AddItemToObject(cJSON_AddObjectToObject(result, "_meta"), META "serverInfo",
                          server_info());
    cacheable(result, call);
    mcp_reply(req, call, result);
}

static void ping(struct http_request *req, const struct mcp_call *call)
{
    mcp_reply(req, call, cJSON_CreateObject());
}

static void tools_list(struct http_request *req, const struct mcp_call *call)
{
    cJSON *result = cJSON_CreateObject();
    cJSON_AddItemToObject(result, "tools", mcp_tools_list(http_app(req)->settings));
    cacheable(result, call);
    mcp_reply(req, call, result);
}

/* ---- the tools that answer at once ---- */

static void reply_data(struct http_request *req, const struct mcp_call *call, const char *text,
                       cJSON *data)
{
    cJSON *result = mcp_reply_failure(text);
    cJSON_ReplaceItemInObjectCaseSensitive(result, "isError", cJSON_CreateFalse());
    cJSON_AddItemToObject(result, "structuredContent", data);
    mcp_reply(req, call, result);
}

static cJSON *model_json(const struct registry_model *m)
{
    struct intake_model usual;
    cJSON *json = cJSON_CreateObject();
    intake_model_of(m, &usual);
    cJSON_AddStringToObject(json, "name", m->name);
    cJSON_AddStringToObject(json, "kind", m->kind == REGISTRY_LOCAL ? "local" : "upstream");
    cJSON_AddStringToObject(json, "title", *m->title ? m->title : m->name);
    cJSON_AddStringToObject(json, "architecture", m->architecture);
    cJSON_AddNumberToObject(json, "width", usual.width);
    cJSON_AddNumberToObject(json, "height", usual.height);
    cJSON_AddBoolToObject(json, "default", m->is_default);
    if (m->fault)
        cJSON_AddStringToObject(json, "problem", m->problem);
    return json;
}

static void list_models(struct http_request *req, const struct mcp_call *call)
{
    struct registry *registry = http_app(req)->registry;
    struct registry_model *models;
    struct err err;
    size_t count;
    registry_await(registry, DISK_MS);
    if (!registry_list(registry, &models, &count, &err)) {
        mcp_reply(req, call, mcp_reply_failure(err.msg));
        return;
    }
    cJSON *data = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(data, "models");
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(list, model_json(&models[i]));
    free(models);
    char *text = json_text_print(data); /* for clients that show a model nothing but the text */
    reply_data(req, call, text ? text : "", data);
    free(text);
}

static void cancel(struct http_request *req, const struct mcp_call *call, const cJSON *arguments)
{
    const char *id = cJSON_GetStringValue(member(arguments, "job"));
    char text[80];
    struct err err;
    if (!queue_cancel(http_app(req)->queue, id, http_visible_key(req), &err)) {
        mcp_reply(req, call, mcp_reply_failure(err.msg));
        return;
    }
    cJSON *data = cJSON_CreateObject();
    cJSON_AddStringToObject(data, "job", id);
    cJSON_AddStringToObject(data, "state", "cancelled");
    snprintf(text, sizeof text, "Job %.36s was cancelled.", id);
    reply_data(req, call, text, data);
}

/* ---- composing ---- */

static cJSON *next_arguments(cJSON *body, cJSON *before)
{
    return before ? NULL
                  : cJSON_GetObjectItemCaseSensitive(member(body, "params"), "arguments");
}

/* It has been looked at: its form and its session are good. */
static void compose_failed(struct http_request *req, const cJSON *body, const struct err *err)
{
    struct mcp_call call = {.id = cJSON_GetObjectItemCaseSensitive(body, "id")};
    const char *header = http_header(req, "MCP-Protocol-Version");
    find_types(req, &call);
    call.modern = member(member(member(body, "params"), "_meta"), META "protocolVersion") ||
                  (header && strcmp(header, MODERN) == 0);
    mcp_reply(req, &call, mcp_reply_failure(err->msg));
}

static const struct composing_place composed = {.next = next_arguments, .fail = compose_failed};

/* The whole message is taken again, when there is a description. False: nothing is composed. */
static bool compose(struct http_request *req)
{
    size_t size;
    const char *before = http_body(req, &size);
    if (composing_begins(req, &composed, mcp_post))
        return true;
    if (http_body(req, &size) == before)
        return false;
    mcp_post(req);
    return true;
}

static void tools_call(struct http_request *req, const struct mcp_call *call)
{
    const char *name = cJSON_GetStringValue(member(call->params, "name"));
    cJSON *arguments = cJSON_GetObjectItemCaseSensitive(call->params, "arguments");
    enum mcp_tool tool = name ? mcp_tools_find(name) : MCP_TOOLS;
    struct err err;
    if (tool == MCP_TOOLS) {
        mcp_reply_error(req, call, MCP_INVALID_PARAMS, NULL,
                        "Unknown tool: wanted params with a name of tools/list, got \"%.60s\"",
                        name ? name : "");
        return;
    }
    if (!mcp_tools_check(tool, arguments, &err)) {
        mcp_reply(req, call, mcp_reply_failure(err.msg));
        return;
    }
    switch (tool) {
    case MCP_GENERATE:
    case MCP_EDIT:
        if (!cJSON_IsTrue(member(arguments, "compose")) || !compose(req))
            mcp_paint(req, call, arguments);
        break;
    case MCP_MODELS:
        list_models(req, call);
        break;
    case MCP_STATUS:
        mcp_paint_status(req, call, arguments);
        break;
    case MCP_CANCEL:
        cancel(req, call, arguments);
        break;
    case MCP_TOOLS:
        break;
    }
}

static const struct method {
    const char *name;
    void (*run)(struct http_request *req, const struct mcp_call *call);
    bool old, modern;
} methods[] = {
    {"initialize", initialize, true, false}, {"server/discover", discover, true, true},
    {"ping", ping, true, false},             {"tools/list", tools_list, true, true},
    {"tools/call", tools_call, true, true},
};

/* ---- the form of a request ---- */

/* Whether a header says what the body does; "=?base64?...?=" has what a header cannot. */
static bool mirrors(struct http_request *req, const char *name, const char *wanted)
{
    const char *text = http_header(req, name);
    size_t n = text ? strlen(text) : 0, size;
    uint8_t *plain;
    if (!text || n < 11 || strncmp(text, "=?base64?", 9) != 0 || strcmp(text + n - 2, "?=") != 0)
        return text && strcmp(text, wanted) == 0;
    if (!base64_decode(text + 9, n - 11, &plain, &size, NULL))
        return false;
    bool same = size == strlen(wanted) && memcmp(plain, wanted, size) == 0;
    free(plain);
    return same;
}

/* What 2026-07-28 wants of every request; replies when it is not there. */
static bool check_modern(struct http_request *req, const struct mcp_call *call, const char *version,
                         const char *method)
{
    const cJSON *meta = member(call->params, "_meta");
    const char *name = cJSON_GetStringValue(member(call->params, "name"));
    const char *blamed = NULL, *wanted = "";
    if (!version || !member(meta, META "clientCapabilities")) {
        mcp_reply_error(req, call, MCP_INVALID_PARAMS, NULL,
                        "params._meta: wanted " META "protocolVersion and " META
                        "clientCapabilities");
        return false;
    }
    if (!mirrors(req, "MCP-Protocol-Version", wanted = version))
        blamed = "MCP-Protocol-Version";
    else if (!mirrors(req, "Mcp-Method", wanted = method))
        blamed = "Mcp-Method";
    else if (strcmp(method, "tools/call") == 0 && name && !mirrors(req, "Mcp-Name", wanted = name))
        blamed = "Mcp-Name";
    if (blamed) {
        const char *came = http_header(req, blamed);
        mcp_reply_error(req, call, MCP_HEADER_MISMATCH, NULL,
                        "the header %s must be what the body says, \"%.60s\", got \"%.60s\"",
                        blamed, wanted, came ? came : "");
    }
    return !blamed;
}

/* Finds out the form, and replies when there is none such. */
static bool find_form(struct http_request *req, struct mcp_call *call, const char *method)
{
    const char *header = http_header(req, "MCP-Protocol-Version");
    const cJSON *item = member(member(call->params, "_meta"), META "protocolVersion");
    const char *version = cJSON_GetStringValue(item);
    if (strcmp(method, "initialize") == 0)
        return true;
    call->modern = item || (header && strcmp(header, MODERN) == 0);
    if (call->modern && !check_modern(req, call, version, method))
        return false;
    const char *said = call->modern ? version : header;
    if (!said || strcmp(said, MODERN) == 0 || (!call->modern && is_old(said)))
        return true;
    mcp_reply_error(req, call, MCP_UNSUPPORTED_VERSION, supported(said),
                    "Unsupported protocol version \"%.40s\"", said);
    return false;
}

/* Sessions are of the old form, where a client need not have one. */
static bool find_session(struct http_request *req, struct mcp_call *call, const char *method)
{
    const char *id = http_header(req, "Mcp-Session-Id");
    if (!id || call->modern || strcmp(method, "initialize") == 0)
        return true;
    if (mcp_session_use(http_app(req)->mcp_sessions, http_key_id(req), now_ms(), id)) {
        snprintf(call->session, sizeof call->session, "%s", id);
        return true;
    }
    struct err err;
    err_set(&err, ERR_NOT_FOUND, "this session is over, or there never was one: initialize again");
    http_reply_error(req, &err, NULL);
    return false;
}

static bool find_types(struct http_request *req, struct mcp_call *call)
{
    const char *accept = http_header(req, "Accept");
    bool any = !accept || !*accept || strstr(accept, "*/*");
    call->takes_json = any || strstr(accept, "application/json") || strstr(accept, "application/*");
    call->takes_events = accept && strstr(accept, "text/event-stream");
    return call->takes_json || call->takes_events;
}

/* ---- messages ---- */

static void cancel_request(struct http_request *req, const struct mcp_call *call)
{
    cJSON *id = cJSON_GetObjectItemCaseSensitive(call->params, "requestId");
    struct queue *queue = http_app(req)->queue;
    const char *key = http_visible_key(req);
    char tag[128];
    struct job job;
    struct err ignored;
    if (!id || !mcp_paint_tag(call->session, id, tag) ||
        !queue_get_tagged(queue, tag, key, &job, &ignored))
        return;
    queue_cancel(queue, job.id, key, &ignored);
    job_free(&job);
}

static void take_request(struct http_request *req, const struct mcp_call *call, const char *method)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, method) == 0 &&
            (call->modern ? methods[i].modern : methods[i].old)) {
            methods[i].run(req, call);
            return;
        }
    mcp_reply_error(req, call, MCP_NO_METHOD, NULL, "Method not found: \"%.60s\"", method);
}

static void take_message(struct http_request *req, struct mcp_call *call, const cJSON *body)
{
    const char *version = cJSON_GetStringValue(member(body, "jsonrpc"));
    const char *method = cJSON_GetStringValue(member(body, "method"));
    cJSON *id = cJSON_GetObjectItemCaseSensitive(body, "id");
    bool answer = !method && (member(body, "result") || member(body, "error"));
    if (!cJSON_IsObject(body) || !version || strcmp(version, "2.0") != 0 || (!method && !answer)) {
        mcp_reply_error(req, call, MCP_INVALID_REQUEST, NULL,
                        "wanted one JSON-RPC message, {\"jsonrpc\": \"2.0\", \"method\": ...}, "
                        "got %s",
                        cJSON_IsArray(body)    ? "a list of them"
                        : cJSON_IsObject(body) ? "another object"
                                               : "something else");
        return;
    }
    if (id && !answer && !cJSON_IsString(id) && !cJSON_IsNumber(id)) {
        mcp_reply_error(req, call, MCP_INVALID_REQUEST, NULL, "id: wanted a text or a number");
        return;
    }
    call->id = id;
    call->params = cJSON_GetObjectItemCaseSensitive(body, "params");
    if (call->params && !cJSON_IsObject(call->params)) {
        mcp_reply_error(req, call, MCP_INVALID_PARAMS, NULL, "params: wanted an object");
        return;
    }
    if (answer) {
        http_reply_empty(req, 202); /* of a question that was never asked */
        return;
    }
    if (!id) {
        if (!find_session(req, call, method))
            return;
        if (strcmp(method, "notifications/cancelled") == 0)
            cancel_request(req, call);
        http_reply_empty(req, 202);
        return;
    }
    if (find_form(req, call, method) && find_session(req, call, method))
        take_request(req, call, method);
}

void mcp_post(struct http_request *req)
{
    struct mcp_call call = {0};
    struct err err;
    if (!find_types(req, &call)) {
        struct http_problem problem = {
            406, ERR_INVALID, "Accept: wanted application/json and text/event-stream", NULL};
        mcp_error(req, &problem);
        return;
    }
    cJSON *body = http_json(req, &err);
    if (body)
        take_message(req, &call, body);
    else
        mcp_reply_error(req, &call, MCP_PARSE_ERROR, NULL, "Parse error: %s", err.msg);
    cJSON_Delete(body);
}

void mcp_delete(struct http_request *req)
{
    const char *id = http_header(req, "Mcp-Session-Id");
    struct err err;
    if (!id)
        err_set(&err, ERR_INVALID, "DELETE wants the header Mcp-Session-Id");
    else if (mcp_session_end(http_app(req)->mcp_sessions, http_key_id(req), now_ms(), id)) {
        http_reply_empty(req, 204);
        return;
    } else
        err_set(&err, ERR_NOT_FOUND, "there is no such session");
    http_reply_error(req, &err, NULL);
}
