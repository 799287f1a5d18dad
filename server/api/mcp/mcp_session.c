/* mcp_session.c: a table that is searched from end to end, which takes microseconds. */
#include "server/api/mcp/mcp_session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ids.h"
#include "server/job/job.h"

struct session {
    char id[MCP_SESSION_SIZE]; /* "": a free place */
    char key_id[JOB_ID_SIZE];
    int64_t used_ms;
};

struct mcp_session {
    pthread_mutex_t lock;
    struct session at[MCP_SESSIONS];
};

struct mcp_session *mcp_session_new(struct err *err)
{
    struct mcp_session *all = calloc(1, sizeof *all);
    if (!all) {
        err_set(err, ERR_INTERNAL, "no memory for sessions");
        return NULL;
    }
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void mcp_session_free(struct mcp_session *all)
{
    if (!all)
        return;
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static bool is_over(const struct session *s, int64_t now_ms)
{
    return !*s->id || now_ms - s->used_ms > MCP_SESSION_MS;
}

/* The key's oldest one where it has all that it may have; else a free place, else the oldest. */
static struct session *place_for(struct mcp_session *all, const char *key_id, int64_t now_ms)
{
    struct session *empty = NULL, *oldest = NULL, *own = NULL;
    int owned = 0;
    for (int i = 0; i < MCP_SESSIONS; i++) {
        struct session *s = &all->at[i];
        if (is_over(s, now_ms)) {
            empty = s;
            continue;
        }
        if (!oldest || s->used_ms < oldest->used_ms)
            oldest = s;
        if (strcmp(s->key_id, key_id) != 0)
            continue;
        owned++;
        if (!own || s->used_ms < own->used_ms)
            own = s;
    }
    return owned >= MCP_SESSIONS_KEY ? own : empty ? empty : oldest;
}

bool mcp_session_begin(struct mcp_session *all, const char *key_id, int64_t now_ms,
                       char id[MCP_SESSION_SIZE], struct err *err)
{
    if (!ids_random(id, MCP_SESSION_SIZE - 1, err))
        return false;
    pthread_mutex_lock(&all->lock);
    struct session *s = place_for(all, key_id, now_ms);
    memcpy(s->id, id, MCP_SESSION_SIZE);
    snprintf(s->key_id, sizeof s->key_id, "%s", key_id);
    s->used_ms = now_ms;
    pthread_mutex_unlock(&all->lock);
    return true;
}

static bool touch(struct mcp_session *all, const char *key_id, int64_t now_ms, const char *id,
                  bool end)
{
    bool found = false;
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < MCP_SESSIONS && !found; i++) {
        struct session *s = &all->at[i];
        found = !is_over(s, now_ms) && strcmp(s->id, id) == 0 && strcmp(s->key_id, key_id) == 0;
        if (found) {
            s->used_ms = now_ms;
            s->id[0] = end ? '\0' : s->id[0];
        }
    }
    pthread_mutex_unlock(&all->lock);
    return found;
}

bool mcp_session_use(struct mcp_session *all, const char *key_id, int64_t now_ms, const char *id)
{
    return touch(all, key_id, now_ms, id, false);
}

bool mcp_session_end(struct mcp_session *all, const char *key_id, int64_t now_ms, const char *id)
{
    return touch(all, key_id, now_ms, id, true);
}
