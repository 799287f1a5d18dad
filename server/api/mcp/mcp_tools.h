/* mcp_tools.h: the tools, as a client's model is told of them. Constant but for the settings. */
#ifndef PICTOR_SERVER_MCP_TOOLS_H
#define PICTOR_SERVER_MCP_TOOLS_H

#include <stdbool.h>

#include "engine/base/err.h"

struct cJSON;
struct settings;

enum mcp_tool { MCP_GENERATE, MCP_EDIT, MCP_MODELS, MCP_STATUS, MCP_CANCEL, MCP_TOOLS };

/* By its name; MCP_TOOLS: there is none. */
enum mcp_tool mcp_tools_find(const char *name);

/* The list of all, always in the same order. Owned. */
struct cJSON *mcp_tools_list(const struct settings *settings);

/* Whether `arguments` is an object of names that the tool has, with all that it needs. */
bool mcp_tools_check(enum mcp_tool tool, const struct cJSON *arguments, struct err *err);

/* Whether the argument is a field of the native API's request, under the same name. */
bool mcp_tools_is_field(const char *name);

#endif
