/* mcp.h: the Model Context Protocol at /mcp, for agents: docs/mcp.md. Thread-safe.
 *
 * Both forms of its streamable HTTP are spoken: that of 2025-11-25 and before, which begins with
 * `initialize`, and the one of 2026-07-28, where each request says what it needs. */
#ifndef PICTOR_SERVER_MCP_H
#define PICTOR_SERVER_MCP_H

struct http_request;

void mcp_post(struct http_request *req);   /* POST /mcp */
void mcp_delete(struct http_request *req); /* DELETE /mcp: the session is over */

#endif
