/* mcp_reply.c: In the form of 2025 an error is a JSON-RPC error with the status 200, unless the
 * request could not be read at all; in that of 2026-07-28 the status says it, too. */
#include "server/api/mcp/mcp_reply.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json_text.h"
#include "server/http/http.h"
#include "server/http/http_error.h"

static cJSON *envelope(const cJSON *id)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "jsonrpc", "2.0");
    cJSON_AddItemToObject(json, "id", id ? cJSON_Duplicate(id, true) : cJSON_CreateNull());
    return json;
}

struct cJSON *mcp_reply_result(const struct cJSON *id, bool modern, struct cJSON *result)
{
    cJSON *json = envelope(id);
    if (modern)
        cJSON_AddStringToObject(result, "resultType", "complete");
    cJSON_AddItemToObject(json, "result", result);
    return json;
}

/* As one event for a client that takes nothing else; takes `json`. */
static void send_json(struct http_request *req, const struct mcp_call *call, int status,
                      cJSON *json)
{
    char *text = NULL, *event = NULL;
    if (call->takes_json || !call->takes_events) {
        http_reply_json(req, status, json);
        return;
    }
    text = json_text_print(json);
    cJSON_Delete(json);
    if (text && asprintf(&event, "data: %s\n\n", text) < 0)
        event = NULL;
    free(text);
    if (event)
        http_reply_data(req, status, "text/event-stream", event, strlen(event), free);
    else
        http_reply_empty(req, 500);
}

void mcp_reply(struct http_request *req, const struct mcp_call *call, struct cJSON *result)
{
    send_json(req, call, 200, mcp_reply_result(call->id, call->modern, result));
}

static int status_of(const struct mcp_call *call, enum mcp_code code)
{
    if (code == MCP_PARSE_ERROR || code == MCP_INVALID_REQUEST || code == MCP_HEADER_MISMATCH ||
        code == MCP_UNSUPPORTED_VERSION)
        return 400;
    if (!call->modern)
        return 200;
    return code == MCP_NO_METHOD ? 404 : code == MCP_INTERNAL ? 500 : 400;
}

static cJSON *error_json(const cJSON *id, int code, const char *message, cJSON *data)
{
    cJSON *json = envelope(id);
    cJSON *error = cJSON_AddObjectToObject(json, "error");
    cJSON_AddNumberToObject(error, "code", code);
    cJSON_AddStringToObject(error, "message", message);
    if (data)
        cJSON_AddItemToObject(error, "data", data);
    return json;
}

void mcp_reply_error(struct http_request *req, const struct mcp_call *call, enum mcp_code code,
                     struct cJSON *data, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    json_text_mend(message);
    send_json(req, call, status_of(call, code), error_json(call->id, code, message, data));
}

struct cJSON *mcp_reply_failure(const char *message)
{
    cJSON *json = cJSON_CreateObject(), *text = cJSON_CreateObject();
    cJSON_AddStringToObject(text, "type", "text");
    cJSON_AddStringToObject(text, "text", message);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "content"), text);
    cJSON_AddTrueToObject(json, "isError");
    return json;
}

void mcp_error(struct http_request *req, const struct http_problem *problem)
{
    int code = problem->status >= 500 ? MCP_INTERNAL : MCP_INVALID_REQUEST;
    http_reply_json(req, problem->status, error_json(NULL, code, problem->message, NULL));
}
