/* mcp_paint.h: the tools that paint, and what they answer with. */
#ifndef PICTOR_SERVER_MCP_PAINT_H
#define PICTOR_SERVER_MCP_PAINT_H

#include <stdbool.h>

#include "server/api/mcp/mcp_reply.h"

struct cJSON;
struct http_request;

/* Of a job, for its `tag`, so that notifications/cancelled finds it. False: it gets none, as there
 * is no session or the id is too long. */
bool mcp_paint_tag(const char *session, struct cJSON *request_id, char tag[128]);

/* These reply, now or when the job is final. `arguments` have been through mcp_tools_check. The
 * first changes them. */
void mcp_paint(struct http_request *req, const struct mcp_call *call, struct cJSON *arguments);
void mcp_paint_status(struct http_request *req, const struct mcp_call *call,
                      const struct cJSON *arguments);

#endif
