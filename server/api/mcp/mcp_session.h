/* mcp_session.h: the sessions of clients that begin with `initialize`. A session is no more than a
 * name: nothing in an answer depends on one, but a client is told when its session is over.
 *
 * There are MCP_SESSIONS at most, MCP_SESSIONS_KEY of them for one key, and one that nobody has
 * used for an hour is over; a new one takes the place of the one that was unused for longest.
 * Thread-safe. */
#ifndef PICTOR_SERVER_MCP_SESSION_H
#define PICTOR_SERVER_MCP_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"

#define MCP_SESSIONS 1024
#define MCP_SESSIONS_KEY 256
#define MCP_SESSION_MS (60 * 60 * 1000)
#define MCP_SESSION_SIZE 33 /* with the NUL */

struct mcp_session;

/* Returns owned: all sessions of a server. */
struct mcp_session *mcp_session_new(struct err *err);
void mcp_session_free(struct mcp_session *all); /* NULL is fine */

/* `key_id` is the owner's, "" without keys; `now_ms` of a clock that never goes back. */
bool mcp_session_begin(struct mcp_session *all, const char *key_id, int64_t now_ms,
                       char id[MCP_SESSION_SIZE], struct err *err);
/* Whether this key has this session; if so it lives on. */
bool mcp_session_use(struct mcp_session *all, const char *key_id, int64_t now_ms, const char *id);
bool mcp_session_end(struct mcp_session *all, const char *key_id, int64_t now_ms, const char *id);

#endif
