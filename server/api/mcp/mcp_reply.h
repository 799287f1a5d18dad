/* mcp_reply.h: answers of JSON-RPC, and what the two forms of the protocol want of them. */
#ifndef PICTOR_SERVER_MCP_REPLY_H
#define PICTOR_SERVER_MCP_REPLY_H

#include <stdbool.h>

#include "server/api/mcp/mcp_session.h"

struct cJSON;
struct http_request;
struct http_problem;

enum mcp_code {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_NO_METHOD = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_INTERNAL = -32603,
    MCP_HEADER_MISMATCH = -32020,
    MCP_UNSUPPORTED_VERSION = -32022
};

/* One request of a client. */
struct mcp_call {
    struct cJSON *id;     /* borrowed; NULL: none is known */
    struct cJSON *params; /* borrowed; may be NULL */
    bool modern;          /* 2026-07-28: no sessions */
    char session[MCP_SESSION_SIZE]; /* "": none */
    bool takes_json, takes_events;
};

/* {"jsonrpc", "id", "result"}; takes `result`. */
struct cJSON *mcp_reply_result(const struct cJSON *id, bool modern, struct cJSON *result);

/* These reply; `result` and `data` (may be NULL) are taken. */
void mcp_reply(struct http_request *req, const struct mcp_call *call, struct cJSON *result);
void mcp_reply_error(struct http_request *req, const struct mcp_call *call, enum mcp_code code,
                     struct cJSON *data, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* What a tool says that could not do what it was asked for: a result, for the model to read. */
struct cJSON *mcp_reply_failure(const char *message);

/* An error of the server in front of the handlers, as a JSON-RPC error without an id. */
void mcp_error(struct http_request *req, const struct http_problem *problem);

#endif
